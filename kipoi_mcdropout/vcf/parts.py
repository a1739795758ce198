"""Output files in the making: complete under their own names, or not there at all.

While a run is under way each output is a part file elsewhere, and a journal says how far they go; what a
kill leaves behind is taken up again by `resume`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

from kipoi_mcdropout.standard_output import results
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
    part : Path, optional
        Where it is while it is made; a hidden file beside `path` by default.
    offset : int
        Keep so many bytes of what an earlier run left, and go on after them.
    bgzip : bool
        Compress in blocks, as htslib does.
    """

    def __init__(
        self, path: str | Path, part: Path | None = None, offset: int = 0, bgzip: bool = False
    ) -> None:
        self.path = None if str(path) == STDOUT else Path(path)
        if self.path is None:
            self._file: IO[bytes] = results().buffer
        else:
            self.part = part_of(self.path) if part is None else part
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
