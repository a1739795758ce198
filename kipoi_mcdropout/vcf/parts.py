"""Output files in the making: complete under their own names, or not there at all.

While a run is under way each output is a hidden file beside its final name, and a journal says how
far they go; what a kill leaves behind is taken up again by `resume`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.vcf.bgzf import BgzfWriter

STDOUT = "-"


def part_of(path: Path, suffix: str = "part") -> Path:
    """The hidden file beside `path` while that is being made."""
    return path.with_name(f".{path.name}.{suffix}")


class PartFile:
    """A file that appears under its name when it is complete.

    Parameters
    ----------
    path : str or Path
        "-" is standard output, which cannot be taken up again.
    offset : int
        Keep so many bytes of what an earlier run left, and go on after them.
    bgzip : bool
        Compress in blocks, as htslib does.
    """

    def __init__(self, path: str | Path, offset: int = 0, bgzip: bool = False) -> None:
        self.path = None if str(path) == STDOUT else Path(path)
        if self.path is None:
            self._file: IO[bytes] = sys.stdout.buffer
        else:
            self.part = part_of(self.path)
            self._file = self.part.open("r+b" if offset else "wb")
            self._file.truncate(offset)
            self._file.seek(offset)
        self._writer: IO[bytes] | BgzfWriter = BgzfWriter(self._file) if bgzip else self._file

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self._writer.write(data)

    def write_text(self, text: str) -> None:
        """Append text as it was read."""
        self._writer.write(text.encode("utf-8", "surrogateescape"))

    def offset(self) -> int:
        """Bytes in the file by now, all of them flushed."""
        self._writer.flush()
        return self._file.tell() if self.path is not None else 0

    def finish(self) -> None:
        """End the file and give it its name."""
        if isinstance(self._writer, BgzfWriter):
            self._writer.finish()
        self._file.flush()
        if self.path is not None:
            self._file.close()
            os.replace(self.part, self.path)

    def abandon(self, remove: bool) -> None:
        """Close the file, unfinished."""
        if self.path is not None:
            self._file.close()
            if remove:
                self.part.unlink(missing_ok=True)


class Journal:
    """How far a run has come, in a small file that is replaced as a whole.

    Parameters
    ----------
    path : Path
    fingerprint : mapping
        All that the results depend on; a run is taken up only where it is the same.
    """

    def __init__(self, path: Path, fingerprint: Mapping[str, Any]) -> None:
        self.path = path
        self.fingerprint = json.loads(json.dumps(fingerprint))

    def read(self) -> dict[str, Any] | None:
        """What was last written; None if there is no journal.

        Raises
        ------
        InputError
            If it is of a run with other inputs or options.
        """
        if not self.path.is_file():
            return None
        try:
            entry = json.loads(self.path.read_text())
        except json.JSONDecodeError as error:
            raise InputError(f"{self.path} is damaged; remove it and run without resume") from error
        before = entry["fingerprint"]
        if before != self.fingerprint:
            keys = {*before, *self.fingerprint}
            other = sorted(k for k in keys if before.get(k) != self.fingerprint.get(k))
            raise InputError(
                "a run can only be resumed with the inputs and options that it began with; different: "
                f"{', '.join(other)}. Run without resume to begin anew"
            )
        return entry["state"]

    def write(self, state: Mapping[str, Any]) -> None:
        """Replace what is recorded."""
        temporary = self.path.with_name(self.path.name + ".new")
        temporary.write_text(json.dumps({"fingerprint": self.fingerprint, "state": state}))
        os.replace(temporary, self.path)

    def remove(self) -> None:
        """The run is complete."""
        self.path.unlink(missing_ok=True)
