"""Reads the effects that lie in the regions of the browser."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kipoi_mcdropout.effects.row_identity import first_of_each_variant, genomic_variants
from kipoi_mcdropout.files.read_stream import iter_effects
from kipoi_mcdropout.reports.browser.regions import Region

_KEPT = ("effect_mean", "effect_sd", "effect_point", "output", "sequence", "position", "pos", "chrom",
         "strand", "ref", "alt", "id")  # fmt: skip


def rows_of_regions(
    path: Path, outputs: Sequence[str], score: str, regions: Sequence[Region]
) -> pd.DataFrame:
    """Rows of one score and some outputs in the regions: one pass over the result.

    Of ISM these are rows of the regions' own sequences alone.

    Returns
    -------
    DataFrame
        With `chrom`, `pos` (from 1), `ref` and `alt` as on the forward strand of the genome.
    """
    parts = []
    for piece in iter_effects(path, outputs):
        mine = (piece["score"] == score).to_numpy(bool) & _in_regions(piece, regions)
        mine &= (piece["ref"] != piece["alt"]).to_numpy(bool)  # --test_ref_ref has mutants that are none
        if mine.any():
            parts.append(piece.loc[mine, [name for name in _KEPT if name in piece]])
    rows = pd.concat(parts, ignore_index=True)
    variants = genomic_variants(rows)
    assert variants is not None, "rows in regions have a place"
    found: pd.DataFrame = rows.assign(**{str(name): variants[name] for name in variants})
    return found


def once(rows: pd.DataFrame) -> pd.DataFrame:
    """Of a substitution that several windows have, the row of one.

    It is that in which the substitution lies nearest to the middle; see `effects.row_identity`.
    """
    kept = np.zeros(len(rows), bool)
    for output in rows["output"].unique():
        mine = (rows["output"] == output).to_numpy(bool)
        variants = rows.loc[mine, ["chrom", "pos", "ref", "alt"]]
        kept[mine] = first_of_each_variant(rows[mine], variants)
    found: pd.DataFrame = rows[kept].reset_index(drop=True)
    return found


def _in_regions(piece: pd.DataFrame, regions: Sequence[Region]) -> NDArray[np.bool_]:
    pos = piece["pos"].to_numpy(float)
    found = np.zeros(len(piece), bool)
    for region in regions:
        mine = (piece["chrom"] == region.chrom).to_numpy(bool)
        mine = mine & (pos > region.start) & (pos <= region.end)  # NaN is in none
        if region.sequence is not None:
            mine = mine & (piece["sequence"] == region.sequence).to_numpy(bool)
        found |= mine
    return found
