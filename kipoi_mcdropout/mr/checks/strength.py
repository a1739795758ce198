"""Instrument strength: F statistics, and I2_GX for MR-Egger."""

from __future__ import annotations

import numpy as np

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.mr.estimators.convention import Convention, check_convention
from kipoi_mcdropout.mr.pairs.correlation import outcome_correlation
from kipoi_mcdropout.mr.pairs.instruments import Instruments


def f_statistics(instruments: Instruments) -> FloatArray:
    """F of each kept instrument, ``(beta_exposure / se_exposure)**2``, shape=(n_kept,).

    With the sd, F says whether the model is sure of the effect; with the mcse, whether there are enough
    draws. F with the mcse is n_draws times F with the sd.
    """
    used = instruments.kept()
    return (used.beta_exposure / used.se_exposure) ** 2


def mean_f(instruments: Instruments, *, correlated: bool = False) -> float:
    """Mean F; with `correlated`, ``z' R**-1 z / n`` of the z and their correlation R."""
    if not correlated:
        return float(f_statistics(instruments).mean())
    used = instruments.kept()
    z = used.beta_exposure / used.se_exposure
    return float(z @ np.linalg.solve(outcome_correlation(used), z) / len(used))


def i2_gx(instruments: Instruments, *, convention: Convention = "twosamplemr") -> float:
    """I2 of the exposure effects: the factor by which their noise reduces MR-Egger's slope.

    Bowden et al., Int J Epidemiol 2016. "twosamplemr": of ``|bx|`` with errors sx.
    "mendelianrandomization": of ``|bx| / sy`` with errors ``sx / sy``. Below 0.9 the slope is more than
    10 % too small. NaN for a single instrument.
    """
    check_convention(convention)
    used = instruments.kept()
    scale = 1.0 if convention == "twosamplemr" else used.se_outcome
    q = _cochran_q(np.abs(used.beta_exposure) / scale, used.se_exposure / scale)
    return max(0.0, (q - (len(used) - 1)) / q) if q > 0 else float("nan")


def _cochran_q(values: FloatArray, se: FloatArray) -> float:
    weight = se**-2.0
    return float((weight * (values - (weight * values).sum() / weight.sum()) ** 2).sum())
