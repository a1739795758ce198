"""Windows of a FASTA file, one-hot encoded, at the intervals of a BED file."""

from __future__ import annotations

import os
import re
import tempfile
from typing import Any, NamedTuple

import numpy as np
import pyfaidx
from kipoi.data import Dataset
from kipoi.metadata import GenomicRanges

LENGTH_BP = 500
N_TARGETS = 4

# Row of a character: A, C, G, T in either case; every other character is an unknown base.
_ONE_HOT = np.zeros((256, 4), dtype=np.float32)
for _index, _base in enumerate("ACGT"):
    _ONE_HOT[ord(_base), _index] = _ONE_HOT[ord(_base.lower()), _index] = 1.0


class Interval(NamedTuple):
    """A window of ``LENGTH_BP``: 0-based, half-open; ``start`` is negative before the contig."""

    chrom: str
    start: int
    end: int
    name: str
    targets: tuple[float, ...]


def one_hot(sequence: str) -> np.ndarray:
    """One-hot encode a sequence.

    Returns
    -------
    numpy.ndarray, shape=(len(sequence), 4), dtype=float32
        Columns A, C, G, T; all zero for N and any other character.
    """
    return _ONE_HOT[np.frombuffer(sequence.encode("latin-1"), dtype=np.uint8)]


def resized(start: int, end: int) -> tuple[int, int]:
    """The window of ``LENGTH_BP`` with the same centre; unchanged if it has that length."""
    first = (start + end) // 2 - LENGTH_BP // 2
    return first, first + LENGTH_BP


def _parse_line(line: str, where: str, with_targets: bool) -> Interval:
    fields = line.split("\t") if "\t" in line else line.split()
    if len(fields) < 3 or not all(re.fullmatch("[0-9]{1,12}", field) for field in fields[1:3]):
        raise ValueError(
            f"{where}: chrom, start and end, separated by tabs, are required, start and end as whole "
            f"numbers; got {line!r}"
        )
    chrom, start, end = fields[0], int(fields[1]), int(fields[2])
    if start >= end:
        raise ValueError(f"{where}: start < end is required; got start={start}, end={end}")
    targets: tuple[float, ...] = ()
    if with_targets:
        try:
            targets = tuple(float(field) for field in fields[4 : 4 + N_TARGETS])
        except ValueError:
            targets = ()
        if len(targets) != N_TARGETS:
            raise ValueError(
                f"{where}: ignore_targets=False needs {N_TARGETS} numbers in columns 5 to "
                f"{4 + N_TARGETS}; got {fields[4:]}. Add them, or leave ignore_targets at True"
            )
    name = fields[3] if len(fields) > 3 else f"{chrom}:{start}-{end}"
    return Interval(chrom, *resized(start, end), name, targets)


def read_intervals(path: str, with_targets: bool = False) -> list[Interval]:
    """Read a BED file; comments, ``track`` and ``browser`` lines are passed over.

    Raises
    ------
    ValueError
        If a line is no interval; it names the file and the line.
    """
    intervals = []
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            text = line.rstrip("\r\n")
            is_header = text.startswith("#") or text.split()[:1] in (["track"], ["browser"])
            if text.strip() and not is_header:
                intervals.append(_parse_line(text, f"{path}, line {number}", with_targets))
    return intervals


def open_fasta(path: str) -> pyfaidx.Fasta:
    """Open a FASTA file without writing beside it.

    An index that is there and not older than the file is used; else one is made in a temporary
    folder, and kept in memory only.
    """
    if not os.path.isfile(path):
        raise ValueError(f"fasta_file must be a FASTA file; there is no file {path}")
    index = f"{path}.fai"
    if os.path.isfile(index) and os.path.getmtime(index) >= os.path.getmtime(path):
        return pyfaidx.Fasta(path, indexname=index, as_raw=True, rebuild=False)
    with tempfile.TemporaryDirectory() as folder:
        return pyfaidx.Fasta(path, indexname=os.path.join(folder, "index.fai"), as_raw=True)


class ExampleDataset(Dataset):
    """One-hot encoded windows of 500 bp.

    Parameters
    ----------
    fasta_file : str
        Plain FASTA; lower case is read as upper case.
    intervals_file : str
        BED, 0-based and half-open: chrom, start, end, optionally a name and four targets. A strand
        column is not looked at: sequences are those of the forward strand. Intervals of another
        length are resized around their centre; ``metadata`` tells the window that was read.
    ignore_targets : bool
        If False, columns 5 to 8 are returned as ``targets``.

    Raises
    ------
    ValueError
        If a line of the BED file is not an interval, its contig is not in the FASTA file, or it
        lies past the contig's end.
    """

    def __init__(self, fasta_file: str, intervals_file: str, ignore_targets: bool = True) -> None:
        # Kipoi may change the folder after this.
        self.fasta_file = os.path.abspath(fasta_file)
        self.ignore_targets = ignore_targets
        self.intervals = read_intervals(intervals_file, with_targets=not ignore_targets)
        self._process: int | None = None
        self._check_contigs(intervals_file)

    def _genome(self) -> pyfaidx.Fasta:
        """The FASTA, opened once in each process: a shared file position would mix up the reads."""
        if self._process != os.getpid():
            self._fasta = open_fasta(self.fasta_file)
            self._process = os.getpid()
        return self._fasta

    def _check_contigs(self, intervals_file: str) -> None:
        with open_fasta(self.fasta_file) as fasta:
            lengths = {name: len(fasta[name]) for name in fasta.keys()}  # noqa: SIM118
        for interval in self.intervals:
            if interval.chrom not in lengths:
                known = ", ".join(list(lengths)[:5])
                raise ValueError(
                    f"{intervals_file}: contig {interval.chrom!r} of interval {interval.name!r} is "
                    f"not in {self.fasta_file}, which has {known}; use its names"
                )
            if interval.start >= lengths[interval.chrom]:
                raise ValueError(
                    f"{intervals_file}: interval {interval.name!r} starts at {interval.start} "
                    f"(0-based), past the end of {interval.chrom}, "
                    f"{lengths[interval.chrom]} bp long"
                )

    def _sequence(self, interval: Interval) -> str:
        contig = self._genome()[interval.chrom]
        first, last = max(interval.start, 0), min(interval.end, len(contig))
        inside = str(contig[first:last])
        return "N" * (first - interval.start) + inside + "N" * (interval.end - last)

    def __len__(self) -> int:
        return len(self.intervals)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One window: ``inputs["seq"]`` of shape (500, 4), ``metadata["ranges"]``, ``targets``."""
        interval = self.intervals[index]
        item: dict[str, Any] = {
            "inputs": {"seq": one_hot(self._sequence(interval))},
            "metadata": {
                "ranges": GenomicRanges(
                    chr=interval.chrom,
                    start=interval.start,
                    end=interval.end,
                    id=interval.name,
                    strand="*",
                )
            },
        }
        if not self.ignore_targets:
            item["targets"] = np.asarray(interval.targets, dtype=np.float32)
        return item
