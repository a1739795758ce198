"""Cochran's Q and I2 of the instruments about the fitted line."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr.estimators.egger import mr_egger
from kipoi_mcdropout.mr.estimators.estimate import Estimate
from kipoi_mcdropout.mr.estimators.ivw import mr_ivw
from kipoi_mcdropout.mr.pairs.instruments import ZERO_VARIANCE_RTOL, Instruments
from kipoi_mcdropout.mr.pairs.spread import spread_of_draws

COLUMNS = ("method", "n_instruments", "q", "q_df", "q_p", "i2", "residual_se")


def heterogeneity(instruments: Instruments, *, correlated: bool = False) -> pd.DataFrame:
    """Q about the IVW line, and with 3 instruments or more about MR-Egger's.

    Q is about the number of instruments if they scatter as much as their standard errors say. With
    `se_type` "sd" it is always small, because means over draws scatter only by their mcse: use "mcse"
    for a test of heterogeneity.

    Returns
    -------
    DataFrame
        Columns method, n_instruments, q, q_df, q_p, i2 (in [0, 1]), residual_se.

    Raises
    ------
    InputError
        Fewer than 2 instruments.
    """
    results: list[Estimate] = [mr_ivw(instruments, correlated=correlated)]
    if instruments.n_kept >= 3:
        results.append(mr_egger(instruments, correlated=correlated))
    table: pd.DataFrame = pd.DataFrame([{name: getattr(r, name) for name in COLUMNS} for r in results])
    return table


class Scatter(NamedTuple):
    """Cochran's Q of mutants about MR-Egger's line, compared with the error of their means."""

    q: float
    df: int
    p: float


def scatter_about_line(instruments: Instruments) -> Scatter | None:
    """Whether mutants scatter about MR-Egger's line more than the error of their means explains.

    The error of a mutant's distance from the line is that of ``y - slope * x``: over its draws where
    there are draws, else taken as ``sy**2 + slope**2 sx**2`` with mcse. Correlation between mutants
    is ignored; it makes Q vary more, so do not rely on a p near the limit.

    Returns
    -------
    Scatter or None
        None where the number of draws is not known, or MR-Egger cannot be fitted.
    """
    if instruments.se_type is None or instruments.n_draws is None:
        return None
    try:
        fit = mr_egger(instruments.with_se_type("mcse"))
    except InputError:
        return None
    used = instruments.with_se_type("mcse").kept().oriented()
    residual = used.beta_outcome - fit.estimate * used.beta_exposure - (fit.intercept or 0.0)
    variance = used.se_outcome**2 + (fit.estimate * used.se_exposure) ** 2
    if used.draws_exposure is not None and used.draws_outcome is not None:
        distance = used.draws_outcome - fit.estimate * used.draws_exposure
        variance = spread_of_draws(distance, used.n_members, of_mean=True) ** 2
    # A line that all draws follow leaves rounding noise, which is not scatter.
    variance = np.maximum(variance, (ZERO_VARIANCE_RTOL * used.se_outcome) ** 2)
    q, df = float(np.sum(residual**2 / variance)), len(used) - 2
    return Scatter(q, df, float(stats.chi2.sf(q, df)))
