"""Tracks of the browser, as plain values that the page's script hands to igv.js.

Places are from 0 and half-open, as igv.js has them; the loci of regions are from 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from kipoi_mcdropout.effects.by_position import by_position
from kipoi_mcdropout.effects.row_identity import genomic_variants
from kipoi_mcdropout.effects.score_names import UNSIGNED_SCORES
from kipoi_mcdropout.files.genes import Gene, Genes
from kipoi_mcdropout.plots.style import BLUE, GREY, VERMILLION
from kipoi_mcdropout.reports.browser.regions import Region
from kipoi_mcdropout.reports.effects import STRONG_Z

Track = dict[str, Any]
_DIGITS = 3
_MOST_ALLELES = 2_000  # of an output in a region
_MARGIN = 0.1  # of the scale of a track, beyond its largest number
_LONGEST_ALLELE = 12  # letters that are shown


def ism_tracks(rows: pd.DataFrame, outputs: Sequence[str], effect: str, score: str) -> Iterator[Track]:
    """Of each output the importance of the positions, the strongest effect there, and its sd.

    Both are those of `effects.by_position`. The importance is above 0 where substitutions lower the
    prediction; there is none of a score without a sign. The sd, where there are draws, is that of the
    strongest. A position at which an effect is not finite is left out.
    """
    for output in outputs:
        mine = rows[rows["output"] == output].reset_index(drop=True)
        if not len(mine):
            continue
        found = by_position(mine.groupby(["chrom", "pos"]).ngroup(), mine[effect])
        defined = np.isfinite(found.importance)
        if not defined.any():
            continue
        strongest = mine.iloc[found.strongest[defined]].set_index(["chrom", "pos"])
        if score not in UNSIGNED_SCORES:
            importance = pd.Series(found.importance[defined], strongest.index)
            yield _numeric(f"{output}: importance", "letters", _runs(importance))
        yield _numeric(f"{output}: strongest effect", "bars", _runs(strongest[effect]), is_effect=True)
        if effect == "effect_mean":
            yield _numeric(f"{output}: sd", "bars", _runs(strongest["effect_sd"]))


def variant_tracks(rows: pd.DataFrame, outputs: Sequence[str], effect: str) -> Iterator[Track]:
    """Of each output a point for each allele: its effect and, where there are draws, its sd."""
    for output in outputs:
        mine = rows[rows["output"] == output]
        yield _numeric(f"{output}: effect", "points", _points(mine, effect), is_effect=True)
        if effect == "effect_mean":
            yield _numeric(f"{output}: sd", "points", _points(mine, "effect_sd"))


def strongest_rows(rows: pd.DataFrame, regions: Sequence[Region], effect: str) -> pd.DataFrame:
    """Rows without those of too many alleles: of each region and output the largest |effect|."""
    kept = []
    for region in regions:
        inside = (rows["chrom"] == region.chrom) & rows["pos"].between(region.start + 1, region.end)
        for _, mine in rows[inside].groupby("output", sort=False):
            if len(mine) > _MOST_ALLELES:
                mine = mine.loc[mine[effect].abs().nlargest(_MOST_ALLELES).index]
            kept.append(mine)
    found: pd.DataFrame = rows.loc[sorted(set(pd.concat(kept).index))] if kept else rows
    return found


def top_track(top: pd.DataFrame, regions: Sequence[Region], effect: str) -> Track:
    """The top effects that lie in the regions: red above 0, blue below, pale where |z| is below 2."""
    features = []
    known = top[top["pos"].notna()]
    variants = genomic_variants(known)
    assert variants is not None, "the rows have a place"
    for (_, variant), (_, given) in zip(variants.iterrows(), known.iterrows(), strict=True):
        chrom, start = str(variant["chrom"]), int(variant["pos"]) - 1
        end = start + len(variant["ref"])
        if not any(region.has(chrom, start, end) for region in regions):
            continue
        feature = {"chr": chrom, "start": start, "end": end, "name": _change(variant)}
        if given.get("id"):
            feature["id"] = str(given["id"])
        feature["output"] = str(given["output"])
        feature["color"] = _color(float(given[effect]), float(given["z"]))
        feature |= _numbers(given, effect)
        features.append({**feature, "rank": int(given["rank"])})
    return {"name": "Top effects", "kind": "features", "features": features}


def allele_track(rows: pd.DataFrame, outputs: Sequence[str], effect: str) -> Track:
    """All alleles of a VCF in the regions, in colours as above by their effect on the first output."""
    features: dict[tuple[Any, ...], dict[str, Any]] = {}
    for output in outputs:
        for _, row in rows[rows["output"] == output].iterrows():
            key = (row["chrom"], row["pos"], row["ref"], row["alt"])
            mean, sd = float(row[effect]), float(row["effect_sd"])
            if key not in features:
                start = int(row["pos"]) - 1
                place = {"chr": str(row["chrom"]), "start": start, "end": start + len(row["ref"])}
                z = mean / sd if sd > 0 else np.nan
                features[key] = {**place, "name": _change(row), "color": _color(mean, z)}
                if row.get("id"):
                    features[key]["id"] = str(row["id"])
            features[key][f"{output}: effect"] = rounded(mean)
            if np.isfinite(sd):
                features[key][f"{output}: sd"] = rounded(sd)
    return {"name": "Variants", "kind": "features", "features": list(features.values())}


def gene_track(genes: Genes, regions: Sequence[Region]) -> Track:
    """The genes that lie in the regions, or near them."""
    seen: dict[Gene, str] = {}
    for region in regions:
        for gene in genes.overlapping(*region.around):
            seen.setdefault(gene, region.chrom)
    features = [
        {
            "chr": chrom,
            "start": gene.start,
            "end": gene.end,
            "name": gene.name,
            "strand": gene.strand or ".",
            "exons": [{"start": start, "end": end} for start, end in gene.exons],
        }
        for gene, chrom in seen.items()
    ]
    return {"name": "Genes", "kind": "genes", "features": features}


def sequences(rows: pd.DataFrame) -> dict[tuple[str, int], str]:
    """Stretches of the reference by contig and start, from 0: what substitutions replace, else N."""
    places = rows.drop_duplicates(["chrom", "pos"]).set_index(["chrom", "pos"])["ref"]
    found = {}
    for chrom, first, letters in _stretches(places):
        found[chrom, first - 1] = "".join("N" if pd.isna(letter) else letter for letter in letters)
    return found


def _numeric(name: str, kind: str, runs: list[dict[str, Any]], is_effect: bool = False) -> Track:
    """A track of numbers on one scale for all regions, with 0 in it, and a margin for marks at its ends.

    `is_effect` gives it the colours of effects above and below 0.
    """
    known = [value for run in runs for value in run["values"] if value is not None]
    low, high = min([0.0, *known]), max([0.0, *known])
    margin = _MARGIN * ((high - low) or 1.0)
    low, high = (low - margin if low < 0 else 0.0), high + margin
    scale = {"min": float(f"{low:.2g}"), "max": float(f"{high:.2g}")}
    above, below = (VERMILLION, BLUE) if is_effect else (GREY, GREY)
    return {"name": name, "kind": kind, "color": above, "below": below, "runs": runs, **scale}


def _runs(values: pd.Series) -> list[dict[str, Any]]:
    """Numbers by (chrom, pos) as stretches of consecutive positions."""
    return [
        {"chr": chrom, "start": first - 1, "values": [rounded(v) for v in numbers]}
        for chrom, first, numbers in _stretches(values)
    ]


_LONGEST_GAP = 50  # positions without a mutant within a stretch


def _stretches(values: pd.Series) -> Iterator[tuple[str, int, list[Any]]]:
    """Contig, first position and values of stretches; NaN where a position in it has none."""
    for chrom, on_contig in values.groupby(level=0, sort=True):
        on_contig = on_contig.droplevel(0).sort_index()
        places = on_contig.index.to_numpy()
        for part in np.split(np.arange(len(places)), np.flatnonzero(np.diff(places) > _LONGEST_GAP) + 1):
            first, last = int(places[part[0]]), int(places[part[-1]])
            yield str(chrom), first, list(on_contig.reindex(range(first, last + 1)))


def _points(rows: pd.DataFrame, column: str) -> list[dict[str, Any]]:
    """A number for each allele, by contig."""
    runs = []
    for chrom, mine in rows.sort_values("pos", kind="stable").groupby("chrom", sort=True):
        starts = [int(pos) - 1 for pos in mine["pos"]]
        ends = [start + len(ref) for start, ref in zip(starts, mine["ref"], strict=True)]
        values = [rounded(value) for value in mine[column]]
        runs.append({"chr": str(chrom), "starts": starts, "ends": ends, "values": values})
    return runs


def rounded(value: Any) -> float | None:
    """A number with three digits, as a page needs no more; None where it is not finite."""
    number = float(value)
    return float(f"{number:.{_DIGITS}g}") if np.isfinite(number) else None


def _change(variant: pd.Series) -> str:
    ref, alt = (
        allele if len(allele) <= _LONGEST_ALLELE else f"{allele[:_LONGEST_ALLELE]}... ({len(allele)} bp)"
        for allele in (str(variant["ref"]), str(variant["alt"]))
    )
    return f"{ref} \u2192 {alt}"


def _color(effect: float, z: float) -> str:
    color = VERMILLION if effect > 0 else BLUE
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    alpha = 1.0 if not np.isfinite(z) or abs(z) >= STRONG_Z else 0.4
    return f"rgba({red},{green},{blue},{alpha:g})"


def _numbers(given: pd.Series, effect: str) -> dict[str, Any]:
    columns: Iterable[tuple[str, str]] = (("effect", effect), ("sd", "effect_sd"), ("z", "z"))
    found = {name: rounded(given[column]) for name, column in columns}
    return {name: value for name, value in found.items() if value is not None}
