"""How well predicted and measured effects agree: correlations, signs, and precision at labels.

Each function gives a `Statistic`: a function of how often each variant is in a sample. What does not
depend on the sample, such as the order of the variants, is computed once. With all counts 1 the values
are those of scipy.stats.pearsonr and spearmanr and of scikit-learn's average_precision_score.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.significance.cluster_bootstrap import Statistic

_NO_VARIANCE = 1e-12  # of the whole sample's, below which the variance of a sample is only rounding


class Ties:
    """Variants in the order of a number, with those of equal number in one group.

    Parameters
    ----------
    values : array, shape=(n,)
        Smallest first.
    """

    def __init__(self, values: FloatArray) -> None:
        self.order = np.argsort(values, kind="stable")
        ordered = values[self.order]
        self.starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        self.group = np.empty(len(values), np.int64)
        self.group[self.order] = np.cumsum(np.r_[False, ordered[1:] != ordered[:-1]])

    def sums(self, values: FloatArray) -> FloatArray:
        """The sum of each group, shape=(samples, groups), of values of shape=(samples, n)."""
        sums: FloatArray = np.add.reduceat(values[:, self.order], self.starts, axis=1)
        return sums


def pearson(x: FloatArray, y: FloatArray) -> Statistic:
    """Pearson's correlation of x and y, both of shape=(n,)."""
    x, y = ((values - values.mean()) / (values.std() or 1.0) for values in (x, y))

    def statistic(counts: FloatArray) -> FloatArray:
        n = counts.sum(axis=1)
        mean_x, mean_y = counts @ x / n, counts @ y / n
        var_x, var_y = counts @ x**2 / n - mean_x**2, counts @ y**2 / n - mean_y**2
        return _correlation(counts @ (x * y) / n - mean_x * mean_y, var_x, var_y)

    return statistic


def spearman(x: FloatArray, y: FloatArray) -> Statistic:
    """Spearman's correlation: Pearson's of the ranks in each sample, where equal values share a rank."""
    ties_x, ties_y = Ties(x), Ties(y)

    def statistic(counts: FloatArray) -> FloatArray:
        n = counts.sum(axis=1, keepdims=True)
        a, b = ((_ranks(ties, counts) - (n + 1) / 2) / n for ties in (ties_x, ties_y))
        share = counts / n
        return _correlation(
            (share * a * b).sum(axis=1), (share * a**2).sum(axis=1), (share * b**2).sum(axis=1)
        )

    return statistic


def share_right(right: FloatArray) -> Statistic:
    """The mean of numbers from 0 to 1, shape=(n,); NaN where it is left out."""
    known = np.isfinite(right)
    values = np.where(known, right, 0.0)

    def statistic(counts: FloatArray) -> FloatArray:
        return ratio(counts @ values, counts @ known.astype(np.float64))

    return statistic


def average_precision(labels: NDArray[np.bool_], certainty: FloatArray) -> Statistic:
    """Area under the curve of precision against recall, as a sum of steps; equal numbers are one step.

    Parameters
    ----------
    labels : array of bool, shape=(n,)
        Which variants are to be found.
    certainty : array, shape=(n,)
        Largest first.
    """
    ties = Ties(-certainty)
    positive = labels.astype(np.float64)

    def statistic(counts: FloatArray) -> FloatArray:
        found = ties.sums(counts * positive)
        precision = ratio(np.cumsum(found, axis=1), np.cumsum(ties.sums(counts), axis=1))
        return ratio((found * np.nan_to_num(precision)).sum(axis=1), found.sum(axis=1))

    return statistic


def sign_right(predicted: FloatArray, measured: FloatArray, least: float = 0.0) -> FloatArray:
    """1 where the signs agree, 0 where not, shape=(n,).

    An effect that is predicted to be 0 counts half: it says nothing of the sign, as a thrown coin does.
    NaN where the measured effect is at most `least` in size: it has no sign.
    """
    right = (1.0 + np.sign(predicted) * np.sign(measured)) / 2.0
    return np.where(np.abs(measured) > least, right, np.nan)


def _ranks(ties: Ties, counts: FloatArray) -> FloatArray:
    """The rank, from 1, of each variant in each sample; equal values have the mean of their ranks."""
    size = ties.sums(counts)
    ranks: FloatArray = (np.cumsum(size, axis=1) - size + (size + 1) / 2)[:, ties.group]
    return ranks


def _correlation(covariance: FloatArray, var_x: FloatArray, var_y: FloatArray) -> FloatArray:
    known = (var_x > _NO_VARIANCE) & (var_y > _NO_VARIANCE)
    undefined = np.full(len(covariance), np.nan)
    with np.errstate(invalid="ignore"):
        product = np.sqrt(var_x * var_y)
    r = np.divide(covariance, product, out=undefined, where=known)
    clipped: FloatArray = np.clip(r, -1.0, 1.0)
    return clipped


def ratio(top: FloatArray, bottom: FloatArray) -> FloatArray:
    """Their quotient, NaN where the bottom is 0; of shapes that fit."""
    undefined = np.full(np.broadcast_shapes(top.shape, bottom.shape), np.nan)
    quotient: FloatArray = np.divide(top, bottom, out=undefined, where=bottom > 0)
    return quotient
