"""Where a value stands among sorted values: exact counts, with ties."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.arrays.array_types import FloatArray


class Ranks(NamedTuple):
    """How many of `n` background values lie below each of some values.

    Counts have the shape of the values; those of a value that is NaN mean nothing.
    """

    values: NDArray[np.float32]
    n: int
    below: NDArray[np.int64]  # smaller than the value
    not_above: NDArray[np.int64]  # smaller, or equal to it
    smaller: NDArray[np.int64]  # of smaller size, the sign left out
    not_larger: NDArray[np.int64]  # of smaller or equal size

    @classmethod
    def of(cls, background: NDArray[np.float32], values: NDArray[np.float32]) -> Ranks:
        """Count by binary search.

        Parameters
        ----------
        background : numpy.ndarray of float32, shape=(n,)
            Sorted, finite.
        values : numpy.ndarray of float32
            NaN may be among them.
        """
        size = np.abs(values)
        left, right = (np.searchsorted(background, size, side) for side in ("left", "right"))
        minus_left, minus_right = (
            np.searchsorted(background, -size, side) for side in ("left", "right")
        )
        negative = values < 0
        return cls(
            values, len(background),
            np.where(negative, minus_left, left),
            np.where(negative, minus_right, right),
            np.maximum(left - minus_right, 0),  # below 0 where the value is 0 and the background has 0
            right - minus_left,
        )  # fmt: skip

    def percentile(self) -> FloatArray:
        """Percentile of the size: percentage of the background of smaller size; a tie counts half."""
        return self._known(50.0 * (self.smaller + self.not_larger) / self.n)

    def percentile_signed(self) -> FloatArray:
        """Percentage of the background that lies below the value; a tie counts half."""
        return self._known(50.0 * (self.below + self.not_above) / self.n)

    def p_value(self) -> FloatArray:
        """P of the size: (1 + how many are at least as large) / (1 + n).

        Phipson and Smyth, "Permutation P-values should never be zero" (2010).
        """
        return self._known((1.0 + self.n - self.smaller) / (1.0 + self.n))

    def p_value_signed(self) -> FloatArray:
        """Twice the smaller of the p of both sides, at most 1; and 1 for a value of 0.

        A side's p is (1 + how many are at least as far to this side) / (1 + n). Right where the
        background has larger gains than losses, or the other way round.
        """
        upper = (1.0 + self.n - self.below) / (1.0 + self.n)
        lower = (1.0 + self.not_above) / (1.0 + self.n)
        p = np.minimum(1.0, 2.0 * np.minimum(upper, lower))
        return self._known(np.where(self.values == 0, 1.0, p))

    def _known(self, numbers: NDArray[np.floating[Any]]) -> FloatArray:
        return np.where(np.isnan(self.values), np.nan, numbers)
