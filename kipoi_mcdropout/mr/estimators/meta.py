"""Meta-analysis of one estimate per sequence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import optimize, stats

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr.estimators.estimate import CI_LEVEL, wald_test

MetaMethod = Literal["REML", "DL", "PM", "FE"]
META_METHODS: tuple[MetaMethod, ...] = get_args(MetaMethod)
MAX_ITERATIONS = 1000


@dataclass(frozen=True)
class MetaResult:
    """A combined estimate.

    Attributes
    ----------
    method : str
        "REML", "DL" (DerSimonian-Laird), "PM" (Paule-Mandel) or "FE" (fixed effect).
    hartung_knapp : bool
        Whether se, interval and p are those of Hartung and Knapp: t(k - 1), and the spread of the
        estimates themselves.
    k : int
        Number of studies, that is sequences.
    estimate, se, ci_lower, ci_upper, p : float
        Mean effect, its standard error, 95 % interval and two-sided p (normal, or t).
    pi_lower, pi_upper : float
        95 % prediction interval for a new sequence: t with k - 2 degrees of freedom, one less than the
        interval has, because tau2 is estimated too, and ``sqrt(se**2 + tau2)`` (Higgins, Thompson and
        Spiegelhalter, JRSS A 2009, section 4.1; metafor's ``predict(pi.type="riley")``). With
        `hartung_knapp` the se in it is that of Hartung and Knapp (IntHout, Ioannidis, Rovers and
        Goeman, BMJ Open 2016). NaN with fewer than 3 studies or a fixed effect.
    tau2, q, q_p, i2 : float
        Variance between sequences, Cochran's Q and its p, and I2 in [0, 1].
    """

    method: MetaMethod
    k: int
    estimate: float
    se: float
    ci_lower: float
    ci_upper: float
    p: float
    pi_lower: float
    pi_upper: float
    tau2: float
    q: float
    q_p: float
    i2: float
    hartung_knapp: bool = False


def combine(
    estimates: ArrayLike,
    se: ArrayLike,
    method: MetaMethod = "REML",
    *,
    hartung_knapp: bool = False,
    tolerance: float = 1e-12,
) -> MetaResult:
    """Combine estimates, shape=(k,), with their standard errors, shape=(k,).

    The estimates are taken as independent. Estimates of sequences that share their draws (``mask_scope``
    "run") share the Monte Carlo error; with more draws this matters less.

    Parameters
    ----------
    estimates, se : array, shape=(k,)
    method : "REML", "DL", "PM" or "FE"
    hartung_knapp : bool
        Take the standard error from the spread of the estimates, and t(k - 1) instead of the normal
        (Hartung and Knapp, Stat Med 2001): intervals of a few sequences are then not too short.
    tolerance : float
        REML stops when tau2 changes by no more than this. metafor stops at 1e-5, which can be seen
        in the sixth digit.

    Raises
    ------
    InputError
        Fewer than 2 estimates, numbers that are not finite, se not positive, or an unknown method.
    """
    y, v = _checked(estimates, se, method)
    if method == "REML":
        tau2 = _tau2_reml(y, v, tolerance)
    else:
        tau2 = {"DL": _tau2_dl, "PM": _tau2_pm, "FE": lambda *_: 0.0}[method](y, v)
    weight, df = 1 / (v + tau2), len(y) - 1
    mean, error = float((weight * y).sum() / weight.sum()), float(weight.sum() ** -0.5)
    if hartung_knapp:
        error *= float(np.sqrt((weight * (y - mean) ** 2).sum() / df))
    p, lower, upper, _ = wald_test(mean, error, df if hartung_knapp else None)
    q = _q(y, v)
    half = float("nan")
    if method != "FE" and len(y) > 2:
        half = float(stats.t.isf((1 - CI_LEVEL) / 2, len(y) - 2)) * float(np.sqrt(error**2 + tau2))
    return MetaResult(
        method=method,
        k=len(y),
        estimate=mean,
        se=error,
        ci_lower=lower,
        ci_upper=upper,
        p=p,
        pi_lower=mean - half,
        pi_upper=mean + half,
        tau2=tau2,
        q=q,
        q_p=float(stats.chi2.sf(q, df)),
        i2=_i2_of_q(q, df) if method == "FE" else tau2 / (tau2 + _typical_variance(v)),
        hartung_knapp=hartung_knapp,
    )


def combine_table(
    table: pd.DataFrame, method: MetaMethod = "REML", *, hartung_knapp: bool = False
) -> MetaResult:
    """`combine` on the columns "estimate" and "se" of a table of estimates, a row per sequence."""
    missing = {"estimate", "se"} - set(table.columns)
    if missing:
        raise InputError(f"columns 'estimate' and 'se' are required; missing {sorted(missing)}.")
    y, se = table["estimate"].to_numpy(float), table["se"].to_numpy(float)
    return combine(y, se, method, hartung_knapp=hartung_knapp)


def _checked(estimates: ArrayLike, se: ArrayLike, method: str) -> tuple[FloatArray, FloatArray]:
    if method not in META_METHODS:
        raise InputError(f"method must be one of {', '.join(META_METHODS)}; got {method!r}.")
    y, s = np.asarray(estimates, np.float64), np.asarray(se, np.float64)
    if y.shape != s.shape or y.ndim != 1 or len(y) < 2:
        raise InputError(
            f"at least 2 estimates, each with its se, are required; got shapes {y.shape} and {s.shape}."
        )
    if not (np.isfinite(y).all() and np.isfinite(s).all() and (s > 0).all()):
        raise InputError(
            "estimates must be finite and their se must be finite and positive. Remove those that are "
            "not."
        )
    return y, s**2


def _q(y: FloatArray, v: FloatArray) -> float:
    weight = 1 / v
    return float((weight * (y - (weight * y).sum() / weight.sum()) ** 2).sum())


def _i2_of_q(q: float, df: int) -> float:
    return max(0.0, (q - df) / q) if q > 0 else 0.0


def _typical_variance(v: FloatArray) -> float:
    """Typical variance within studies (Higgins and Thompson, Stat Med 2002), for I2."""
    weight = 1 / v
    return float((len(v) - 1) * weight.sum() / (weight.sum() ** 2 - (weight**2).sum()))


def _tau2_dl(y: FloatArray, v: FloatArray) -> float:
    weight = 1 / v
    scale = weight.sum() - (weight**2).sum() / weight.sum()
    return max(0.0, float((_q(y, v) - (len(y) - 1)) / scale))


def _tau2_pm(y: FloatArray, v: FloatArray) -> float:
    """The tau2 at which Q is as large as its degrees of freedom (Paule and Mandel 1982)."""

    def excess(tau2: float) -> float:
        return _q(y, v + tau2) - (len(y) - 1)

    if excess(0.0) <= 0:
        return 0.0
    high = float(y.var(ddof=1))
    while excess(high) > 0:
        high *= 2
    return float(optimize.brentq(excess, 0.0, high, xtol=1e-15, rtol=1e-14))


def _tau2_reml(y: FloatArray, v: FloatArray, tolerance: float) -> float:
    """Fisher scoring on the restricted likelihood (Viechtbauer, J Educ Behav Stat 2005).

    Where the se of the estimates differ by orders of magnitude, full steps can go back and forth over
    the solution for ever. Each step back that is not much shorter than the one before halves all later
    ones.
    """
    tau2, share, before = max(0.0, float(y.var(ddof=1) - v.mean())), 1.0, 0.0
    for _ in range(MAX_ITERATIONS):
        w = 1 / (v + tau2)
        mean = (w * y).sum() / w.sum()
        # trace(P) and trace(P P) of the projection P = W - W 1 1' W / sum(w)
        trace = w.sum() - (w**2).sum() / w.sum()
        trace_square = (w**2).sum() - 2 * (w**3).sum() / w.sum() + ((w**2).sum() / w.sum()) ** 2
        step = (((w * (y - mean)) ** 2).sum() - trace) / trace_square
        new = max(0.0, float(tau2 + step))
        if abs(new - tau2) <= tolerance:
            return new
        if step * before < 0 and abs(step) > abs(before) / 2:
            share /= 2
        tau2, before = max(0.0, float(tau2 + share * step)), step
    raise InputError(
        f"the REML variance between sequences did not converge in {MAX_ITERATIONS} steps; use method "
        "'DL'."
    )
