"""Adds shrunken effects and local false sign rates to a table of effects."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from kipoi_mcdropout.effects.columns import SHRINKAGE_STATISTICS
from kipoi_mcdropout.effects.rounding import effect_rounding
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.significance.matched_effects import require
from kipoi_mcdropout.significance.shrinkage import shrink


class ShrunkenTable(NamedTuple):
    """What `add_shrinkage` returns.

    `shrunken` is the table; `fits` has a dict for each output and score: output, score, n (effects
    used), n_no_spread (effects without an sd), share_zero (of the true effects, by the estimate).
    """

    shrunken: pd.DataFrame
    fits: list[dict[str, Any]]


def add_shrinkage(table: pd.DataFrame) -> ShrunkenTable:
    """A copy of a result's table with `effect_posterior` and `lfsr`, for each output and score apart.

    Parameters
    ----------
    table : DataFrame
        Of `files.read.read_effects`. An effect with an sd that is 0 or only rounding gets NaN.

    Raises
    ------
    InputError
        If an output has fewer than 10 effects with an sd, or the table has such columns already.
    """
    require(table, ("output", "score", "effect_mean", "effect_sd"), "the table of effects")
    if taken := [name for name in SHRINKAGE_STATISTICS if name in table]:
        raise InputError(
            f"the result has the columns {', '.join(taken)} already. Give the result without them"
        )
    empty = np.full(len(table), np.nan, table["effect_mean"].to_numpy().dtype)
    added = {name: empty.copy() for name in SHRINKAGE_STATISTICS}
    fits: list[dict[str, Any]] = []
    pairs = pd.MultiIndex.from_frame(table[["output", "score"]].astype(str))
    for output, score in pairs.unique():
        rows = np.flatnonzero(pairs == (output, score))
        mine = table.iloc[rows]
        sd = mine["effect_sd"].to_numpy(np.float64)
        spread = np.where(sd > effect_rounding(mine), sd, 0.0)
        try:
            found = shrink(mine["effect_mean"].to_numpy(np.float64), spread)
        except InputError as error:
            raise InputError(f"output {output}, score {score}: {error}") from error
        added["effect_posterior"][rows], added["lfsr"][rows] = found.mean, found.lfsr
        n = int(np.isfinite(found.mean).sum())
        fits.append(
            {
                "output": output, "score": score, "n": n, "n_no_spread": len(rows) - n,
                "share_zero": float(found.mixture.share[0]),
            }
        )  # fmt: skip
    with_columns: pd.DataFrame = table.assign(**added)
    return ShrunkenTable(with_columns, fits)
