"""Does an order put what is right first? Risk against coverage, and the area below.

Keep a share of the variants, the most certain first (the coverage); their mean error is the risk
(El-Yaniv and Wiener, JMLR 2010). An order that knows something has a low risk at low coverage. The area
under the curve is the mean of the risk over all numbers kept (AURC; Geifman, Uziel and El-Yaniv, ICLR
2019). A random order has an area equal to the mean error of all, on average.

Where several variants are equally certain, their order is a matter of chance. All values here are the
means over these orders: within a group of ties the errors grow evenly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.significance.agreement import Ties, ratio
from kipoi_mcdropout.significance.cluster_bootstrap import Statistic


class RiskCoverage:
    """Errors in the order of a certainty.

    Parameters
    ----------
    error : array, shape=(n,)
        0 or more; NaN where a variant is left out.
    certainty : array, shape=(n,)
        Largest first; infinite is allowed.

    Examples
    --------
    >>> curve = RiskCoverage(np.array([0.0, 1.0, 1.0]), np.array([3.0, 2.0, 2.0]))
    >>> once = np.ones((1, 3))
    >>> curve.risk([1 / 3, 2 / 3])(once).tolist(), round(float(curve.area()(once)[0]), 4)
    ([[0.0, 0.5]], 0.3889)
    """

    def __init__(self, error: ArrayLike, certainty: ArrayLike) -> None:
        error = np.asarray(error, np.float64)
        self._known = np.isfinite(error)
        self._error = error[self._known]
        self._ties = Ties(-np.asarray(certainty, np.float64)[self._known])
        self._last: tuple[FloatArray, tuple[FloatArray, FloatArray]] | None = None

    def risk(self, coverages: ArrayLike) -> Statistic:
        """The mean error of each share of the variants that is most certain, shape=(samples, shares).

        A share that ends inside a variant takes that part of it.
        """
        shares = np.asarray(coverages, np.float64)

        def statistic(counts: FloatArray) -> FloatArray:
            size, error = self._groups(counts)
            n_kept = size.sum(axis=1, keepdims=True) * shares
            ends, errors = _from_zero(size), _from_zero(error)
            kept = np.array([np.interp(*row) for row in zip(n_kept, ends, errors, strict=True)])
            return ratio(kept, n_kept)

        return statistic

    def area(self) -> Statistic:
        """The mean over k = 1 ... n of the risk of the k most certain.

        In a group of m variants with errors e together, after A variants with errors E, the risk of the
        first j is (E + j e/m) / (A + j). So the group adds (E - A e/m) (H(A + m) - H(A)) + e, where H(n)
        is 1 + 1/2 + ... + 1/n.
        """

        def statistic(counts: FloatArray) -> FloatArray:
            size, error = self._groups(counts)
            after, errors = np.cumsum(size, axis=1), np.cumsum(error, axis=1)
            before = after - size
            each = np.divide(error, size, out=np.zeros_like(error), where=size > 0)
            n = after[:, -1]
            harmonic = _from_zero(1 / np.arange(1.0, n.max() + 1)[None])[0]
            steps = harmonic[after.astype(np.int64)] - harmonic[before.astype(np.int64)]
            total = ((errors - error - before * each) * steps + error).sum(axis=1)
            return ratio(total, n)

        return statistic

    def _groups(self, counts: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Number of variants and sum of errors in each group of ties, most certain first.

        Those of the last samples are kept: risk and area are asked for one after the other.
        """
        if self._last is None or self._last[0] is not counts:
            known = counts[:, self._known]
            self._last = counts, (self._ties.sums(known), self._ties.sums(known * self._error))
        return self._last[1]


def _from_zero(values: FloatArray) -> FloatArray:
    """Running sums along the last axis, with 0 before the first."""
    return np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)
