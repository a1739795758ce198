"""How many records there will be, for a progress bar that knows the time left."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

_GZIP = b"\x1f\x8b"
_BCF = b"BCF"


def count_records(path: str | Path) -> int | None:
    """Lines of a VCF, plain or gzipped, that are no header; this is much faster than scoring them.

    None where counting lines does not tell: standard input, BCF, and what cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        return None
    with path.open("rb") as file:
        packed = file.read(len(_GZIP)) == _GZIP
    try:
        with gzip.open(path) if packed else path.open("rb") as lines:
            first = next(iter(lines), b"")
            if first.startswith(_BCF):
                return None
            return sum(not line.startswith(b"#") for line in lines if line.strip())
    except (OSError, EOFError, zlib.error):  # the run itself will say what is wrong with it
        return None
