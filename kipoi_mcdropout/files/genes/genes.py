"""A gene, and the genes of an annotation with the ways to ask for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kipoi_mcdropout.sequence.contig_names import alias_of

_MOST_NAMES = 3  # of genes that overlap one place
_KB, _MB = 1_000, 1_000_000


@dataclass(frozen=True)
class Gene:
    """A gene: [start, end) of a contig (from 0), its strand ("+", "-" or ""), and its exons.

    `exons` are [start, end) from 0, sorted and apart: the union over the transcripts. They are known
    only near the regions that were asked for, and empty where the file has none.
    """

    name: str
    chrom: str
    start: int
    end: int
    strand: str = ""
    exons: tuple[tuple[int, int], ...] = ()


class Genes:
    """Genes by contig.

    A contig that the annotation does not have is looked for under the name with a leading "chr", or
    without it.

    Parameters
    ----------
    genes : iterable of Gene
    """

    def __init__(self, genes: Iterable[Gene]) -> None:
        self._by_contig: dict[str, list[Gene]] = {}
        for gene in sorted(genes, key=lambda gene: (gene.start, gene.end, gene.name)):
            self._by_contig.setdefault(gene.chrom, []).append(gene)

    def __len__(self) -> int:
        return sum(map(len, self._by_contig.values()))

    @property
    def contigs(self) -> list[str]:
        """Names of the contigs, as in the annotation."""
        return sorted(self._by_contig)

    def contig_of(self, chrom: str) -> str | None:
        """What the annotation calls a contig; None where it has no gene on it."""
        return next((name for name in (chrom, alias_of(chrom)) if name in self._by_contig), None)

    def overlapping(self, chrom: str, start: int, end: int) -> list[Gene]:
        """Genes that share a base with [start, end), from 0; by start."""
        contig = self.contig_of(chrom)
        genes = [] if contig is None else self._by_contig[contig]
        return [gene for gene in genes if gene.start < end and gene.end > start]

    def nearest(self, chrom: str, start: int, end: int) -> tuple[Gene, int] | None:
        """The gene that is nearest to [start, end), and the bases from it to the gene's near end.

        The distance is 0 for a gene that shares a base with it, and 1 for one that begins at the next
        base. None where the contig has no gene. Of equals the first by start is given.
        """
        contig = self.contig_of(chrom)
        if contig is None:
            return None
        distances = [
            (max(gene.start - end, start - gene.end) + 1, number)
            for number, gene in enumerate(self._by_contig[contig])
        ]
        distance, number = min(distances)
        return self._by_contig[contig][number], max(0, distance)

    def label(self, chrom: str, start: int, end: int) -> str:
        """In words, the genes of [start, end), from 0: ``HNF1A``, or the nearest, as ``HNF1A (12 kb)``.

        "" where the contig has no gene.
        """
        inside = self.overlapping(chrom, start, end)
        if inside:
            return _listed([gene.name for gene in inside])
        found = self.nearest(chrom, start, end)
        return "" if found is None else f"{found[0].name} ({_distance(found[1])})"


def _listed(names: Sequence[str]) -> str:
    unique = list(dict.fromkeys(names))
    more = len(unique) - _MOST_NAMES
    return ", ".join(unique[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _distance(bases: int) -> str:
    if bases < _KB:
        return f"{bases} bp"
    number, unit = (bases / _KB, "kb") if bases < _MB else (bases / _MB, "Mb")
    return f"{number:.3g} {unit}" if number < 999.5 else f"{number:.0f} {unit}"


def union(intervals: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Intervals with those that touch or overlap made one, sorted."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(intervals):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return tuple(joined)
