"""Text outputs of a run over a VCF: plain, bgzipped, or standard output."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import pysam

from kipoi_mcdropout.files.standard_output import results

_BGZIP_SUFFIXES = (".gz", ".bgz")


class TextOutput:
    """A text file in the making.

    Parameters
    ----------
    name : str
        Of the finished file: .gz and .bgz are compressed with bgzip.
    path : Path or None
        Where it is written; None is standard output.
    """

    def __init__(self, name: str, path: Path | None) -> None:
        self._is_stdout = path is None
        self._file: IO[bytes] | Any
        if path is None:
            self._file = results().buffer
        elif name.endswith(_BGZIP_SUFFIXES):
            self._file = pysam.BGZFile(str(path), "wb")  # type: ignore[call-arg]
        else:
            self._file = path.open("wb")

    def write(self, text: str) -> None:
        """Append text as it was read."""
        self._file.write(text.encode("utf-8", "surrogateescape"))

    def flush(self) -> None:
        """Let whoever reads standard output have what was written."""
        if self._is_stdout:
            self._file.flush()

    def close(self) -> None:
        """End the file."""
        self.flush()
        if not self._is_stdout:
            self._file.close()
