"""Lines of a text file, plain or gzipped, and the regions near which details are kept."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path

from kipoi_mcdropout.errors import InputError, is_machine_failure
from kipoi_mcdropout.sequence.contig_names import alias_of

_GZIP = b"\x1f\x8b"
_SHOWN = 80  # characters of a line in a message

Region = tuple[str, int, int]  # contig, and [start, end) from 0


def numbered_lines(path: Path, what: str) -> Iterator[tuple[int, str]]:
    """Lines without their ends, and their numbers from 1.

    Raises
    ------
    InputError
        If the file cannot be read as text.
    """
    try:
        with path.open("rb") as raw:
            is_gzip = raw.read(2) == _GZIP
        opener = gzip.open if is_gzip else open
        with opener(path, "rt", encoding="utf-8", newline="\n") as lines:
            for number, line in enumerate(lines, start=1):
                yield number, line.rstrip("\r\n")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        if is_machine_failure(error):
            raise
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read as {what}: {reason}. Check the file") from error


def wrong_line(path: Path, number: int, line: str, required: str) -> InputError:
    """The error for a line that is not as it must be."""
    return InputError(f"{path}, line {number}: {required}; got {line[:_SHOWN]!r}")


class Near:
    """Whether a place is near one of some regions, by either name of the contig."""

    def __init__(self, regions: Iterable[Region]) -> None:
        self._by_contig: dict[str, list[tuple[int, int]]] = {}
        for chrom, start, end in regions:
            for name in (chrom, alias_of(chrom)):
                self._by_contig.setdefault(name, []).append((start, end))

    def has(self, chrom: str, start: int, end: int) -> bool:
        """Whether [start, end), from 0, shares a base with one of the regions."""
        return any(s < end and e > start for s, e in self._by_contig.get(chrom, ()))
