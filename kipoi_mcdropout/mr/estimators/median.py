"""Median-based estimates (Bowden, Davey Smith, Haycock and Burgess, Genet Epidemiol 2016)."""

from __future__ import annotations

import numpy as np
from scipy import stats

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.mr.estimators.convention import Convention, check_convention
from kipoi_mcdropout.mr.estimators.estimate import Estimate, make_estimate
from kipoi_mcdropout.mr.estimators.points import weighted_median
from kipoi_mcdropout.mr.estimators.ratio import ratio_se, with_exposure_effect
from kipoi_mcdropout.mr.estimators.resampling import noise_blocks
from kipoi_mcdropout.mr.pairs.instruments import Instruments

PENALTY_FACTOR = 20  # of both R packages: an instrument with p below 1/20 loses weight


def mr_weighted_median(
    instruments: Instruments,
    *,
    convention: Convention = "twosamplemr",
    penalised: bool = False,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Weighted median of the Wald ratios: right if at least half of the weight is on valid instruments.

    Parameters
    ----------
    instruments : Instruments
    convention : str
        Weights are inverse variances of the ratios, of second order in "twosamplemr" and of first
        order in "mendelianrandomization".
    penalised : bool
        Reduce the weight of instruments whose ratio is far from the unpenalised median.
    n_bootstrap, seed : int
        The standard error is the sd of this many medians of effects drawn anew, independently, from
        normals with the instruments' standard errors, weights held.

    Raises
    ------
    InputError
        Fewer than 3 instruments, or one with an exposure effect of 0.
    """
    check_convention(convention)
    used = with_exposure_effect(instruments, 3, "the weighted median")
    order = "second_order" if convention == "twosamplemr" else "first_order"
    weight = ratio_se(used, order) ** -2.0  # type: ignore[arg-type]
    if penalised:
        weight = _penalise(weight, used.beta_outcome / used.beta_exposure)
    name = "penalised_weighted_median" if penalised else "weighted_median"
    return _median(name, used, weight, convention, n_bootstrap, seed)


def mr_simple_median(
    instruments: Instruments,
    *,
    convention: Convention = "twosamplemr",
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Median of the Wald ratios with equal weights; otherwise as `mr_weighted_median`."""
    check_convention(convention)
    used = with_exposure_effect(instruments, 3, "the simple median")
    return _median("simple_median", used, np.ones(len(used)), convention, n_bootstrap, seed)


def _median(
    name: str,
    used: Instruments,
    weight: FloatArray,
    convention: Convention,
    n_bootstrap: int,
    seed: int,
) -> Estimate:
    used = used.oriented()  # so that the seed gives one se whichever allele is counted
    medians = [
        weighted_median(
            (used.beta_outcome + noise[:, 1] * used.se_outcome)
            / (used.beta_exposure + noise[:, 0] * used.se_exposure),
            weight,
        )
        for noise in noise_blocks(n_bootstrap, (2, len(used)), seed)
    ]
    se = float(np.concatenate(medians).std(ddof=1))
    estimate = float(weighted_median(used.beta_outcome / used.beta_exposure, weight))
    return make_estimate(name, used, convention, estimate, se)


def _penalise(weight: FloatArray, ratio: FloatArray) -> FloatArray:
    center = weighted_median(ratio, weight)
    p = stats.chi2.sf(weight * (ratio - center) ** 2, df=1)
    penalised: FloatArray = weight * np.minimum(1.0, PENALTY_FACTOR * p)
    return penalised
