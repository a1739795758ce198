"""Inverse-variance weighted estimate: a weighted regression through the origin."""

from __future__ import annotations

from typing import Literal

import numpy as np

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr.estimators.convention import Convention, check_convention
from kipoi_mcdropout.mr.estimators.egger import Distribution
from kipoi_mcdropout.mr.estimators.estimate import Estimate, make_estimate
from kipoi_mcdropout.mr.estimators.ratio import with_exposure_effect
from kipoi_mcdropout.mr.estimators.regression import Fit, fit_effects
from kipoi_mcdropout.mr.pairs.instruments import Instruments
from kipoi_mcdropout.mr.pairs.spread import deviations

Model = Literal["default", "random", "fixed", "random_underdispersed"]
Weights = Literal["first_order", "second_order"]
RANDOM_FROM = 4  # MendelianRandomization's default: fixed effect with 3 instruments or fewer


def mr_ivw(
    instruments: Instruments,
    *,
    convention: Convention = "twosamplemr",
    model: Model = "default",
    weights: Weights = "first_order",
    psi: float = 0.0,
    distribution: Distribution = "normal",
    correlated: bool = False,
) -> Estimate:
    """Slope through the origin of outcome effects on exposure effects.

    Parameters
    ----------
    instruments : Instruments
    convention : "twosamplemr" or "mendelianrandomization"
        They differ only in the default `model` with 2 or 3 instruments.
    model : str
        "random": multiplicative random effects, se never below the fixed-effect one. "fixed":
        residual standard error taken as 1. "random_underdispersed": se scaled by the residual
        standard error also where that is below 1 (TwoSampleMR's ``mr_ivw_mre``).
    weights : "first_order" or "second_order"
        Residual variance ``sy**2``, or by the delta method ``sy**2 + (by/bx)**2 sx**2 - 2 psi
        (by/bx) sx sy``.
    psi : float
        Correlation of the errors of exposure and outcome, within a mutant; for draws see
        `error_correlation`. Used by "second_order" only.
    distribution : "normal" or "t"
        t has n - 1 degrees of freedom.
    correlated : bool
        Generalised least squares with the correlation of the outcome effects.

    Raises
    ------
    InputError
        Fewer than 2 instruments, or options that exclude each other.
    """
    check_convention(convention)
    _check_options(model, weights, psi, distribution, correlated)
    used = instruments.kept(2, "IVW")
    if not used.beta_exposure.any():
        raise InputError("IVW requires an exposure effect other than 0; all are 0.")
    variance = None
    if weights == "second_order":
        variance = second_order_variance(with_exposure_effect(used, 2, "a second-order weight"), psi)
    fit = fit_effects(used, intercept=False, correlated=correlated, variance=variance)
    return make_estimate(
        _name(model, weights, correlated),
        used,
        convention,
        float(fit.coefficients[0]),
        _se(fit, _model(model, convention, len(used))),
        fit.df if distribution == "t" else None,
        **fit.q_statistics(),
    )


def second_order_variance(instruments: Instruments, psi: float) -> FloatArray:
    """Variance of ``by - (by/bx) bx`` by the delta method, shape=(n,)."""
    ratio = instruments.beta_outcome / instruments.beta_exposure
    sx, sy = instruments.se_exposure, instruments.se_outcome
    return sy**2 + ratio**2 * sx**2 - 2 * psi * ratio * sx * sy


def error_correlation(instruments: Instruments) -> float:
    """Correlation over draws of exposure and outcome effect, median over mutants: `psi` for IVW.

    Both effects come from the same masks, which makes this like a sample overlap of 100 %. With several
    members it is that of the nested draws (`spread.deviations`).
    """
    used = instruments.kept()
    x, y = used.draws_exposure, used.draws_outcome
    if x is None or y is None:
        raise InputError(
            "the correlation of the errors requires the draws of both outputs; got none. Run ism with "
            "--keep_draws, and pass read_draws(...)."
        )
    if used.n_members > 1:
        x, y = (deviations(draws, used.n_members, used.se_type == "mcse") for draws in (x, y))
    else:
        x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    return float(np.median((x * y).sum(0) / np.sqrt((x * x).sum(0) * (y * y).sum(0))))


def _model(model: Model, convention: Convention, n: int) -> str:
    if model != "default":
        return model
    return "fixed" if convention == "mendelianrandomization" and n < RANDOM_FROM else "random"


def _se(fit: Fit, model: str) -> float:
    scale = {
        "random": max(1.0, fit.residual_se),
        "fixed": 1.0,
        "random_underdispersed": fit.residual_se,
    }
    return float(fit.unit_se[0]) * scale[model]


def _name(model: Model, weights: Weights, correlated: bool) -> str:
    parts = [
        "ivw",
        "" if model == "default" else model,
        "delta" if weights == "second_order" else "",
    ]
    return "_".join(part for part in [*parts, "correlated" if correlated else ""] if part)


def _check_options(model: str, weights: str, psi: float, distribution: str, correlated: bool) -> None:
    if model not in ("default", "random", "fixed", "random_underdispersed"):
        raise InputError(
            f"model must be 'default', 'random', 'fixed' or 'random_underdispersed'; got {model!r}."
        )
    if weights not in ("first_order", "second_order"):
        raise InputError(f"weights must be 'first_order' or 'second_order'; got {weights!r}.")
    if not -1 < psi < 1:
        raise InputError(f"psi is a correlation and must lie between -1 and 1; got {psi}.")
    if distribution not in ("normal", "t"):
        raise InputError(f"distribution must be 'normal' or 't'; got {distribution!r}.")
    if correlated and weights == "second_order":
        raise InputError(
            "second-order weights are not defined for correlated instruments; give either the weights "
            "or the correlation."
        )
