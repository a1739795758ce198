"""From standardised errors to the share of measurements below them, and back.

This is the recalibration of Kuleshov, Fenner and Ermon (ICML 2018): it maps each predicted probability
to the share of measurements that really lie below. The map is kept on the scale of standardised errors z
= (measured - mean) / spread, because with a spread that is far too small, different probabilities round
to 1 (already at z = 9), while z stays different. The share below always rises with z, so no isotonic
regression is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri

from kipoi_mcdropout.arrays.array_types import FloatArray


@dataclass(frozen=True, eq=False)
class QuantileMap:
    """Quantiles of standardised errors; linear between them.

    Beyond the outermost errors seen, the tail is that of the normal distribution that has the median
    and the outermost error in common with the data: the ends of an interval stay finite.

    Attributes
    ----------
    z : array, shape=(k,)
        Distinct errors, rising.
    share : array, shape=(k,)
        Share of the errors below each, half of those equal to it included; between 0 and 1.
    """

    z: FloatArray
    share: FloatArray

    @classmethod
    def of(cls, errors: ArrayLike) -> QuantileMap:
        """The map of some standardised errors, shape=(n,), n >= 1."""
        values, counts = np.unique(np.asarray(errors, np.float64), return_counts=True)
        return cls(values, (np.cumsum(counts) - counts / 2) / counts.sum())

    def share_below(self, z: ArrayLike) -> FloatArray:
        """Share of measurements below a standardised error."""
        z = np.asarray(z, np.float64)
        inside: FloatArray = np.interp(z, self.z, self.share)
        for outside, end in ((z < self.z[0], 0), (z > self.z[-1], -1)):
            scale = self._tail_scale(end)
            beyond = np.copysign(np.inf, z - self.z[end])
            if scale > 0:
                beyond = (z - self.z[end]) / scale
            inside = np.where(outside, ndtr(ndtri(self.share[end]) + beyond), inside)
        return inside

    def z_at(self, share: ArrayLike) -> FloatArray:
        """Standardised error below which a share of the measurements lies; 0 < share < 1."""
        share = np.asarray(share, np.float64)
        inside: FloatArray = np.interp(share, self.share, self.z)
        for outside, end in ((share < self.share[0], 0), (share > self.share[-1], -1)):
            steps = ndtri(share) - ndtri(self.share[end])
            inside = np.where(outside, self.z[end] + self._tail_scale(end) * steps, inside)
        return inside

    def _tail_scale(self, end: int) -> float:
        """Sd of the normal distribution through the median and the outermost error of an end."""
        if len(self.z) == 1:
            return 0.0
        median = np.interp(0.5, self.share, self.z)
        return float((self.z[end] - median) / ndtri(self.share[end]))
