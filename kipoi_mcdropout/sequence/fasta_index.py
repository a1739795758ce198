"""Positions of the sequences in a FASTA file: from a .fai index that fits the file, or found by reading
it.

The columns of a .fai are those of `man faidx` of samtools.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.sequence.byte_source import ByteSource

_CHUNK_BYTES = 2**22
_MAX_HEADER_BYTES = 2**16  # a longer line before a sequence is not looked at: the index is made anew
_SPACE = b" \t\r\n"


class Entry(NamedTuple):
    """Where one sequence lies; bytes count from 0, uncompressed."""

    length: int  # bases
    offset: int  # of the first base
    line_bases: int  # in every line but the last
    line_bytes: int  # with its line end

    def place(self, position: int) -> int:
        """Byte of a base, 0-based."""
        if position == 0:
            return self.offset
        line, column = divmod(position, self.line_bases)
        return self.offset + line * self.line_bytes + column

    @property
    def end(self) -> int:
        """Byte after the last base."""
        return self.place(self.length - 1) + 1 if self.length else self.offset


FastaIndex = dict[str, Entry]  # by name, in the order of the file


def read_fai(path: Path) -> FastaIndex | None:
    """Entries of a .fai file; None if it is none."""
    index: FastaIndex = {}
    try:
        lines = path.read_bytes().decode("utf-8", "surrogateescape").split("\n")
        for line in lines[:-1] if lines[-1] == "" else lines:
            name, *numbers = line.split("\t")
            entry = Entry(*map(int, numbers[:4]))
            if name in index or min(entry) < 0:
                return None
            index[name] = entry
    except (OSError, TypeError, ValueError):
        return None
    return index


def mismatch(index: FastaIndex, source: ByteSource) -> str | None:
    """How an index differs from its file; None if it fits the file.

    Every byte of the file must belong to a sequence, to the line of its name, or to white space; of each
    sequence the first, a middle and the last line are looked at.
    """
    end = 0
    for name, entry in sorted(index.items(), key=lambda item: item[1].offset):
        if not 0 < entry.offset - end <= _MAX_HEADER_BYTES:
            return f"the line >{name} is not where the index has it"
        header = source.read_at(end, entry.offset - end).lstrip(_SPACE)
        if header[:1] != b">" or header.find(b"\n") != len(header) - 1 or _name(header) != name:
            return f"the line >{name} is not where the index has it"
        if not _lines_fit(entry, source):
            return f"the lines of {name} are not as long as the index says"
        end = entry.end
    rest = source.size - end
    if not 0 <= rest <= _MAX_HEADER_BYTES or source.read_at(end, rest).strip(_SPACE):
        return "the file has more sequences or bases than the index"
    return None


def _lines_fit(entry: Entry, source: ByteSource) -> bool:
    """Whether the first, a middle and the last line of a sequence begin and end where they should."""
    if entry.length == 0:
        return True
    last = (entry.length - 1) // max(entry.line_bases, 1)  # number of the last line
    line_end = {1: b"\n", 2: b"\r\n"}.get(entry.line_bytes - entry.line_bases, b"")
    if entry.line_bases < 1 or (last > 0 and not line_end):
        return False
    for number in {0, last // 2, last}:
        begin = entry.offset + number * entry.line_bytes
        n = min(entry.line_bases, entry.length - number * entry.line_bases)
        looked = min(n, _MAX_HEADER_BYTES)
        data = source.read_at(begin, looked) + source.read_at(begin + n - looked, looked)
        if len(data) < 2 * looked or b"\n" in data or b"\r" in data:
            return False
        if number < last:
            after = source.read_at(begin + n, len(line_end) + 1)
            if after[:-1] != line_end or after[-1:] in (b"\n", b"\r", b">"):
                return False
    return True


def build_index(source: ByteSource, where: str) -> FastaIndex:
    """Find the sequences of a FASTA by reading it.

    Parameters
    ----------
    where : str
        Name of the file, for errors.

    Raises
    ------
    InputError
        If the file does not begin with ">", a name is missing or there twice, or the lines of a
        sequence (but its last) differ in length.
    """
    start = source.read_at(0, _MAX_HEADER_BYTES).lstrip(_SPACE)
    if start[:1] != b">":
        came = repr(start[:40].decode("latin-1")) if start else "nothing"
        raise InputError(
            f'{where} must be a FASTA, plain or bgzipped: it must begin with ">"; got {came}'
        )
    index: FastaIndex = {}
    places = list(_headers(source))
    for begin, end in zip(places, [*places[1:], source.size], strict=True):
        offset = min(_line_end(source, begin, end) + 1, end)
        name = _name(source.read_at(begin, offset - begin))
        if not name or name in index:
            problem = f"the name {name!r} occurs twice" if name else f"no name at byte {begin}"
            raise InputError(f"{where}: {problem}; each sequence needs its own name. Correct the FASTA")
        entry = _found(source, offset, end)
        if entry is None:
            raise InputError(
                f"{where}: all lines of a sequence but its last must have the same length; those of "
                f"{name} differ. Wrap the lines again, e.g. with `seqkit seq -w 60`"
            )
        index[name] = entry
    return index


def _headers(source: ByteSource) -> Iterator[int]:
    """Bytes at which the lines of names begin."""
    base, before = 0, b"\n"
    while data := source.read_at(base, _CHUNK_BYTES):
        joined = before + data
        at = joined.find(b"\n>")
        while at >= 0:
            yield base - len(before) + at + 1
            at = joined.find(b"\n>", at + 1)
        base, before = base + len(data), data[-1:]


def _line_end(source: ByteSource, begin: int, end: int) -> int:
    """Byte of the first line end from `begin` on; `end` if there is none before."""
    n = 2**12
    while begin < end:
        data = source.read_at(begin, min(n, end - begin))
        if (at := data.find(b"\n")) >= 0:
            return begin + at
        begin, n = begin + len(data), _CHUNK_BYTES
    return end


def _found(source: ByteSource, offset: int, end: int) -> Entry | None:
    """The sequence that lies in bytes [offset, end), with white space behind it; None if irregular."""
    end = _without_space(source, offset, end)
    if end == offset:
        return Entry(0, offset, 0, 0)
    first_end = _line_end(source, offset, end)
    if first_end == end:  # one line: what ends it lies behind
        n_end = 2 if source.read_at(end, 2) == b"\r\n" else 1
        return Entry(end - offset, offset, end - offset, end - offset + n_end)
    line_bytes = first_end + 1 - offset
    line_end = b"\r\n" if source.read_at(first_end - 1, 1) == b"\r" else b"\n"
    line_bases = line_bytes - len(line_end)
    n_lines, n_last = divmod(end - offset, line_bytes)
    if not 0 < n_last <= line_bases or not _regular(source, offset, n_lines, line_bytes, line_end):
        return None
    last = source.read_at(end - n_last, n_last)
    if b"\n" in last or b"\r" in last:
        return None
    return Entry(n_lines * line_bases + n_last, offset, line_bases, line_bytes)


def _regular(source: ByteSource, offset: int, n_lines: int, line_bytes: int, line_end: bytes) -> bool:
    """Whether each of the lines has its end where it belongs and nowhere else."""
    step = max(_CHUNK_BYTES // line_bytes, 1)
    expected = np.frombuffer(line_end, np.uint8)
    for first in range(0, n_lines, step):
        n = min(step, n_lines - first)
        data = source.read_at(offset + first * line_bytes, n * line_bytes)
        lines = np.frombuffer(data, np.uint8).reshape(n, line_bytes)
        if not (lines[:, -len(line_end) :] == expected).all():
            return False
        if data.count(b"\n") != n or data.count(b"\r") != n * (len(line_end) - 1):
            return False
    return True


def _without_space(source: ByteSource, offset: int, end: int) -> int:
    """End of what is not white space."""
    while end > offset:
        begin = max(offset, end - 2**12)
        data = source.read_at(begin, end - begin).rstrip(_SPACE)
        if data:
            return begin + len(data)
        end = begin
    return end


def _name(header: bytes) -> str:
    """The first word of the line of a name; samtools takes an empty one where a space follows ">"."""
    return header[1:].split(None, 1)[0].decode("utf-8", "surrogateescape") if header[1:].strip() else ""
