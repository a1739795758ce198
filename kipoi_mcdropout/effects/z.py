"""z of an effect, its mean over its sd: the one place that says what it is where the sd is 0."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.effects.rounding import effect_rounding


def z_ratio(mean: ArrayLike, sd: ArrayLike, floor: FloatArray | float = 0.0) -> FloatArray:
    """Mean over sd, where both are more than rounding.

    Where the sd is at most `floor`, the effect is the same in every draw: then z is 0 if the effect is
    at most `floor` too, else infinite with its sign. NaN where either is not finite.

    Parameters
    ----------
    mean, sd : array
        Of one shape.
    floor : float or array of that shape
        What is only rounding; see `rounding.effect_rounding`.

    >>> z_ratio([3.0, 0.0, -1.0], [2.0, 0.0, 0.0]).tolist()
    [1.5, 0.0, -inf]
    """
    mean, sd = (np.asarray(values, np.float64) for values in (mean, sd))
    undefined = ~(np.isfinite(mean) & np.isfinite(sd))
    certain = np.where(np.abs(mean) <= floor, 0.0, np.copysign(np.inf, mean))
    z = np.divide(mean, sd, out=certain, where=sd > floor)
    return np.where(undefined, np.nan, z)


def z_values(table: pd.DataFrame) -> FloatArray:
    """`z_ratio` of effect_mean and effect_sd, shape=(rows,), for a table of one output and score."""
    return z_ratio(table["effect_mean"], table["effect_sd"], effect_rounding(table))


def z_of_piece(table: pd.DataFrame) -> FloatArray:
    """`z_ratio` of a part of a result, shape=(rows,), the same however the result is cut into parts.

    Rounding is known only where the row has the outputs of reference and mutant; elsewhere it is taken
    for 0, as the largest effect of the whole result is not known.
    """
    return z_ratio(table["effect_mean"], table["effect_sd"], effect_rounding(table, is_piece=True))
