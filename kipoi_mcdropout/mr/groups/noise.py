"""How far the mean effects of a mutant may lie from its line by the finite number of draws alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr.pairs.instruments import ZERO_VARIANCE_RTOL, Instruments
from kipoi_mcdropout.mr.pairs.spread import spread_of_draws


@dataclass(frozen=True)
class NoiseOfMeans:
    """Variances and covariance of the two mean effects of each mutant, shape=(n,) each."""

    xx: FloatArray
    yy: FloatArray
    xy: FloatArray

    def about_line(self, slope: FloatArray | float) -> FloatArray:
        """Variance of ``y - slope x``."""
        variance: FloatArray = self.yy - 2 * slope * self.xy + slope**2 * self.xx
        # Effects that share all their noise leave rounding, which is not a variance.
        return np.maximum(variance, ZERO_VARIANCE_RTOL**2 * (self.yy + slope**2 * self.xx))

    def scaled(self, share: FloatArray) -> NoiseOfMeans:
        """With all variances and covariances times `share`, shape=(n,)."""
        return NoiseOfMeans(self.xx * share, self.yy * share, self.xy * share)


def noise_of_means(used: Instruments) -> NoiseOfMeans:
    """From the draws where there are draws; else from the standard errors, taken as independent.

    The standard errors are those of the means (mcse) where the number of draws is known.
    """
    x, y = used.draws_exposure, used.draws_outcome
    if x is not None and y is not None:
        xx, yy, both = (spread_of_draws(d, used.n_members, True) ** 2 for d in (x, y, x + y))
        return NoiseOfMeans(xx, yy, (both - xx - yy) / 2)
    try:
        errors = used.with_se_type("mcse")
    except InputError:  # summary data: its standard errors are those of the effects
        errors = used
    return NoiseOfMeans(errors.se_exposure**2, errors.se_outcome**2, np.zeros(len(used)))
