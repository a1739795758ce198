"""Maximum likelihood (Thompson, Minelli, Abrams, Tobin and Riley, Stat Med 2005).

Each mutant has a true effect on the exposure, of which its measured effect is normal; its effect on the
outcome is normal about slope times this true effect. With the most likely true effects put in, twice the
negative log-likelihood is Cochran's Q with the variance of the distance from the line,
``sum((by - slope bx)**2 / (sy**2 - 2 psi slope sx sy + slope**2 sx**2))``: one unknown instead of n + 1.
So the maximum is found to all digits. The R packages look for all n + 1 unknowns with Nelder and Mead's
method, which for many instruments stops before the maximum.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import stats

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr.estimators.convention import Convention, check_convention
from kipoi_mcdropout.mr.estimators.egger import Distribution
from kipoi_mcdropout.mr.estimators.estimate import Estimate, make_estimate
from kipoi_mcdropout.mr.estimators.ivw import RANDOM_FROM
from kipoi_mcdropout.mr.pairs.instruments import Instruments

MaxLikModel = Literal["default", "fixed", "random"]
_STEPS = 200
_HALVINGS = 30
_RTOL = 1e-14


def mr_maxlik(
    instruments: Instruments,
    *,
    convention: Convention = "twosamplemr",
    model: MaxLikModel = "default",
    psi: float = 0.0,
    distribution: Distribution = "normal",
) -> Estimate:
    """Slope of the largest likelihood; noise of the exposure effects does not flatten it.

    Parameters
    ----------
    instruments : Instruments
        Standard errors must be those of the effects as estimates: for draws the mcse.
    convention : "twosamplemr" or "mendelianrandomization"
        Default model: "fixed" of the former; of the latter "random" from 4 instruments on.
    model : "default", "fixed" or "random"
        "random" multiplies the standard error by the root of Q / (n - 1), if that is above 1.
    psi : float
        Correlation of the errors of exposure and outcome within a mutant; see `error_correlation`.
    distribution : "normal" or "t"
        t has n - 1 degrees of freedom.

    Raises
    ------
    InputError
        Fewer than 2 instruments, or a likelihood without a maximum.
    """
    check_convention(convention)
    _check_options(model, psi, distribution)
    used = instruments.kept(2, "maximum likelihood")
    if not used.beta_exposure.any():
        raise InputError("maximum likelihood requires an exposure effect other than 0; all are 0.")
    data = (used.beta_exposure, used.beta_outcome, used.se_exposure, used.se_outcome)
    slope = maxlik_slope(*data, psi=psi)
    half_q, score, curvature = _likelihood(slope, *data, psi=psi)
    if not curvature > 0 or abs(score) > 1e-6 * np.sqrt(curvature) * (1 + np.sqrt(half_q)):
        raise InputError(
            "the likelihood has no maximum near the slope of IVW. The instruments are too weak: select "
            "stronger ones."
        )
    q, df = 2 * float(half_q), len(used) - 1
    se = float(curvature) ** -0.5
    if _random(model, convention, len(used)):
        se *= max(1.0, (q / df) ** 0.5)
    return make_estimate(
        "maxlik", used, convention, float(slope), se, df if distribution == "t" else None,
        q=q, q_df=df, q_p=float(stats.chi2.sf(q, df)), i2=max(0.0, (q - df) / q) if q > 0 else 0.0,
        residual_se=(q / df) ** 0.5,
    )  # fmt: skip


def maxlik_slope(
    bx: FloatArray, by: FloatArray, sx: FloatArray, sy: FloatArray, *, psi: float = 0.0
) -> FloatArray:
    """The slope of many replicates, shape=(..., n) to shape=(...).

    Newton's method from the slope of IVW, downhill: a step that does not raise the likelihood is halved.
    """
    data = tuple(np.broadcast_arrays(bx, by, sx, sy))
    shape, n = data[0].shape[:-1], data[0].shape[-1]
    bx, by, sx, sy = (np.asarray(a, np.float64).reshape(-1, n) for a in data)
    weight = sy**-2.0
    slope = (weight * bx * by).sum(axis=-1) / (weight * bx * bx).sum(axis=-1)
    active = np.arange(len(slope))
    for _ in range(_STEPS):
        if not len(active):
            break
        rows = (bx[active], by[active], sx[active], sy[active])
        now = slope[active]
        value, score, curvature = _likelihood(now, *rows, psi=psi)
        unit = np.abs((rows[0] ** 2 / rows[3] ** 2).sum(axis=-1))
        step = -score / np.where(curvature > 0, curvature, unit)
        for _ in range(_HALVINGS):
            worse = _likelihood(now + step, *rows, psi=psi)[0] > value * (1 + _RTOL)
            if not worse.any():
                break
            step = np.where(worse, step / 2, step)
        slope[active] = now + step
        active = active[np.abs(step) > _RTOL * np.abs(now + step)]
    return np.asarray(slope.reshape(shape), np.float64)


def _likelihood(
    slope: FloatArray, bx: FloatArray, by: FloatArray, sx: FloatArray, sy: FloatArray, *, psi: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Half of Q, and its first and second derivative by the slope, shape=(...) each."""
    t = np.asarray(slope)[..., None]
    off = by - t * bx
    v = sy**2 - 2 * psi * t * sx * sy + t**2 * sx**2
    by_slope = 2 * (t * sx**2 - psi * sx * sy)
    along = bx + off * by_slope / (2 * v)  # the most likely true exposure effect, where psi is 0
    value = (off**2 / v).sum(axis=-1) / 2
    score = -(off * along / v).sum(axis=-1)
    curvature = ((bx + off * by_slope / v) ** 2 / v - off**2 * sx**2 / v**2).sum(axis=-1)
    return value, score, curvature


def _random(model: str, convention: str, n: int) -> bool:
    if model != "default":
        return model == "random"
    return convention == "mendelianrandomization" and n >= RANDOM_FROM


def _check_options(model: str, psi: float, distribution: str) -> None:
    if model not in ("default", "fixed", "random"):
        raise InputError(f"model must be 'default', 'fixed' or 'random'; got {model!r}.")
    if not -1 < psi < 1:
        raise InputError(f"psi is a correlation and must lie between -1 and 1; got {psi}.")
    if distribution not in ("normal", "t"):
        raise InputError(f"distribution must be 'normal' or 't'; got {distribution!r}.")
