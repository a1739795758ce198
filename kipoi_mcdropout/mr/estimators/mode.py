"""Mode-based estimates (Hartwig, Davey Smith and Bowden, Int J Epidemiol 2017)."""

from __future__ import annotations

import numpy as np

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr.estimators.convention import Convention, check_convention
from kipoi_mcdropout.mr.estimators.estimate import Estimate, make_estimate
from kipoi_mcdropout.mr.estimators.points import mad, mode
from kipoi_mcdropout.mr.estimators.ratio import ratio_se, with_exposure_effect
from kipoi_mcdropout.mr.estimators.resampling import noise_blocks
from kipoi_mcdropout.mr.pairs.instruments import Instruments


def mr_weighted_mode(
    instruments: Instruments,
    *,
    convention: Convention = "twosamplemr",
    bandwidth_factor: float = 1.0,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Peak of the smoothed density of the Wald ratios, weighted by their inverse variances.

    Right if the largest group of instruments with the same ratio is valid.

    Parameters
    ----------
    instruments : Instruments
    convention : str
        p and interval from t(n - 1) in "twosamplemr", from the normal in "mendelianrandomization".
    bandwidth_factor : float
        Multiplies the bandwidth rule; ``phi`` of the R packages.
    n_bootstrap, seed : int
        The standard error is the scaled median absolute deviation of this many modes of ratios
        drawn anew from normals with their second-order standard errors.

    Raises
    ------
    InputError
        Fewer than 3 instruments, or one with an exposure effect of 0.
    """
    used = with_exposure_effect(instruments, 3, "the weighted mode")
    weight = ratio_se(used, "second_order") ** -2.0
    return _mode("weighted_mode", used, weight, convention, bandwidth_factor, n_bootstrap, seed)


def mr_simple_mode(
    instruments: Instruments,
    *,
    convention: Convention = "twosamplemr",
    bandwidth_factor: float = 1.0,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Peak of the density of the Wald ratios with equal weights; otherwise as `mr_weighted_mode`."""
    used = with_exposure_effect(instruments, 3, "the simple mode")
    weight = np.ones(len(used))
    return _mode("simple_mode", used, weight, convention, bandwidth_factor, n_bootstrap, seed)


def _mode(
    name: str,
    used: Instruments,
    weight: FloatArray,
    convention: Convention,
    bandwidth_factor: float,
    n_bootstrap: int,
    seed: int,
) -> Estimate:
    check_convention(convention)
    if not bandwidth_factor > 0:
        raise InputError(f"bandwidth_factor must be positive; got {bandwidth_factor}.")
    ratio = used.beta_outcome / used.beta_exposure
    ratio_error = ratio_se(used, "second_order")
    modes = [
        mode(ratio + noise * ratio_error, weight, bandwidth_factor)
        for noise in noise_blocks(n_bootstrap, (len(used),), seed)
    ]
    se = float(mad(np.concatenate(modes)))
    estimate = float(mode(ratio, weight, bandwidth_factor))
    df = len(used) - 1 if convention == "twosamplemr" else None
    return make_estimate(name, used, convention, estimate, se, df)
