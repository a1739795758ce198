"""Regions of a genome in htslib's style, and where an index says that one begins in a bgzipped file."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from kipoi_mcdropout.errors import InputError

_LINEAR_SHIFT = 14  # of the linear index of .tbi: windows of 2**14 bases
_TBI_DEPTH = 5


class Region(NamedTuple):
    """A stretch of a contig, 0-based and half-open."""

    contig: str
    start: int
    end: int

    def overlaps(self, contig: str, start: int, end: int) -> bool:
        """Whether a stretch, 0-based and half-open, shares a base with the region."""
        return contig == self.contig and start < self.end and end > self.start


def parse_region(text: str, contigs: Iterable[str]) -> Region:
    """Read "chr1", "chr1:1000-2000", "chr1:1000-" or "chr1:1000", as bcftools does: 1-based, inclusive.

    Raises
    ------
    InputError
        If the text is none of these.
    """
    whole = Region(text, 0, 2**31 - 1)
    if text in set(contigs) or ":" not in text:
        return whole
    contig, _, span = text.rpartition(":")
    first, dash, last = span.replace(",", "").partition("-")
    numbers = [n for n in (first, last) if n]
    if not first or not all(n.isascii() and n.isdigit() for n in numbers):
        raise InputError(f"a region must be CONTIG, CONTIG:POS or CONTIG:FROM-TO; got {text!r}")
    start, end = int(first) - 1, int(last or (whole.end if dash else first))
    if not 0 <= start < end:
        raise InputError(f"a region must satisfy 1 <= FROM <= TO (1-based, inclusive); got {text!r}")
    return Region(contig, start, end)


def find_index(path: Path) -> Path | None:
    """The index beside a file, if there is one and it is not older than the file."""
    for suffix in (".csi", ".tbi"):
        index = Path(f"{path}{suffix}")
        if index.is_file() and index.stat().st_mtime >= path.stat().st_mtime:
            return index
    return None


def offset_of(index: Path, region: Region) -> int | None:
    """Virtual offset from which on a bgzipped VCF has all records of a region; None if it has none.

    The formats are those of the documents CSIv1 and tabix of samtools/hts-specs.
    """
    data = gzip.decompress(index.read_bytes())
    if data[:4] == b"TBI\1":
        names_at, min_shift, depth = 4, _LINEAR_SHIFT, _TBI_DEPTH
    elif data[:4] == b"CSI\1":
        min_shift, depth, extra = struct.unpack_from("<iii", data, 4)
        if extra < 28:
            raise InputError(f"{index} is not the index of a text VCF; remove it or make it again")
        names_at = 16
    else:
        raise InputError(f"{index} is neither a .tbi nor a .csi index; remove it or make it again")
    csi = data[:4] == b"CSI\1"
    header = names_at if csi else 8
    size = struct.unpack_from("<i", data, header + 24)[0]
    names = data[header + 28 : header + 28 + size].split(b"\0")[:-1]
    at = header + 28 + size
    if csi:
        at += 4  # the number of sequences, before their bins
    wanted = region.contig.encode()
    for name in names:
        at, bins, linear = _sequence(data, at, csi)
        if name == wanted:
            return _first_offset(bins, linear, region.start, min_shift, depth)
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
