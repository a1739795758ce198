"""Point estimates of many replicates at once, for the bootstraps.

Each function takes arrays of shape=(..., n), replicates first, and returns shape=(...). What they
return equals what the method of the same name does, one replicate at a time.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.mr.estimators.conmix import conmix_slope
from kipoi_mcdropout.mr.estimators.lasso import lasso_slope
from kipoi_mcdropout.mr.estimators.maxlik import maxlik_slope
from kipoi_mcdropout.mr.estimators.mm_regression import mm_slopes
from kipoi_mcdropout.mr.estimators.radial import egger_radial_slope, ivw_radial_slope
from kipoi_mcdropout.mr.estimators.raps import raps_slope

GRID_POINTS = 512  # of R's density(), in which both R packages look for the mode
GRID_MARGIN = 3.0  # bandwidths that the grid reaches beyond the ratios
MAD_TO_SD = 1.4826  # as R rounds 1 / qnorm(3/4)
MIN_BANDWIDTH = 1e-8


def egger_slope(bx: FloatArray, by: FloatArray, weight: FloatArray) -> FloatArray:
    """Slope of by on bx with an intercept, each replicate oriented to positive bx."""
    sign = np.where(bx < 0, -1.0, 1.0)
    x, y = bx * sign, by * sign
    total = weight.sum(axis=-1, keepdims=True)
    x = x - (weight * x).sum(axis=-1, keepdims=True) / total
    y = y - (weight * y).sum(axis=-1, keepdims=True) / total
    slopes: FloatArray = (weight * x * y).sum(axis=-1) / (weight * x * x).sum(axis=-1)
    return slopes


def ivw_slope(bx: FloatArray, by: FloatArray, weight: FloatArray) -> FloatArray:
    """Slope of by on bx through the origin."""
    slopes: FloatArray = (weight * bx * by).sum(axis=-1) / (weight * bx * bx).sum(axis=-1)
    return slopes


def weighted_median(values: FloatArray, weight: FloatArray) -> FloatArray:
    """Median of weighted values, interpolated between them (Bowden et al., Genet Epidemiol 2016).

    Each value stands at the middle of its share of the total weight; the median is read off at one
    half.
    """
    values, weight = np.broadcast_arrays(values, weight)
    order = np.argsort(values, axis=-1, kind="stable")
    values, weight = (np.take_along_axis(a, order, axis=-1) for a in (values, weight))
    middle = (np.cumsum(weight, axis=-1) - weight / 2) / weight.sum(axis=-1, keepdims=True)
    after = np.clip((middle < 0.5).sum(axis=-1), 1, values.shape[-1] - 1)[..., None]
    low, high = (np.take_along_axis(values, after - k, axis=-1)[..., 0] for k in (1, 0))
    at_low, at_high = (np.take_along_axis(middle, after - k, axis=-1)[..., 0] for k in (1, 0))
    median: FloatArray = low + (high - low) * (0.5 - at_low) / (at_high - at_low)
    return median


def mode(values: FloatArray, weight: FloatArray, bandwidth_factor: float = 1.0) -> FloatArray:
    """Peak of the values' weighted kernel density (Hartwig, Davey Smith and Bowden, IJE 2017).

    Normal kernel with bandwidth ``factor * 0.9 min(sd, mad) n**-0.2``; the peak is that of a grid
    of 512 points from 3 bandwidths below the least value to 3 above the greatest. As in R's
    density(), values are spread over the two nearest points of a somewhat wider grid, which is
    convolved with the kernel by Fourier transform.
    """
    values, weight = np.broadcast_arrays(values, weight)
    n = values.shape[-1]
    flat, weights = values.reshape(-1, n), weight.reshape(-1, n)
    spread = np.minimum(flat.std(axis=-1, ddof=1), mad(flat))
    bandwidth = np.maximum(MIN_BANDWIDTH, bandwidth_factor * 0.9 * spread * n**-0.2)
    low, high = flat.min(axis=-1), flat.max(axis=-1)
    wide = (GRID_MARGIN + 4) * bandwidth
    start, step = low - wide, (high - low + 2 * wide) / (GRID_POINTS - 1)
    density = _convolved(_binned(flat, weights, start, step), bandwidth / step)
    grid = np.linspace(low - GRID_MARGIN * bandwidth, high + GRID_MARGIN * bandwidth, GRID_POINTS)
    place = (grid.T - start[:, None]) / step[:, None]
    before = np.minimum(place.astype(int), GRID_POINTS - 2)
    after = np.take_along_axis(density, before + 1, axis=-1)
    height = np.take_along_axis(density, before, axis=-1)
    height = height + (after - height) * (place - before)
    peak = np.take_along_axis(grid.T, height.argmax(axis=-1)[:, None], axis=-1)
    return peak.reshape(values.shape[:-1])


def _binned(values: FloatArray, weight: FloatArray, start: FloatArray, step: FloatArray) -> FloatArray:
    """Weights spread over the two nearest grid points, shape=(rows, 2 * GRID_POINTS), padded."""
    steps = (values - start[:, None]) / step[:, None]
    before = np.minimum(steps.astype(int), GRID_POINTS - 2)
    share = steps - before
    size = 2 * GRID_POINTS
    index = before + size * np.arange(len(values))[:, None]
    counts = np.zeros(size * len(values))
    for place, part in ((index, weight * (1 - share)), (index + 1, weight * share)):
        counts += np.bincount(place.ravel(), part.ravel(), len(counts))
    return counts.reshape(-1, size)


def _convolved(counts: FloatArray, bandwidth: FloatArray) -> FloatArray:
    """Counts, a row per replicate, smoothed with a normal kernel of `bandwidth` grid steps."""
    size = counts.shape[-1]
    distance = np.minimum(np.arange(size), size - np.arange(size))
    kernel = np.exp(-0.5 * (distance / bandwidth[:, None]) ** 2)
    smooth = np.fft.irfft(np.fft.rfft(counts) * np.fft.rfft(kernel), size)
    return smooth[:, :GRID_POINTS]


def mad(values: FloatArray, axis: int = -1) -> FloatArray:
    """Median absolute deviation, scaled to the sd of a normal."""
    center = np.median(values, axis=axis, keepdims=True)
    return MAD_TO_SD * np.median(np.abs(values - center), axis=axis)


PointEstimator = Callable[[FloatArray, FloatArray, FloatArray, FloatArray], FloatArray]


def _precision(sx: FloatArray, bx: FloatArray, by: FloatArray, sy: FloatArray) -> FloatArray:
    return 1 / ((sy / bx) ** 2 + (by * sx / bx**2) ** 2)


POINT_ESTIMATORS: dict[str, PointEstimator] = {
    "egger": lambda bx, by, _sx, sy: egger_slope(bx, by, sy**-2.0),
    "ivw": lambda bx, by, _sx, sy: ivw_slope(bx, by, sy**-2.0),
    "ivw_robust": lambda bx, by, _sx, sy: mm_slopes(
        bx / sy, by / sy, weighted_median(by / bx, (bx / sy) ** 2)
    ),
    "raps": raps_slope,
    "conmix": lambda bx, by, _sx, sy: conmix_slope(by / bx, np.abs(sy / bx)),
    "lasso": lambda bx, by, _sx, sy: lasso_slope(bx, by, sy),
    "maxlik": maxlik_slope,
    "ivw_radial": ivw_radial_slope,
    "egger_radial": egger_radial_slope,
    "simple_median": lambda bx, by, _sx, _sy: weighted_median(by / bx, np.ones_like(bx)),
    "weighted_median": lambda bx, by, sx, sy: weighted_median(by / bx, _precision(sx, bx, by, sy)),
    "simple_mode": lambda bx, by, _sx, _sy: mode(by / bx, np.ones_like(bx)),
    "weighted_mode": lambda bx, by, sx, sy: mode(by / bx, _precision(sx, bx, by, sy)),
}
