"""Regions of a BED file as windows of one length, and what was done to make them so.

Coordinates are 0-based and half-open. A region of another length is resized about its centre: a window
of L bases begins at (start + end) // 2 - L // 2, as in kipoiseq. A region of one base is then in the
middle of a window where L is odd, and right of the middle where L is even. A region of length L is its
own window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.sequence.contig_names import (
    ContigMap,
    contig_map_of,
    contigs_of_regions,
    some_names,
)

if TYPE_CHECKING:
    from kipoi_mcdropout.sequence.bed import Interval

Edge = Literal["pad", "skip"]


@dataclass(frozen=True)
class WindowOptions:
    """How regions become windows; see `model.regions.Regions`."""

    edge: Edge = "pad"
    use_strand: bool = False
    contig_map: ContigMap | None = None

    def __post_init__(self) -> None:
        if self.edge not in get_args(Edge):
            raise InputError(f"edge must be one of {get_args(Edge)}; got {self.edge!r}")


class Window(NamedTuple):
    """A window; `start` is negative where it begins before the contig."""

    contig: str  # as the regions name it
    target: str  # as the genome names it
    start: int
    end: int
    name: str
    strand: str  # "-": the reverse complement is meant; "*": the strand of the region is not used

    def padded(self, lengths: dict[str, int]) -> bool:
        """Whether it runs over an end of its contig."""
        return self.start < 0 or self.end > lengths[self.target]


@dataclass(frozen=True)
class RegionWindows:
    """The windows of a BED file, in its order.

    Attributes
    ----------
    windows : list of Window
        Those that are read.
    length : int
        Of each, bp.
    resized : tuple of int
        Lengths of the regions that were resized.
    padded, skipped : tuple of str
        Names of the windows that run over an end of their contig: read with N there, or left out.
    n_minus : int
        Regions with strand "-" whose forward sequence is read.
    """

    windows: list[Window]
    length: int
    resized: tuple[int, ...] = ()
    padded: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    n_minus: int = 0

    @property
    def n_regions(self) -> int:
        """Regions in the file."""
        return len(self.windows) + len(self.skipped)

    def notes(self) -> list[str]:
        """What was done with the regions that need not worry anyone, a sentence each."""
        said = []
        if self.resized:
            low, high = min(self.resized), max(self.resized)
            were = f"{low} bp" if low == high else f"{low} to {high} bp"
            said.append(
                f"{len(self.resized)} of {self.n_regions} regions were resized from {were} to "
                f"{self.length} bp about their centre"
            )
        if self.n_minus:
            said.append(
                f"{self.n_minus} of {self.n_regions} regions have strand -; their forward sequence is "
                "read, as kipoiseq does. To read the reverse complement: use_strand (--use_strand)"
            )
        return said

    def warnings(self) -> list[str]:
        """What must be known before the results are used, a sentence each."""
        said = []
        if self.padded:
            said.append(
                f"{len(self.padded)} of {self.n_regions} windows run over an end of their contig and "
                f"are padded with N: {some_names(self.padded)}"
            )
        if self.skipped:
            said.append(
                f"{len(self.skipped)} of {self.n_regions} windows run over an end of their contig and "
                f"are skipped: {some_names(self.skipped)}"
            )
        return said

    def to_dict(self) -> dict[str, Any]:
        """The counts as plain values, and the names of what was skipped."""
        return {
            "n": self.n_regions, "resized": len(self.resized), "padded": len(self.padded),
            "skipped": list(self.skipped),
        }  # fmt: skip


def length_range(regions: Sequence[Interval]) -> tuple[int, int]:
    """The lengths of the shortest and the longest region, bp."""
    lengths = [region.end - region.start for region in regions]
    return min(lengths), max(lengths)


def region_windows(
    regions: Sequence[Interval], length: int, genome_lengths: dict[str, int], fasta: Path,
    options: WindowOptions,
) -> RegionWindows:  # fmt: skip
    """The windows of regions.

    Parameters
    ----------
    regions : sequence of Interval
        As `bed.read_rows` gives them.
    length : int
        Of the windows, bp.
    genome_lengths : dict of str to int
        Contigs of the genome.
    fasta : Path
        The genome, for messages.

    Raises
    ------
    InputError
        If a contig is not in the genome, a region lies outside its contig, a strand is none under
        `use_strand`, or every window was skipped.
    """
    chroms = (region.chrom for region in regions)
    contigs = contigs_of_regions(chroms, genome_lengths, contig_map_of(options.contig_map), fasta)
    minus = 0 if options.use_strand else sum(region.strand == "-" for region in regions)
    windows: list[Window] = []
    padded: list[str] = []
    skipped: list[str] = []
    for region in regions:
        window = _window(region, contigs[region.chrom], length, options.use_strand)
        _check_inside(region, window, genome_lengths[window.target], fasta)
        if window.padded(genome_lengths):
            (padded if options.edge == "pad" else skipped).append(window.name)
            if options.edge == "skip":
                continue
        windows.append(window)
    if not windows:
        raise InputError(
            f"all {len(skipped)} windows of {length} bp run over an end of their contig and are "
            f"skipped: {some_names(skipped)}. Pad them with N (edge pad), or give other regions"
        )
    lengths = (region.end - region.start for region in regions)
    resized = tuple(n_bp for n_bp in lengths if n_bp != length)
    return RegionWindows(windows, length, resized, tuple(padded), tuple(skipped), minus)


def _window(region: Interval, target: str, length: int, use_strand: bool) -> Window:
    start = (region.start + region.end) // 2 - length // 2
    name = region.name or f"{region.chrom}:{region.start}-{region.end}"
    strand = "*"
    if use_strand:
        strand = {"+": "+", "-": "-", ".": "*", "": "*"}.get(region.strand, "")
        if not strand:
            raise InputError(
                "with use_strand (--use_strand) the sixth column of the regions must be a strand: +, - "
                f"or a dot; that of region {name} is {region.strand[:40]!r}"
            )
    return Window(region.chrom, target, start, start + length, name, strand)


def _check_inside(region: Interval, window: Window, contig_length: int, fasta: Path) -> None:
    """Refuse a region, or the window made of it, that has no base of the contig."""
    if region.start >= contig_length or window.start >= contig_length:
        raise InputError(
            f"region {region.chrom}:{region.start}-{region.end} lies past the end of {window.target}, "
            f"which has {contig_length} bp in {fasta}. The regions must be of this genome"
        )
