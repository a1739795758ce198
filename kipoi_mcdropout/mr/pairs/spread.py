"""The sd and the mcse of effects over draws, also where these are of several members."""

from __future__ import annotations

import numpy as np

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.arrays.nested_variance import NestedVariance


def spread_of_draws(draws: FloatArray, n_members: int, of_mean: bool) -> FloatArray:
    """The sd over draws, or the error of their mean (mcse), shape=(n,).

    Parameters
    ----------
    draws : array, shape=(n_draws, n)
        Draw t is of member t mod n_members.
    n_members : int
        With several, the parts within and between members are those of `NestedVariance`.
    of_mean : bool
        Whether the mcse is wanted.
    """
    if n_members == 1:
        sd: FloatArray = draws.std(axis=0, ddof=1)
        return sd * (len(draws) ** -0.5 if of_mean else 1.0)
    each = len(draws) // n_members
    of_members = draws.reshape(each, n_members, -1)
    spread = of_members.var(axis=0, ddof=1) if each > 1 else np.full(of_members.shape[1:], np.nan)
    parts = NestedVariance.of(of_members.mean(axis=0), spread, each)
    return np.sqrt(parts.of_mean if of_mean else parts.total)
