"""Cochran's Q and I2 of the instruments about the fitted line."""

from __future__ import annotations

import pandas as pd

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr.egger import mr_egger
from kipoi_mcdropout.mr.estimate import Estimate
from kipoi_mcdropout.mr.instruments import Instruments
from kipoi_mcdropout.mr.ivw import mr_ivw

COLUMNS = ("method", "n_instruments", "q", "q_df", "q_p", "i2", "residual_se")


def heterogeneity(instruments: Instruments, *, correlated: bool = False) -> pd.DataFrame:
    """Q about the IVW line, and with 3 instruments or more about MR-Egger's.

    Q is about the number of instruments when they scatter as their standard errors say. With
    `se_type` "sd" it is small by construction, since the scatter of means over draws is that of the
    mcse: for a test of heterogeneity use "mcse".

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
    return pd.DataFrame([{name: getattr(r, name) for name in COLUMNS} for r in results])


def scatter_beyond_draws(instruments: Instruments, alpha: float = 0.05) -> Estimate | None:
    """MR-Egger's fit with mcse, if mutants scatter about it more than their draws explain.

    That is if its Q has a p below `alpha`. None if not, or if the number of draws is not known.
    """
    if instruments.se_type is None or instruments.n_draws is None or instruments.n_kept < 3:
        return None
    try:
        fit = mr_egger(instruments.with_se_type("mcse"))
    except InputError:
        return None
    return fit if fit.q_p is not None and fit.q_p < alpha else None
