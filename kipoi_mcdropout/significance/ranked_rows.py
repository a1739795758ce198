"""Rows of effects compared with a background."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.effects.columns import BACKGROUND_STATISTICS, OUTPUT_EPS
from kipoi_mcdropout.significance.background import ROW_STATISTICS, Background, Run

# A background is of substitutions: it says nothing about how often chance makes an indel this large.
OF_SUBSTITUTIONS = ("p_empirical", "p_empirical_signed")
SUBSTITUTION = "snv"


def groups_of(table: pd.DataFrame) -> dict[tuple[str, str], NDArray[np.int64]]:
    """Numbers of the rows of each score and output."""
    grouped: Any = table.groupby(["score", "output"], sort=False).indices
    return {(str(score), str(output)): rows for (score, output), rows in grouped.items()}


def ranked_rows(
    table: pd.DataFrame, draws: NDArray[Any] | None, background: Background, n_draws: int, n_members: int
) -> dict[str, NDArray[Any]]:
    """BACKGROUND_STATISTICS of the rows of a table, each shape=(rows,).

    They are float32 for the result of `ism`, which holds its numbers so, else float64. The sds of the
    percentiles are left out where there are no draws. p is NaN for alleles that are no substitution.

    Parameters
    ----------
    table : DataFrame
        Effects, a row per mutant, output and score.
    draws : numpy.ndarray, shape=(draws, rows), optional
        The effect of every draw.
    background : Background
        With the outputs and scores of the table.
    n_draws, n_members : int
        Of the run that made the effects.
    """
    names = [name for name in BACKGROUND_STATISTICS if draws is not None or not name.endswith("_sd")]
    found: dict[str, FloatArray] = {name: np.full(len(table), np.nan) for name in names}
    values = {name: table[name].to_numpy() for name in ROW_STATISTICS if name in table}
    eps = table[OUTPUT_EPS].to_numpy(np.float64) if OUTPUT_EPS in table else np.zeros(len(table))
    for (score, output), rows in groups_of(table).items():
        run = Run(n_draws, n_members, float(eps[rows].max()))
        column = background.labels.index(output)
        own = {name: x[rows] for name, x in values.items()}
        of_draws = None if draws is None else draws[:, rows]
        statistics = background.of_output(column, score, own, of_draws, run)
        for name in names:
            found[name][rows] = statistics[name]
    if "kind" in table:
        other = (table["kind"] != SUBSTITUTION).to_numpy()
        for name in OF_SUBSTITUTIONS:
            found[name][other] = np.nan
    kind = np.float32 if "sequence" in table else np.float64
    return {name: x.astype(kind) for name, x in found.items()}
