"""Variance of draws that are nested in members: how much lies within a member, and how much between.

A draw is a member (a trained network) and its masks, with as many draws of each member. The estimators
are those of the balanced one-way layout with random groups (Searle, Casella and McCulloch, "Variance
Components", 1992, chapter 3): with R draws of each of M members,

    MSW = mean of the variances within the members          (ddof=1)
    MSB = R times the variance of the means of the members  (ddof=1)
    within = MSW,  between = (MSB - MSW) / R,  total = within + between

All three are unbiased, and covariances follow the same formulas, so that
var(effect) = var(ref) + var(alt) - 2 cov(ref, alt) holds for the total. `between` can come out negative
where the members differ by less than their draws explain; it is then given as 0, while the total stays
as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class NestedVariance:
    """Parts of a variance (or of a covariance: then `between` is not cut at 0), each shape=(...)."""

    total: Array
    within: Array
    between: Array
    of_mean: Array  # variance of the mean over all draws, members being a sample too

    @classmethod
    def of(cls, means: Array, variances: Array, n_draws: int) -> NestedVariance:
        """From the mean and the variance of each member.

        Parameters
        ----------
        means, variances : numpy.ndarray of float64, shape=(members, ...)
            Over the draws of a member, ddof=1: NaN for a single draw, 0 where nothing in the member is
            random.
        n_draws : int
            Of each member.

        Returns
        -------
        NestedVariance
            `within` and `between` are NaN where they cannot be told apart: one draw of each member.
        """
        of_means = np.var(means, axis=0, ddof=1)
        between, total, within = _parts(of_means, variances, n_draws)
        return cls(total, within, np.maximum(between, 0.0), of_means / len(means))


def nested_covariance(ref_means: Array, alt_means: Array, covariances: Array, n_draws: int) -> Array:
    """The total covariance of reference and mutant, shape=(...); see `NestedVariance.of`."""
    centred = (ref_means - ref_means.mean(axis=0)) * (alt_means - alt_means.mean(axis=0))
    of_means = centred.sum(axis=0) / (len(ref_means) - 1)
    return _parts(of_means, covariances, n_draws)[1]


def _parts(of_means: Array, variances: Array, n_draws: int) -> tuple[Array, Array, Array]:
    """`between` (it may be negative), `total` and `within`."""
    within = variances.mean(axis=0)
    if n_draws == 1:
        unknown = np.isnan(within) & ~np.isnan(of_means)
        between = np.where(unknown, np.nan, of_means - within)
        return between, np.where(unknown, of_means, between + within), within
    between = of_means - within / n_draws
    return between, between + within, within
