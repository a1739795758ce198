"""MR-Lasso (Rees, Wood, Dudbridge and Burgess, PLoS One 2019).

Each mutant may have a direct effect on the outcome, and the sum of their sizes is penalised: with a
small penalty nearly every mutant has one, with a large penalty none has. The mutants that have none at
the chosen penalty are taken as valid, and the estimate is IVW of these. The penalty is raised until the
valid mutants become more heterogeneous than their standard errors explain.

With the direct effects put in, the penalised regression has one unknown: a line through the origin by
Huber's loss, with a bound that grows with the penalty. So it is solved exactly, for many replicates at
once, where the R package MendelianRandomization calls glmnet. The path of penalties and where it ends
are those of glmnet 4.1 (100 penalties, equally spaced in their logarithm down to 1e-4 of the first).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr.estimators.convention import Convention, check_convention
from kipoi_mcdropout.mr.estimators.egger import Distribution
from kipoi_mcdropout.mr.estimators.estimate import Estimate, make_estimate
from kipoi_mcdropout.mr.estimators.ratio import with_exposure_effect
from kipoi_mcdropout.mr.estimators.regression import fit_effects
from kipoi_mcdropout.mr.pairs.instruments import Instruments

# Of glmnet: penalties, the smallest relative to the largest, and where the path ends.
PENALTIES = 100
SMALLEST = 1e-4
LEAST_PENALTIES = 5
LEAST_GAIN = 1e-5  # of explained variance, relative
MOST_EXPLAINED = 0.999
MORE_HETEROGENEOUS = float(stats.chi2.isf(0.05, 1))  # divided by the number of valid mutants
_STEPS = 200


def mr_lasso(
    instruments: Instruments,
    *,
    convention: Convention = "twosamplemr",
    distribution: Distribution = "normal",
) -> Estimate:
    """IVW of the mutants to which the lasso gives no direct effect; `valid` has their names.

    Parameters
    ----------
    instruments : Instruments
        `se_type` matters: with the sd over draws the mutants are never more heterogeneous than their
        standard errors say, so all are valid and the estimate is that of IVW. Use "mcse".
    convention : str
        Recorded only.
    distribution : "normal" or "t"
        t has one degree of freedom less than there are valid mutants.

    Raises
    ------
    InputError
        Fewer than 3 instruments, or one with an exposure effect of 0.
    """
    check_convention(convention)
    if distribution not in ("normal", "t"):
        raise InputError(f"distribution must be 'normal' or 't'; got {distribution!r}.")
    used = with_exposure_effect(instruments, 3, "MR-Lasso")
    effects = (used.beta_exposure, used.beta_outcome, used.se_outcome)
    valid = np.flatnonzero(_valid(*(a[None] for a in effects))[0])
    fit = fit_effects(used.take(valid), intercept=False)
    estimate = make_estimate(
        "lasso", used, convention, float(fit.coefficients[0]), float(fit.se[0]),
        fit.df if distribution == "t" else None, **fit.q_statistics(),
    )  # fmt: skip
    return replace(estimate, valid=tuple(used.snp[valid].tolist()))


def lasso_slope(bx: FloatArray, by: FloatArray, sy: FloatArray) -> FloatArray:
    """The estimate of many replicates, shape=(..., n) to shape=(...)."""
    bx, by, sy = np.broadcast_arrays(bx, by, sy)
    shape, n = bx.shape[:-1], bx.shape[-1]
    bx, by, sy = (a.reshape(-1, n) for a in (bx, by, sy))
    weight = _valid(bx, by, sy) / sy**2
    slopes = (weight * bx * by).sum(axis=-1) / (weight * bx * bx).sum(axis=-1)
    return np.asarray(slopes, np.float64).reshape(shape)


def _valid(bx: FloatArray, by: FloatArray, sy: FloatArray) -> NDArray[np.bool_]:
    """Mutants without a direct effect at the chosen penalty, shape=(replicates, n)."""
    x, y = np.abs(bx) / sy, by * np.where(bx < 0, -1.0, 1.0) / sy
    n = x.shape[-1]
    xx = (x * x).sum(axis=-1, keepdims=True)
    slope = (x * y).sum(axis=-1) / xx[:, 0]
    bound = _bounds(x, xx)
    off = y - slope[:, None] * x
    total = (off**2).sum(axis=-1)
    first = (np.abs(off) / bound).max(axis=-1)
    chosen = np.ones(x.shape, bool)
    before = _residual_se(x, y, chosen), np.full(len(x), n)
    explained = np.zeros(len(x))
    active = np.arange(len(x))
    for k in range(1, PENALTIES):
        penalty = first[active] * SMALLEST ** (k / (PENALTIES - 1))
        reach = penalty[:, None] * bound[active]
        slope[active] = _huber_slope(x[active], y[active], reach, slope[active])
        off = y[active] - slope[active, None] * x[active]
        valid = np.abs(off) <= reach
        now = _residual_se(x[active], y[active], valid), valid.sum(axis=-1)
        # From here to the next larger penalty the valid mutants become too heterogeneous.
        jump = (before[0] > 1) & (before[0] - now[0] > MORE_HETEROGENEOUS / before[1])
        chosen[active[jump]] = valid[jump]
        share = 1 - (np.clip(off, -reach, reach) ** 2).sum(axis=-1) / total[active]
        ends = (share - explained < LEAST_GAIN * share) | (share > MOST_EXPLAINED)
        stays = ~(ends & (k + 1 >= LEAST_PENALTIES))
        explained, before = share[stays], (now[0][stays], now[1][stays])
        active = active[stays]
        if not len(active):
            break
    return chosen


def _bounds(x: FloatArray, xx: FloatArray) -> FloatArray:
    """Bound of each mutant's residual for a penalty of 1.

    n times the standard deviation of the mutant's column in the regression of glmnet, which scales its
    columns; the regression has the slope projected out.
    """
    n = x.shape[-1]
    square = 1 - x * x / xx
    mean = (1 - x * x.sum(axis=-1, keepdims=True) / xx) / n
    bounds: FloatArray = n * np.sqrt(np.maximum(square / n - mean**2, 0))
    return bounds


def _huber_slope(x: FloatArray, y: FloatArray, reach: FloatArray, start: FloatArray) -> FloatArray:
    """Where ``sum(x clip(y - slope x, -reach, reach))`` is 0: Newton's steps between two bounds."""
    slope, active = start.copy(), np.arange(len(start))
    ratio = y / x
    low, high = ratio.min(axis=-1), ratio.max(axis=-1)
    for _ in range(_STEPS):
        rows, now = x[active], slope[active]
        off = y[active] - now[:, None] * rows
        inside = np.abs(off) < reach[active]
        score = (rows * np.clip(off, -reach[active], reach[active])).sum(axis=-1)
        steep = (inside * rows * rows).sum(axis=-1)
        low[active] = np.where(score >= 0, now, low[active])
        high[active] = np.where(score <= 0, now, high[active])
        new = now + np.divide(score, steep, out=np.full_like(score, np.inf), where=steep > 0)
        lost = ~((new >= low[active]) & (new <= high[active]))
        new = np.where(lost, (low[active] + high[active]) / 2, new)
        slope[active] = new
        active = active[np.abs(new - now) > 1e-13 * np.abs(new)]
        if not len(active):
            break
    return np.asarray(slope, np.float64)


def _residual_se(x: FloatArray, y: FloatArray, valid: NDArray[np.bool_]) -> FloatArray:
    """Residual standard error of the valid mutants' line; NaN of fewer than 2."""
    n = valid.sum(axis=-1)
    xx, xy, yy = ((valid * a).sum(axis=-1) for a in (x * x, x * y, y * y))
    square = yy - np.divide(xy**2, xx, out=np.zeros_like(xx), where=xx > 0)
    out = np.full(len(x), np.nan)
    np.sqrt(np.divide(np.maximum(square, 0), n - 1, out=out, where=n > 1), out=out)
    return out
