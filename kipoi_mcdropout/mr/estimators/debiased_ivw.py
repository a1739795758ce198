"""IVW without weak-instrument bias (Ye, Shao and Kang, Ann Stat 2021)."""

from __future__ import annotations

import numpy as np

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr.estimators.convention import Convention, check_convention
from kipoi_mcdropout.mr.estimators.estimate import Estimate, make_estimate
from kipoi_mcdropout.mr.pairs.instruments import Instruments


def mr_debiased_ivw(
    instruments: Instruments, *, convention: Convention = "twosamplemr", overdispersion: bool = True
) -> Estimate:
    """IVW whose denominator is corrected for the error of the exposure effects.

    ``sum(bx by / sy**2) / sum((bx**2 - sx**2) / sy**2)``. The correction is right where se_exposure
    is the error of beta_exposure as an estimate: for draws that is the mcse. With `sd` it
    over-corrects.

    Parameters
    ----------
    instruments : Instruments
    convention : str
        Recorded only; it makes no difference.
    overdispersion : bool
        Allow for balanced pleiotropy of constant variance.

    Raises
    ------
    InputError
        Fewer than 2 instruments, or instruments so weak that the denominator is not positive.
    """
    check_convention(convention)
    used = instruments.kept(2, "debiased IVW")
    bx, by, sx, sy = used.beta_exposure, used.beta_outcome, used.se_exposure, used.se_outcome
    weight = sy**-2.0
    strength = (weight * (bx**2 - sx**2)).sum()
    if strength <= 0:
        raise InputError(
            "debiased IVW requires a mean F above 1; these instruments are too weak. "
            "Select stronger ones, or use more draws and se_type='mcse'."
        )
    slope = (weight * bx * by).sum() / strength
    pleiotropy = (weight * ((by - slope * bx) ** 2 - sy**2 - slope**2 * sx**2)).sum() / weight.sum()
    tau2 = max(0.0, pleiotropy) if overdispersion else 0.0
    noise = slope**2 * sx**2 * weight  # error of the exposure, in units of the outcome's variance
    variance = (weight * bx**2 * (1 + tau2 * weight) + noise * weight * (bx**2 + sx**2)).sum()
    return make_estimate("debiased_ivw", used, convention, slope, np.sqrt(variance) / strength)
