"""IVW and MR-Egger that a minority of mutants cannot move: MM-estimation, and penalised weights.

Rees, Wood, Dudbridge and Burgess, PLoS One 2019. The numbers are those of ``mr_ivw`` and ``mr_egger`` of
the R package MendelianRandomization with ``robust`` and ``penalized``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr.estimators.convention import Convention, check_convention
from kipoi_mcdropout.mr.estimators.estimate import Estimate, make_estimate, wald_test
from kipoi_mcdropout.mr.estimators.mm_regression import mm_fit
from kipoi_mcdropout.mr.estimators.ratio import with_exposure_effect
from kipoi_mcdropout.mr.estimators.regression import fit_effects
from kipoi_mcdropout.mr.pairs.instruments import Instruments

PENALTY_FACTOR = 100  # of the R package: an instrument with p below 1/100 loses weight


def mr_ivw_robust(
    instruments: Instruments,
    *,
    convention: Convention = "twosamplemr",
    robust: bool = True,
    penalised: bool = False,
) -> Estimate:
    """IVW by MM-estimation (`robust`), with less weight for mutants far from the median (`penalised`).

    The slope stays right if nearly half of the mutants are invalid, wherever they lie. The standard
    error is never below that of a residual standard error of 1.

    Parameters
    ----------
    instruments : Instruments
    convention : str
        Recorded only.
    robust, penalised : bool
        At least one of them.

    Raises
    ------
    InputError
        Too few instruments, or an exposure effect of 0.
    """
    used = _checked(instruments, convention, 3, "robust IVW", robust, penalised)
    weight = used.se_outcome**-2.0
    if penalised:
        ratio = used.beta_outcome / used.beta_exposure
        distance = (used.beta_exposure / used.se_outcome) ** 2 * (ratio - np.median(ratio)) ** 2
        weight = _penalise(weight, distance)
    return _estimate(_name("ivw", robust, penalised), used, convention, weight, robust, intercept=False)


def mr_egger_robust(
    instruments: Instruments,
    *,
    convention: Convention = "twosamplemr",
    robust: bool = True,
    penalised: bool = False,
) -> Estimate:
    """MR-Egger by MM-estimation (`robust`), with less weight far from MR-Egger's line (`penalised`).

    Arguments and errors as of `mr_ivw_robust`.
    """
    used = _checked(instruments, convention, 5, "robust MR-Egger", robust, penalised).oriented()
    weight = used.se_outcome**-2.0
    if penalised:
        intercept, slope = fit_effects(used, intercept=True).coefficients
        residual = used.beta_outcome - intercept - slope * used.beta_exposure
        weight = _penalise(weight, (residual / used.se_outcome) ** 2)
    return _estimate(_name("egger", robust, penalised), used, convention, weight, robust, intercept=True)


def _checked(
    instruments: Instruments, convention: str, least: int, what: str, robust: bool, penalised: bool
) -> Instruments:
    check_convention(convention)
    if not (robust or penalised):
        raise InputError(f"{what} requires robust=True, penalised=True or both; got neither.")
    return with_exposure_effect(instruments, least, what)


def _name(method: str, robust: bool, penalised: bool) -> str:
    return method + ("_penalised" if penalised else "") + ("_robust" if robust else "")


def _penalise(weight: FloatArray, distance: FloatArray) -> FloatArray:
    penalised: FloatArray = weight * np.minimum(1.0, PENALTY_FACTOR * stats.chi2.sf(distance, df=1))
    return penalised


def _estimate(
    name: str,
    used: Instruments,
    convention: Convention,
    weight: FloatArray,
    robust: bool,
    intercept: bool,
) -> Estimate:
    counted = np.flatnonzero(weight > 0)
    rest, weight = used.take(counted), weight[counted]
    if robust:
        root = np.sqrt(weight)
        x = rest.beta_exposure * root
        design = np.column_stack([root, x]) if intercept else x[:, None]
        fit = mm_fit(design, rest.beta_outcome * root)
        coefficients, se, sigma = fit.coefficients, np.sqrt(np.diag(fit.covariance)), fit.scale
    else:
        found = fit_effects(rest, intercept=intercept, variance=1 / weight)
        coefficients, sigma = found.coefficients, found.residual_se
        se = found.unit_se * sigma
    se = se / min(sigma, 1.0)
    more: dict[str, Any] = {}
    if intercept:
        p = wald_test(float(coefficients[0]), float(se[0]))[0]
        more = {"intercept": float(coefficients[0]), "intercept_se": float(se[0]), "intercept_p": p}
    return make_estimate(
        name, used, convention, float(coefficients[-1]), float(se[-1]), residual_se=float(sigma), **more
    )
