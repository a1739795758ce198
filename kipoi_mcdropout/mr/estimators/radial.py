"""Radial IVW and radial MR-Egger (Bowden et al., Int J Epidemiol 2018).

A regression of ``ratio * sqrt(weight)`` on ``sqrt(weight)``, without and with an intercept. With weights
of first order, ``bx**2 / sy**2``, radial IVW is IVW. Weights of second order add the noise of the
exposure effect, by the delta method; modified weights of second order take the fitted slope for it
instead of the mutant's own ratio, so that a far ratio does not lower its own weight. Radial MR-Egger has
its intercept in the radial plot, so it needs no orientation of the effects and is not MR-Egger.

The residual of each mutant squared is its part of Cochran's Q: mutants whose part is too large for a
chi-square with 1 degree of freedom are called outliers. Numbers are those of the R package RadialMR.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import numpy as np
import pandas as pd
from scipy import stats

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr.estimators.convention import Convention, check_convention
from kipoi_mcdropout.mr.estimators.estimate import Estimate, make_estimate, wald_test
from kipoi_mcdropout.mr.estimators.ratio import with_exposure_effect
from kipoi_mcdropout.mr.pairs.instruments import Instruments

RadialWeights = Literal["modified", "first_order", "second_order", "iterated"]
OUTLIER_P = 0.05  # of RadialMR
_ROUNDS = 1000
_RTOL = 1e-14


def mr_ivw_radial(
    instruments: Instruments,
    *,
    convention: Convention = "twosamplemr",
    weights: RadialWeights = "modified",
    outlier_p: float = OUTLIER_P,
) -> Estimate:
    """Radial IVW; `valid` has the names of the mutants that are no outliers (all are used).

    Parameters
    ----------
    instruments : Instruments
    convention : str
        Recorded only.
    weights : "modified", "first_order", "second_order" or "iterated"
        "iterated" repeats the modified weights with each new slope until it stays.
    outlier_p : float
        A mutant is an outlier if p of its part of Q is below this.

    Raises
    ------
    InputError
        Fewer than 2 instruments, one with an exposure effect of 0, or unknown weights.

    Notes
    -----
    The standard error is scaled by the residual standard error also where that is below 1, as in
    RadialMR (and in TwoSampleMR's ``mr_ivw_radial``, which has the modified weights).
    """
    return _estimate("ivw", instruments, convention, weights, outlier_p)


def mr_egger_radial(
    instruments: Instruments,
    *,
    convention: Convention = "twosamplemr",
    weights: RadialWeights = "modified",
    outlier_p: float = OUTLIER_P,
) -> Estimate:
    """Radial MR-Egger, with t(n - 2); arguments and errors as of `mr_ivw_radial`, from 3 instruments.

    "iterated" weights are offered for radial IVW only. `q_p` has n - 2 degrees of freedom. (With
    modified weights RadialMR prints a p with n - 1.)
    """
    return _estimate("egger", instruments, convention, weights, outlier_p)


def radial_parts(
    instruments: Instruments,
    method: Literal["ivw", "egger"] = "ivw",
    *,
    weights: RadialWeights = "modified",
    outlier_p: float = OUTLIER_P,
) -> pd.DataFrame:
    """Each mutant's part of Cochran's Q about the radial line.

    Returns
    -------
    DataFrame
        SNP, sqrt_weight, ratio_sqrt_weight (the axes of the radial plot), q, p (chi-square with 1 degree
        of freedom), outlier (p below `outlier_p`). With `se_type` "sd" no mutant is an outlier, as means
        scatter only by their mcse.
    """
    used = _checked(method, instruments, weights, outlier_p)
    slope, intercept, weight = _fit(method, *_effects(used), weights)
    root = np.sqrt(weight)
    scaled = used.beta_outcome / used.beta_exposure * root
    q = (scaled - intercept - slope * root) ** 2
    p = stats.chi2.sf(q, 1)
    table: pd.DataFrame = pd.DataFrame(
        {
            "SNP": used.snp, "sqrt_weight": root, "ratio_sqrt_weight": scaled, "q": q, "p": p,
            "outlier": p < outlier_p,
        }
    )  # fmt: skip
    return table


def ivw_radial_slope(bx: FloatArray, by: FloatArray, sx: FloatArray, sy: FloatArray) -> FloatArray:
    """Radial IVW with modified weights, of many replicates, shape=(..., n) to shape=(...)."""
    return _fit("ivw", bx, by, sx, sy, "modified")[0]


def egger_radial_slope(bx: FloatArray, by: FloatArray, sx: FloatArray, sy: FloatArray) -> FloatArray:
    """Radial MR-Egger with modified weights, of many replicates, shape=(..., n) to shape=(...)."""
    return _fit("egger", bx, by, sx, sy, "modified")[0]


def _estimate(
    method: Literal["ivw", "egger"],
    instruments: Instruments,
    convention: Convention,
    weights: RadialWeights,
    outlier_p: float,
) -> Estimate:
    check_convention(convention)
    used = _checked(method, instruments, weights, outlier_p)
    parts = radial_parts(used, method, weights=weights, outlier_p=outlier_p)
    slope, intercept, weight = _fit(method, *_effects(used), weights)
    q, df = float(parts["q"].sum()), len(used) - (1 if method == "ivw" else 2)
    sigma = (q / df) ** 0.5
    root = np.sqrt(weight)
    design = root[:, None] if method == "ivw" else np.column_stack([root, np.ones_like(root)])
    se = sigma * np.sqrt(np.diag(np.linalg.inv(design.T @ design)))
    more: dict[str, float] = {}
    if method == "egger":
        p = wald_test(float(intercept), float(se[1]), df)[0]
        more = {"intercept": float(intercept), "intercept_se": float(se[1]), "intercept_p": p}
    name = f"{method}_radial" + ("" if weights == "modified" else f"_{weights}")
    estimate = make_estimate(
        name, used, convention, float(slope), float(se[0]), df if method == "egger" else None,
        q=q, q_df=df, q_p=float(stats.chi2.sf(q, df)), i2=max(0.0, (q - df) / q) if q > 0 else 0.0,
        residual_se=sigma, **more,
    )  # fmt: skip
    return replace(estimate, valid=tuple(parts.loc[~parts["outlier"], "SNP"].tolist()))


def _fit(
    method: str, bx: FloatArray, by: FloatArray, sx: FloatArray, sy: FloatArray, weights: str
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Slopes and intercepts, shape=(...), and the weights, shape=(..., n)."""
    ratio = by / bx
    if weights == "second_order":
        weight = 1 / ((sy / bx) ** 2 + (by * sx / bx**2) ** 2)
        return (*_line(method, ratio, weight), weight)
    weight = (bx / sy) ** 2
    slope, intercept = _line(method, ratio, weight)
    rounds = {"first_order": 0, "modified": 1, "iterated": _ROUNDS}[weights]
    for _ in range(rounds):
        weight = bx**2 / (sy**2 + slope[..., None] ** 2 * sx**2)
        before = slope
        slope, intercept = _line(method, ratio, weight)
        if (np.abs(slope - before) <= _RTOL * np.abs(slope)).all():
            break
    return slope, intercept, weight


def _line(method: str, ratio: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Slope and intercept of ``ratio sqrt(weight)`` on ``sqrt(weight)``; "ivw" has no intercept."""
    if method == "ivw":
        slope = (weight * ratio).sum(axis=-1) / weight.sum(axis=-1)
        return slope, np.zeros_like(slope)
    root = np.sqrt(weight)
    x = root - root.mean(axis=-1, keepdims=True)
    slope = (x * ratio * root).sum(axis=-1) / (x * x).sum(axis=-1)
    return slope, (ratio * root).mean(axis=-1) - slope * root.mean(axis=-1)


def _effects(used: Instruments) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    return used.beta_exposure, used.beta_outcome, used.se_exposure, used.se_outcome


def _checked(method: str, instruments: Instruments, weights: str, outlier_p: float) -> Instruments:
    if method not in ("ivw", "egger"):
        raise InputError(f"method must be 'ivw' or 'egger'; got {method!r}.")
    offered = [w for w in get_args(RadialWeights) if method == "ivw" or w != "iterated"]
    if weights not in offered:
        raise InputError(f"weights must be one of {', '.join(offered)}; got {weights!r}.")
    if not 0 < outlier_p < 1:
        raise InputError(f"outlier_p must lie between 0 and 1; got {outlier_p}.")
    what = "radial IVW" if method == "ivw" else "radial MR-Egger"
    return with_exposure_effect(instruments, 2 if method == "ivw" else 3, what)
