"""Regions of a genome in htslib's style, and where an index says that one begins in a bgzipped file.

The index is read here and not by pysam: its TabixFile gives lines without the CR of their CRLF, so that
they could not be written again byte for byte, and it does not say where in the file they are.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from kipoi_mcdropout.errors import InputError

_LINEAR_SHIFT = 14  # of the linear index of .tbi: windows of 2**14 bases
_TBI_DEPTH = 5
_WHOLE = 2**31 - 1  # an end beyond any contig


class Region(NamedTuple):
    """A stretch of a contig, 0-based and half-open."""

    contig: str
    start: int
    end: int

    def widened(self, margin: int) -> Region:
        """With so many bases more on both sides."""
        return Region(self.contig, max(self.start - margin, 0), self.end + margin)

    def overlaps(self, contig: str, start: int, end: int) -> bool:
        """Whether a stretch, 0-based and half-open, shares a base with the region."""
        return contig == self.contig and start < self.end and end > self.start


def parse_region(text: str, contigs: Iterable[str]) -> Region:
    """Read "chr1", "chr1:1000-2000", "chr1:1000-" or "chr1:1000", as bcftools does: 1-based, inclusive.

    A name in braces, as in "{HLA-A*01:01}:1-100", ends at the brace, whatever colons it has.

    Parameters
    ----------
    contigs : iterable of str
        Names that are known; a text that is one of them is that contig, whole.

    Raises
    ------
    InputError
        If the text is none of these.
    """
    known = set(contigs)
    if text.startswith("{") and "}" in text:
        contig, _, span = text[1:].partition("}")
        if span and not span.startswith(":"):
            raise _no_region(text)
        span = span[1:]
    elif text in known or ":" not in text:
        contig, span = text, ""
    else:
        contig, _, span = text.rpartition(":")
    if not span:
        return Region(contig, 0, _WHOLE)
    first, dash, last = span.replace(",", "").partition("-")
    numbers = [n for n in (first, last) if n]
    if not first or not all(n.isascii() and n.isdigit() and len(n) <= 10 for n in numbers):
        raise _no_region(text)
    start, end = int(first) - 1, int(last or (_WHOLE if dash else first))
    if not 0 <= start < end:
        raise InputError(f"a region must satisfy 1 <= FROM <= TO (1-based, inclusive); got {text!r}")
    return Region(contig, start, end)


def check_region_contig(region: Region, name: str, contigs: Iterable[str]) -> None:
    """Refuse a region of a contig that the file `name`, with these contigs, does not have."""
    have = list(dict.fromkeys(contigs))
    if region.contig in have:
        return
    shown = ", ".join(sorted(have)[:8]) + (", ..." if len(have) > 8 else "")
    raise InputError(
        f"region: {name} has no contig {region.contig!r}; it has {shown or 'none'}. Use "
        "its names (chr1 is not 1), as CONTIG:FROM-TO, or {CONTIG}:FROM-TO if they have colons"
    )


def _no_region(text: str) -> InputError:
    return InputError(
        f"a region must be CONTIG, CONTIG:POS or CONTIG:FROM-TO ({{CONTIG}}:FROM-TO for names with "
        f"colons); got {text!r}"
    )


def find_index(path: Path) -> Path | None:
    """The index beside a file, if there is one and it is not older than the file."""
    for suffix in (".csi", ".tbi"):
        index = Path(f"{path}{suffix}")
        if index.is_file() and index.stat().st_mtime >= path.stat().st_mtime:
            return index
    return None


class _Index(NamedTuple):
    """An index, decompressed, with what its head says."""

    data: bytes
    is_csi: bool
    min_shift: int
    depth: int
    names: list[str]
    at: int  # where the sequences begin


def _read(index: Path) -> _Index:
    """The formats are those of the documents CSIv1 and tabix of samtools/hts-specs."""
    try:
        data = gzip.decompress(index.read_bytes())
        is_csi, min_shift, depth, names_at = data[:4] == b"CSI\1", _LINEAR_SHIFT, _TBI_DEPTH, 8
        if is_csi:
            min_shift, depth, extra = struct.unpack_from("<iii", data, 4)
            names_at = 16
        if (is_csi and extra < 28) or not (is_csi or data[:4] == b"TBI\1"):
            raise ValueError("it is not the index of a text VCF")
        size = struct.unpack_from("<i", data, names_at + 24)[0]
        at = names_at + 28 + size
        names = data[at - size : at].decode("utf-8", "surrogateescape").split("\0")[:-1]
    except (OSError, EOFError, ValueError, zlib.error, struct.error) as error:
        raise _bad_index(index, error) from error
    return _Index(data, is_csi, min_shift, depth, names, at + 4 if is_csi else at)


def _bad_index(index: Path, error: Exception) -> InputError:
    return InputError(f"{index} cannot be read as an index: {error}. Remove it or create it again")


def names_in_index(index: Path) -> list[str]:
    """Contigs that have records, as the index beside a VCF says."""
    return _read(index).names


def offset_of(index: Path, region: Region) -> int | None:
    """Virtual offset from which on a bgzipped VCF has all records of a region; None if it has none."""
    data, is_csi, min_shift, depth, names, at = _read(index)
    try:
        for name in names:
            at, bins, linear = _sequence(data, at, is_csi)
            if name == region.contig:
                return _first_offset(bins, linear, region.start, min_shift, depth)
    except struct.error as error:
        raise _bad_index(index, error) from error
    return None


def _sequence(data: bytes, at: int, csi: bool) -> tuple[int, dict[int, int], tuple[int, ...]]:
    """Bins with their smallest offsets, and the linear index, of the sequence that begins at `at`."""
    n_bins = struct.unpack_from("<i", data, at)[0]
    at += 4
    bins: dict[int, int] = {}
    for _ in range(n_bins):
        if csi:
            number, lowest, n_chunks = struct.unpack_from("<IQi", data, at)
            at += 16
        else:
            number, n_chunks = struct.unpack_from("<Ii", data, at)
            at += 8
            lowest = struct.unpack_from("<Q", data, at)[0] if n_chunks else 0
        at += 16 * n_chunks
        bins[number] = lowest
    linear: tuple[int, ...] = ()
    if not csi:
        n_intervals = struct.unpack_from("<i", data, at)[0]
        linear = struct.unpack_from(f"<{n_intervals}Q", data, at + 4)
        at += 4 + 8 * n_intervals
    return at, bins, linear


def _first_offset(
    bins: dict[int, int], linear: tuple[int, ...], start: int, min_shift: int, depth: int
) -> int | None:
    pseudo = ((1 << 3 * (depth + 1)) - 1) // 7 + 1  # a bin of counts, not of records
    lowest = min((offset for number, offset in bins.items() if number != pseudo), default=None)
    if lowest is None:
        return None
    if linear:
        return max(linear[min(start >> _LINEAR_SHIFT, len(linear) - 1)], lowest)
    number = ((1 << 3 * depth) - 1) // 7 + (start >> min_shift)
    while number and number not in bins:  # the bin before it, or the one that holds it
        first = ((number - 1) >> 3) * 8 + 1
        number = number - 1 if number > first else (number - 1) >> 3
    return max(bins.get(number, 0), lowest)
