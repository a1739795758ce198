"""MR-RAPS: robust adjusted profile score (Zhao, Wang, Hemani, Bowden and Small, Ann Stat 2020).

The slope minimises the sum of a loss of ``t = (by - slope bx) / sqrt(tau2 + sy**2 + slope**2 sx**2)``,
so noise of the exposure effects does not flatten it. ``tau2`` is the variance of direct effects on the
outcome (overdispersion). With the loss of Huber or Tukey, single mutants that do not fit have a
bounded or no influence. The numbers are those of ``mr.raps.shrinkage`` of the R package mr.raps,
without shrinkage, which TwoSampleMR's ``mr_raps`` calls.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import numpy as np
from scipy import integrate, optimize, stats

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr.estimators.convention import Convention, check_convention
from kipoi_mcdropout.mr.estimators.estimate import Estimate, make_estimate
from kipoi_mcdropout.mr.estimators.ratio import with_exposure_effect
from kipoi_mcdropout.mr.pairs.instruments import Instruments

Loss = Literal["l2", "huber", "tukey"]
THRESHOLD: dict[str, float] = {"l2": np.inf, "huber": 1.345, "tukey": 4.685}  # 95 % efficient
_ROUNDS = 500
_CANDIDATES = 400


def mr_raps(
    instruments: Instruments,
    *,
    convention: Convention = "twosamplemr",
    overdispersion: bool = True,
    loss: Loss = "huber",
) -> Estimate:
    """Slope by the robust adjusted profile score.

    Parameters
    ----------
    instruments : Instruments
        Standard errors must be those of the effects as estimates: for draws the mcse. With the sd the
        correction for noise of the exposure effects is far too large.
    convention : str
        Recorded only; it makes no difference.
    overdispersion : bool
        Estimate the variance of direct effects on the outcome (`tau2`).
    loss : "l2", "huber" or "tukey"

    Raises
    ------
    InputError
        Fewer than 3 instruments, one with an exposure effect of 0, an unknown loss, or instruments so
        weak that there is no slope or no standard error.
    """
    check_convention(convention)
    if loss not in THRESHOLD:
        raise InputError(f"loss must be one of {', '.join(THRESHOLD)}; got {loss!r}.")
    used = with_exposure_effect(instruments, 3, "MR-RAPS")
    data = _Data(used.beta_exposure, used.beta_outcome, used.se_exposure**2, used.se_outcome**2)
    slope, tau2 = _simple(data, "l2" if overdispersion else loss), 0.0
    if overdispersion:
        slope, tau2 = _alternate(data, "l2", slope)
        if loss != "l2":
            slope, tau2 = _alternate(data, loss, slope, tau2)
    se = _standard_error(data, loss, slope, tau2, tau2 > 0)
    name = f"raps_{loss}" if overdispersion else f"raps_simple_{loss}"
    name = "raps" if name == "raps_huber" else name
    estimate = make_estimate(name, used, convention, slope, se)
    return replace(estimate, tau2=tau2 if overdispersion else None)


def raps_slope(bx: FloatArray, by: FloatArray, sx: FloatArray, sy: FloatArray) -> FloatArray:
    """Huber's slope with overdispersion of many replicates, shape=(..., n) to shape=(...).

    Fisher scoring of both equations at once from the median ratio, in at most 100 steps.
    """
    x2, y2 = np.broadcast_arrays(sx**2, sy**2)
    delta, _, _, c3 = _constants("huber")
    slope, tau2 = np.median(by / bx, axis=-1), np.zeros(bx.shape[:-1])
    for _ in range(100):
        v = tau2[..., None] + y2 + slope[..., None] ** 2 * x2
        root = np.sqrt(v)
        t = (by - slope[..., None] * bx) / root
        psi = np.clip(t, -THRESHOLD["huber"], THRESHOLD["huber"])
        score = (psi * (bx / root + slope[..., None] * t * x2 / v)).sum(axis=-1)
        information = delta * ((bx**2) / v).sum(axis=-1)
        spread = ((t * psi - delta) / v).sum(axis=-1)
        change = score / information
        new = np.maximum(0.0, tau2 + spread / ((delta + c3) / 2 * (v**-2.0).sum(axis=-1)))
        done = np.abs(change) <= 1e-9 * (1 + np.abs(slope))
        done &= np.abs(new - tau2) <= 1e-7 * (new + y2.min())
        slope, tau2 = slope + change, new
        if done.all():
            break
    return slope


@dataclass(frozen=True)
class _Data:
    x: FloatArray
    y: FloatArray
    sx2: FloatArray
    sy2: FloatArray

    def residual(self, slope: float, tau2: float) -> tuple[FloatArray, FloatArray]:
        """Standardised residuals t and their variances v."""
        v = tau2 + self.sy2 + slope**2 * self.sx2
        return (self.y - slope * self.x) / np.sqrt(v), v

    def score(self, slope: float, tau2: float, loss: str) -> float:
        """Derivative of minus the sum of losses by the slope."""
        t, v = self.residual(slope, tau2)
        return float((_psi(t, loss) * (self.x / np.sqrt(v) + slope * t * self.sx2 / v)).sum())

    def objective(self, slope: float, tau2: float, loss: str) -> float:
        return float(_rho(self.residual(slope, tau2)[0], loss).sum())


def _rho(t: FloatArray, loss: str) -> FloatArray:
    k = THRESHOLD[loss]
    if loss == "tukey":  # scaled so that its derivative is _psi
        bounded: FloatArray = k**2 / 6 * (1 - np.maximum(1 - (t / k) ** 2, 0) ** 3)
        return bounded
    inside = np.abs(t) <= k
    return np.where(inside, t**2 / 2, np.where(inside, 0, k) * (np.abs(t) - np.where(inside, 0, k) / 2))


def _psi(t: FloatArray, loss: str) -> FloatArray:
    k = THRESHOLD[loss]
    if loss == "tukey":
        redescending: FloatArray = t * np.maximum(1 - (t / k) ** 2, 0) ** 2
        return redescending
    return np.clip(t, -k, k)


def _psi_prime(t: FloatArray, loss: str) -> FloatArray:
    k = THRESHOLD[loss]
    if loss == "tukey":
        u = (t / k) ** 2
        return np.where(u < 1, (1 - u) * (1 - 5 * u), 0.0)
    return (np.abs(t) <= k).astype(float)


@cache
def _constants(loss: str) -> tuple[float, float, float, float]:
    """Delta = E[t psi], E[psi**2], Var[t psi], E[t**2 psi'] of a standard normal t."""
    if loss == "l2":
        return 1.0, 1.0, 2.0, 1.0
    edge = THRESHOLD[loss]

    def mean(of: str) -> float:
        def f(t: float) -> float:
            a = np.asarray(t)
            psi, slope = _psi(a, loss), _psi_prime(a, loss)
            value = {"t psi": a * psi, "psi2": psi**2, "t2 psi2": (a * psi) ** 2}
            value["t2 psi'"] = a**2 * slope
            return float(value[of] * stats.norm.pdf(t))

        return sum(
            float(integrate.quad(f, *ends, epsabs=1e-13)[0])
            for ends in ((-np.inf, -edge), (-edge, edge), (edge, np.inf))
        )

    delta = mean("t psi")
    return delta, mean("psi2"), mean("t2 psi2") - delta**2, mean("t2 psi'")


def _simple(data: _Data, loss: str) -> float:
    """The slope with the least loss, without overdispersion; looked for everywhere."""
    ratios = np.quantile(data.y / data.x, np.linspace(0, 1, _CANDIDATES))
    best = min(np.unique(np.append(ratios, 0.0)), key=lambda b: data.objective(b, 0.0, loss))
    return _nearest_slope(data, loss, float(best), 0.0)


def _nearest_slope(data: _Data, loss: str, start: float, tau2: float) -> float:
    """The local minimum of the loss next to `start`: downhill, then to where the score is 0."""
    unit = float(np.median(np.sqrt(data.residual(start, tau2)[1]) / np.abs(data.x))) / len(data.x) ** 0.5
    score = data.score(start, tau2, loss)
    if score == 0:
        return start
    step = np.sign(score) * unit
    low = start
    for _ in range(200):
        high = low + step
        if np.sign(data.score(high, tau2, loss)) != np.sign(score):
            ends = sorted((low, high))
            return float(optimize.brentq(data.score, *ends, args=(tau2, loss), xtol=1e-14, rtol=1e-14))
        low, step = high, 1.5 * step
    raise InputError("MR-RAPS found no slope: its equation has no root. The instruments are too weak.")


def _alternate(data: _Data, loss: str, slope: float, tau2: float = 0.0) -> tuple[float, float]:
    """Slope and overdispersion in turn, until both stay."""
    for _ in range(_ROUNDS):
        before = slope, tau2
        tau2 = _overdispersion(data, loss, slope)
        slope = _nearest_slope(data, loss, slope, tau2)
        if np.allclose(before, (slope, tau2), rtol=1e-12, atol=0):
            break
    return slope, tau2


def _overdispersion(data: _Data, loss: str, slope: float) -> float:
    """The tau2 at which squared residuals are as large as they should be; 0 if they are small."""
    delta = _constants(loss)[0]

    def excess(tau2: float) -> float:
        t, v = data.residual(slope, tau2)
        return float(((t * _psi(t, loss) - delta) / v).sum())

    if excess(0.0) <= 0:
        return 0.0
    high = float(data.sy2.mean())
    while excess(high) > 0:
        high *= 4
    return float(optimize.brentq(excess, 0.0, high, xtol=1e-18, rtol=1e-14))


def _standard_error(data: _Data, loss: str, slope: float, tau2: float, overdispersion: bool) -> float:
    """By the sandwich of the paper, with the observed information."""
    delta, c1, c2, c3 = _constants(loss)
    t, v = data.residual(slope, tau2)
    y2, root = tau2 + data.sy2, np.sqrt(v)
    exposure = (data.x * y2 + slope * data.y * data.sx2) / v  # best estimate given both effects
    own_score = data.y * data.sx2 / v * _psi(t, loss) - exposure * delta * data.x / root
    by_slope = float((own_score / root).sum())
    if by_slope**2 == 0 or not np.isfinite(by_slope):  # so flat that it is 0 in float64
        raise InputError(
            "MR-RAPS found no standard error: near its slope the equation does not change. The "
            "instruments are too weak."
        )
    variance = c1 * float((exposure**2 / v).sum()) / by_slope**2
    if overdispersion:
        by_tau2 = -float((slope * data.y * data.sx2 / (y2 * v) * _psi(t, loss) / root).sum())
        own = (delta + c3) / 2 * float((v**-2.0).sum())
        variance += c2 * float((v**-2.0).sum()) * (by_tau2 / (by_slope * own)) ** 2
    return float(np.sqrt(variance))
