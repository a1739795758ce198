"""What the browser of a report shows, or why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from kipoi_mcdropout.effects.score_names import NO_EFFECT
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.genes import Genes
from kipoi_mcdropout.reports.browser import tracks
from kipoi_mcdropout.reports.browser.regions import Region, choose_regions, fit, has_places
from kipoi_mcdropout.reports.browser.rows import once, rows_of_regions
from kipoi_mcdropout.reports.effects import EffectFacts

MOST_REGIONS = 10
_MOST_OUTPUTS = 3
_BESIDE_BP = {True: 30, False: 50}  # of an ISM's substitution, and of a variant, where one jumps to it


@dataclass(frozen=True)
class BrowserFacts:
    """Regions and tracks of the genome browser.

    `why_not` says why there are none, "" where there are some. `tracks` and `sequences` are as in
    `tracks`. `n_left_out` counts alleles that are not shown, since a region has too many.
    """

    why_not: str = ""
    regions: list[Region] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    tracks: list[dict[str, Any]] = field(default_factory=list)
    sequences: dict[tuple[str, int], str] = field(default_factory=dict)
    n_left_out: int = 0
    is_ism: bool = True

    def place_of(self, row: pd.Series) -> tuple[Region, str] | None:
        """The region that has the effect of a row, and the locus around it; None where there is none."""
        if not self.regions or pd.isna(row["pos"]):
            return None
        chrom, start = str(row["chrom"]), int(row["pos"]) - 1
        end = start + len(row["ref"])
        region = next((region for region in self.regions if region.has(chrom, start, end)), None)
        if region is None:
            return None
        beside = _BESIDE_BP[self.is_ism]
        return region, f"{chrom}:{max(0, start - beside) + 1}-{end + beside}"


def gather_regions(effects: EffectFacts, most: int) -> list[Region]:
    """The regions of the top effects; none where they have no place on a genome.

    Raises
    ------
    InputError
        If `most` is below 0.
    """
    if most < 0:
        raise InputError(f"the number of regions must be at least 0; got {most}")
    return choose_regions(effects.top, most) if has_places(effects.top) else []


def gather_browser(
    path: Path, effects: EffectFacts, regions: Sequence[Region], genes: Genes | None
) -> BrowserFacts:
    """Read what lies in the regions: one more pass over the result.

    Parameters
    ----------
    path : Path
        The result.
    effects : EffectFacts
    regions : sequence of Region
        As of `gather_regions`.
    genes : Genes, optional
        Shown as a track.
    """
    if why_not := _why_not(effects, regions):
        return BrowserFacts(why_not)
    top, effect = effects.top, effects.effect
    outputs = list(dict.fromkeys(top["output"]))[:_MOST_OUTPUTS]
    is_ism = "sequence" in top
    rows = rows_of_regions(path, outputs, effects.score, regions)
    regions = fit(regions, rows) if is_ism else list(regions)
    rows = once(rows)
    kept = rows if is_ism else tracks.strongest_rows(rows, regions, effect)
    shown = [] if genes is None else [tracks.gene_track(genes, regions)]
    if is_ism:
        shown += [
            tracks.top_track(top, regions, effect),
            *tracks.ism_tracks(kept, outputs, effect, effects.score),
        ]
    else:
        shown += [
            tracks.allele_track(kept, outputs, effect),
            *tracks.variant_tracks(kept, outputs, effect),
        ]
    return BrowserFacts(
        regions=regions,
        outputs=outputs,
        tracks=shown,
        sequences=tracks.sequences(kept) if is_ism else {},
        n_left_out=len(rows) - len(kept),
        is_ism=is_ism,
    )


def _why_not(effects: EffectFacts, regions: Sequence[Region]) -> str:
    if not len(effects.top):
        return "no effect can be ranked"
    if not has_places(effects.top):
        return "the result has no positions on a genome"
    if effects.score in NO_EFFECT:
        return "no score of the result is an effect"
    return "" if regions else "no region was asked for"
