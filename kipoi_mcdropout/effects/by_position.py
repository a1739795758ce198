"""From the substitutions of each position to what stands for it: the strongest, and their mean."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Positions(NamedTuple):
    """One entry for each mutated position, in the order of the positions.

    Attributes
    ----------
    strongest : numpy.ndarray of int64
        Row of the substitution with the largest |effect|; of equals the first.
    importance : numpy.ndarray of float64
        Minus the mean effect of the substitutions; NaN where one is not finite.
    counts : numpy.ndarray of int64
        How many substitutions there are.
    """

    strongest: NDArray[np.int64]
    importance: NDArray[np.float64]
    counts: NDArray[np.int64]


def by_position(position: ArrayLike, effect: ArrayLike) -> Positions:
    """What stands for each position, of rows of a position and an effect; at least one row.

    >>> by_position([7, 7, 3], [0.5, -1.0, 2.0]).importance
    array([-2.  ,  0.25])
    """
    position, value = np.asarray(position), np.asarray(effect, np.float64)
    order = np.lexsort((-np.abs(value), position))
    first = np.flatnonzero(np.r_[True, np.diff(position[order]) != 0])
    counts = np.diff(first, append=len(order))
    ordered = value[order]
    sums = np.add.reduceat(np.where(np.isfinite(ordered), ordered, np.nan), first)
    return Positions(order[first], 0.0 - sums / counts, counts)
