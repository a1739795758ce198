"""MM-estimation of a linear regression (Yohai, Ann Stat 1987), as ``robustbase::lmrob`` does it.

First an S-estimate: the coefficients whose residuals have the least robust scale; a minority of rows
that do not fit, even far away, has no influence. Then, with this scale, the M-estimate with Tukey's
bisquare that starts there, for 95 % efficiency. Standard errors are those of Croux, Dhaene and
Hoorelbeke (2003), which do not assume symmetric or equally spread residuals.
"""

from __future__ import annotations

from itertools import combinations
from math import comb
from typing import NamedTuple

import numpy as np

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.errors import InputError

C_SCALE = 1.547640  # with it half of the rows may be anything
C_SLOPE = 4.685061  # with it 95 % of the efficiency of least squares under normal residuals
BREAKDOWN = 0.5
_SUBSETS = 2000
_KEPT = 8
_FIRST_STEPS = 30
_REFINED = 2
_MOST_STEPS = 2000
_EXACT_RTOL = 1e-12
_REPLICATE_RTOL = 1e-9


class MMFit(NamedTuple):
    """Coefficients, shape=(p,), their covariance, shape=(p, p), and the robust scale."""

    coefficients: FloatArray
    covariance: FloatArray
    scale: float


def mm_fit(x: FloatArray, y: FloatArray, seed: int = 0) -> MMFit:
    """Robust regression of y on the columns of x.

    Parameters
    ----------
    x : array, shape=(n, p)
    y : array, shape=(n,)
    seed : int
        Of the subsets of p rows to start from, where there are more than 2000 of them; else all are
        tried.

    Raises
    ------
    InputError
        Fewer than 2 p rows, or more than half of them lie on one line exactly.
    """
    n, p = x.shape
    if n < 2 * p + 1:
        raise InputError(f"MM-estimation requires at least {2 * p + 1} instruments; got {n}.")
    start = _s_estimate(x, y, seed)
    scale = robust_scale(y - x @ start, p)
    if scale <= _EXACT_RTOL * np.median(np.abs(y)):
        raise InputError(
            "MM-estimation requires a scale above 0; more than half of the instruments lie on one line "
            "exactly."
        )
    slope = start
    for _ in range(_MOST_STEPS):
        new = _least_squares(x, y, _weight((y - x @ slope) / (scale * C_SLOPE)))
        done = np.abs(new - slope).max() <= 1e-13 * np.abs(new).max()
        slope = new
        if done:
            break
    return MMFit(slope, _covariance(x, y - x @ start, y - x @ slope, scale), scale)


def mm_slopes(x: FloatArray, y: FloatArray, start: FloatArray) -> FloatArray:
    """MM-estimate of a line through the origin for many replicates, shape=(..., n) to shape=(...).

    The S-estimate is looked for from `start` only, shape=(...), such as the weighted median of y / x;
    `mm_fit` starts at every row.
    """
    x, y = np.broadcast_arrays(x, y)
    shape, n = x.shape[:-1], x.shape[-1]
    x, y, slope = x.reshape(-1, n), y.reshape(-1, n), np.broadcast_to(start, shape).reshape(-1).copy()
    scale = np.median(np.abs(y - slope[:, None] * x), axis=-1) / 0.6745
    target = BREAKDOWN * (n - 1)
    for tuning, scale_moves in ((C_SCALE, True), (C_SLOPE, False)):
        active = np.arange(len(slope))
        for _ in range(_MOST_STEPS):
            if not len(active):
                break
            rows, values = x[active], y[active]
            divisor = np.maximum(scale[active], 1e-300)[:, None] * tuning
            u = np.minimum(np.abs(values - slope[active, None] * rows) / divisor, 1) ** 2
            if scale_moves:
                scale[active] *= np.sqrt((1 - (1 - u) ** 3).sum(axis=-1) / target)
            weighted = (1 - u) ** 2 * rows
            bottom = (weighted * rows).sum(axis=-1)
            some = bottom > 0
            new = np.where(
                some, (weighted * values).sum(axis=-1) / np.where(some, bottom, 1.0), slope[active]
            )
            moved = np.abs(new - slope[active]) > _REPLICATE_RTOL * np.abs(new)
            slope[active] = new
            active = active[moved]
    slopes: FloatArray = slope.reshape(shape)
    return slopes


def robust_scale(residual: FloatArray, n_coefficients: int) -> float:
    """Scale at which the residuals' bounded loss sums to half of the degrees of freedom."""
    scale = float(np.median(np.abs(residual))) / 0.6745
    target = BREAKDOWN * (len(residual) - n_coefficients)
    for _ in range(_MOST_STEPS):
        if scale <= 0:
            return 0.0
        new = scale * float(np.sqrt(_rho(residual / (scale * C_SCALE)).sum() / target))
        if abs(new - scale) <= 1e-14 * scale:
            return new
        scale = new
    return scale


def _s_estimate(x: FloatArray, y: FloatArray, seed: int) -> FloatArray:
    """Refine all candidates a little, and the best of them until they stay."""
    tried = [_refine(x, y, candidate, _FIRST_STEPS) for candidate in _candidates(x, y, seed)]
    tried.sort(key=lambda found: (found[1], tuple(found[0].tolist())))
    best = [_refine(x, y, slope, _MOST_STEPS) for slope, _ in tried[:_REFINED]]
    return min(best, key=lambda found: found[1])[0]


def _refine(x: FloatArray, y: FloatArray, slope: FloatArray, steps: int) -> tuple[FloatArray, float]:
    """Coefficients and scale in turn, each a step; returns the coefficients and their scale."""
    scale = float(np.median(np.abs(y - x @ slope))) / 0.6745
    target = BREAKDOWN * (len(y) - x.shape[1])
    for _ in range(steps):
        u = (y - x @ slope) / (max(scale, 1e-300) * C_SCALE)
        scale *= float(np.sqrt(_rho(u).sum() / target))
        if scale <= 0:
            return slope, 0.0
        new = _least_squares(x, y, _weight(u))
        done = np.abs(new - slope).max() <= 1e-14 * np.abs(new).max()
        slope = new
        if done:
            break
    return slope, robust_scale(y - x @ slope, x.shape[1])


def _candidates(x: FloatArray, y: FloatArray, seed: int) -> FloatArray:
    """Of the lines through p rows, those with the least scale, shape=(k, p)."""
    n, p = x.shape
    if comb(n, p) <= _SUBSETS:
        rows = np.array(list(combinations(range(n), p)))
    else:
        rows = np.argsort(np.random.default_rng(seed).random((_SUBSETS, n)), axis=1)[:, :p]
    matrix, value = x[rows], y[rows]
    solvable = np.linalg.cond(matrix) < 1e10
    lines = np.linalg.solve(matrix[solvable], value[solvable][..., None])[..., 0]
    residual = y - lines @ x.T
    scale: FloatArray = np.median(np.abs(residual), axis=1) / 0.6745
    for _ in range(20):
        mean = _rho(residual / (np.maximum(scale, 1e-300)[:, None] * C_SCALE)).sum(axis=1)
        scale = np.asarray(scale * np.sqrt(mean / (BREAKDOWN * (n - p))), np.float64)
    return lines[np.argsort(scale, kind="stable")[:_KEPT]]


def _rho(u: FloatArray) -> FloatArray:
    """Bisquare loss, 1 from u = 1 on."""
    loss: FloatArray = 1 - (1 - np.minimum(np.abs(u), 1) ** 2) ** 3
    return loss


def _weight(u: FloatArray) -> FloatArray:
    weight: FloatArray = (1 - np.minimum(np.abs(u), 1) ** 2) ** 2
    return weight


def _least_squares(x: FloatArray, y: FloatArray, weight: FloatArray) -> FloatArray:
    root = np.sqrt(weight)
    found = np.linalg.lstsq(x * root[:, None], y * root, rcond=None)[0]
    return np.asarray(found, np.float64)


def _covariance(x: FloatArray, first: FloatArray, last: FloatArray, scale: float) -> FloatArray:
    """Of the coefficients, from the residuals of the S-estimate and of the M-estimate."""
    n = len(x)
    u0, u = first / (scale * C_SCALE), last / (scale * C_SLOPE)
    t0, t = first / scale, last / scale
    chi = _rho(u0)
    chi_prime = 6 / C_SCALE * u0 * _weight(u0)
    psi = t * _weight(u)
    psi_prime = np.where(np.abs(u) < 1, (1 - u**2) * (1 - 5 * u**2), 0.0)
    inverse = scale * np.linalg.inv(x.T @ (x * psi_prime[:, None]))
    a = inverse @ (x.T @ (psi_prime * t)) / (chi_prime * t0).mean()
    cross = inverse @ (x.T @ (psi * chi))
    covariance: FloatArray = (
        n * inverse @ (x.T @ (x * psi[:, None] ** 2)) @ inverse
        - np.outer(a, cross) - np.outer(cross, a) + (chi**2 - BREAKDOWN**2).mean() * np.outer(a, a)
    ) / n  # fmt: skip
    return covariance
