"""Which parts of the genome the browser shows: those around the top effects."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

FLANK_BP = 5_000  # on either side of an effect in its region, and of genes around the region
_NAME = re.compile(r"[^\s:<>&\"']+")  # a contig that igv.js can be asked for


@dataclass(frozen=True)
class Region:
    """[start, end) of a contig, from 0, with the first of the top effects in it.

    `sequence` is the number of the sequence in the result, None for variants.
    """

    chrom: str
    start: int
    end: int
    best: int  # row of the table of top effects, from 0
    sequence: int | None = None
    name: str = ""

    @property
    def locus(self) -> str:
        """``chr1:101-200``: the first and the last base, from 1."""
        return f"{self.chrom}:{self.start + 1}-{self.end}"

    @property
    def around(self) -> tuple[str, int, int]:
        """Contig, start and end, from 0, with what one comes to when one zooms out a little."""
        return self.chrom, max(0, self.start - FLANK_BP), self.end + FLANK_BP

    def has(self, chrom: str, start: int, end: int) -> bool:
        """Whether [start, end), from 0, lies in it."""
        return chrom == self.chrom and self.start <= start and end <= self.end


def has_places(top: pd.DataFrame) -> bool:
    """Whether the place on the genome is known of some of the rows."""
    return bool({"chrom", "pos"} <= set(top) and _known(top).any())


def choose_regions(top: pd.DataFrame, most: int) -> list[Region]:
    """Regions around the top effects, in the order of their ranks.

    For ISM each is a sequence, or what of it lies within 5 kb of its first effect. The ends of the
    sequence are not known from the top effects, so the region may be longer; see `fit`. For variants
    each has 5 kb on both sides of an allele that lies in no earlier region.

    Parameters
    ----------
    top : DataFrame
        Rows as in `EffectFacts.top`, first by rank.
    most : int
        Regions at most.
    """
    regions: list[Region] = []
    for row in np.flatnonzero(_known(top)):
        if len(regions) == most:
            break
        one = top.iloc[row]
        chrom, start = str(one["chrom"]), int(one["pos"]) - 1
        end = start + len(one["ref"])
        number = int(one["sequence"]) if "sequence" in top else None
        if number is not None and any(r.sequence == number for r in regions):
            continue
        if number is None and any(r.has(chrom, start, end) for r in regions):
            continue
        name = str(one["name"]) if "name" in top else ""
        regions.append(Region(chrom, max(0, start - FLANK_BP), end + FLANK_BP, int(row), number, name))
    return regions


def fit(regions: Iterable[Region], rows: pd.DataFrame) -> list[Region]:
    """Regions of ISM without what lies beyond the mutated positions of their windows.

    Parameters
    ----------
    regions : iterable of Region
    rows : DataFrame
        All rows in the regions, with `sequence` and `pos`.
    """
    fitted = []
    for region in regions:
        pos = rows.loc[rows["sequence"] == region.sequence, "pos"]
        fitted.append(replace(region, start=int(pos.min()) - 1, end=int(pos.max())))
    return fitted


def _known(top: pd.DataFrame) -> pd.Series:
    """Rows whose place is known, on a contig whose name igv.js can take."""
    chrom = top["chrom"].astype(str)
    usable: pd.Series = top["pos"].notna() & chrom.map(lambda name: bool(_NAME.fullmatch(name)))
    return usable
