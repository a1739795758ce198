"""Decides whether a difference between two outputs is only rounding.

A network computes in float32 (or another floating-point type), and each of its sums is rounded. The same
sum in another order gives another last digit, so two inputs that mean the same to the model can get
outputs that differ by a few units in the last place (ulp). Such a difference is not an effect: its sign
and its sd over the draws have no meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.effects.columns import OUTPUT_EPS

ULPS = 8  # units in the last place that the sums of a network may be off by
FLOAT32_EPS = float(np.finfo(np.float32).eps)
# Of the largest effect, where the outputs themselves are not known: effects and outputs are of one size.
SHARE_OF_LARGEST = ULPS * FLOAT32_EPS
_SMALLEST = 1e-37  # of float32 too
DIFFERENCES = {"diff": False, "logit": True}  # scores, and whether they are of logits
OUTPUT_COLUMNS = ("ref_mean", "alt_mean", "ref_var", "alt_var")


def output_rounding(outputs: Any, eps: Any, xp: Any = np) -> Any:
    """The largest difference from each output that is only rounding.

    ``ULPS * eps * |y| * max(1, -log|y|)``. The logarithm is for outputs near 0 that come from exp,
    sigmoid or softplus: the rounding of what goes in, log|y|, is multiplied by y.

    Parameters
    ----------
    outputs : array of float64
    eps : float, or array of the same shape
        Of the floating-point type in which the model computed them, e.g. 1.2e-7 for float32.
    xp : module
        numpy, or torch for tensors.

    >>> float(output_rounding(np.array(0.5), 2.0**-23)) / 2.0**-23
    4.0
    """
    size = xp.abs(outputs)
    logarithm = -xp.log(xp.clip(size, _SMALLEST, 1.0))
    return ULPS * eps * size * xp.clip(logarithm, 1.0, None)


def logit_rounding(logits: ArrayLike, eps: ArrayLike = FLOAT32_EPS) -> FloatArray:
    """`output_rounding` of probabilities given as logits, log(p / (1 - p)), on the scale of logits.

    A change dp of a probability changes its logit by dp / (p (1 - p)). Near p = 1 this is large: in
    float32 two neighbouring numbers near 0.999 have logits that differ by 6e-5.
    """
    logits = np.asarray(logits, np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        minus_log_p = np.logaddexp(0.0, -logits)
        scale = ULPS * np.asarray(eps, np.float64)
        error: FloatArray = scale * np.maximum(minus_log_p, 1.0) * (1.0 + np.exp(logits))
        return error


def difference_rounding(
    statistics: Mapping[str, ArrayLike], logit_scale: bool, eps: ArrayLike = FLOAT32_EPS
) -> FloatArray:
    """The largest difference of mutant and reference, or sd of it, that is only rounding.

    Parameters
    ----------
    statistics : mapping of str to array
        `ref_mean`, `alt_mean`, `ref_var`, `alt_var`, all of one shape; of logits if `logit_scale`.
    logit_scale : bool
    eps : float or array of the same shape
        Relative precision of the model's arithmetic. Statistics are kept as float32, so a smaller one
        counts as that of float32.

    Returns
    -------
    numpy.ndarray of float64
        Of the same shape; NaN where an output is.
    """
    floors, eps = [], np.maximum(np.asarray(eps, np.float64), FLOAT32_EPS)
    for side in ("ref", "alt"):
        mean = np.asarray(statistics[f"{side}_mean"], np.float64)
        if logit_scale:
            floors.append(logit_rounding(mean, eps))
        else:  # a mean over draws may be 0 where no draw is
            size = np.sqrt(mean**2 + np.asarray(statistics[f"{side}_var"], np.float64))
            floors.append(output_rounding(size, eps))
    return np.maximum(*floors)


def effect_rounding(table: pd.DataFrame, *, is_piece: bool = False) -> FloatArray:
    """The largest |effect_mean| or effect_sd of each row that is only rounding, shape=(rows,).

    For the scores "diff" and "logit", which are differences, it follows from the outputs of reference
    and mutant: `difference_rounding`. For other scores, and where the table or the row has no outputs,
    it is `ULPS * eps` of the largest effect or sd of the score in the table.

    Parameters
    ----------
    table : DataFrame
        Effects of one output: `effect_mean`, `effect_sd`, and maybe `score`, the outputs, and
        `output_eps` where the model computed less precisely than float32.
    is_piece : bool
        The table is a part of a result. The largest effect of a part depends on how the result is cut,
        so 0 stands in its place.
    """
    score = table["score"].astype(str) if "score" in table else pd.Series("diff", table.index)
    floor, eps = np.full(len(table), np.nan), _eps(table)
    for name in score.unique():
        rows = np.flatnonzero(score == name)
        part = table.iloc[rows]
        effects = part[["effect_mean", "effect_sd"]].to_numpy(np.float64)
        largest = np.max(np.abs(effects), initial=0, where=np.isfinite(effects) & (not is_piece))
        floor[rows] = ULPS * eps[rows] * largest
        if name in DIFFERENCES and set(OUTPUT_COLUMNS) <= set(table):
            outputs = {column: part[column].to_numpy(np.float64) for column in OUTPUT_COLUMNS}
            known = difference_rounding(outputs, DIFFERENCES[name], eps[rows])
            floor[rows] = np.where(np.isnan(known), floor[rows], known)
    return floor


def _eps(table: pd.DataFrame) -> FloatArray:
    if OUTPUT_EPS not in table:
        return np.full(len(table), FLOAT32_EPS)
    eps: FloatArray = np.fmax(table[OUTPUT_EPS].to_numpy(np.float64), FLOAT32_EPS)
    return eps
