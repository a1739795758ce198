"""How much the estimate depends on one instrument, or on one sequence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr.estimators.convention import Convention
from kipoi_mcdropout.mr.estimators.estimate import Estimate
from kipoi_mcdropout.mr.estimators.methods import CLOSED_FORM, mr_estimate
from kipoi_mcdropout.mr.p_values import with_meaningful_p
from kipoi_mcdropout.mr.pairs.instruments import Instruments

FIELDS = ("n_instruments", "estimate", "se", "ci_lower", "ci_upper", "p")
WITHOUT_NONE = "(none)"


def leave_one_out(
    instruments: Instruments,
    method: str = "ivw",
    *,
    by_sequence: bool = False,
    convention: Convention = "twosamplemr",
) -> pd.DataFrame:
    """Estimates without each instrument in turn, and with all instruments.

    Parameters
    ----------
    instruments : Instruments
    method : str
        One that needs no resampling: "egger", "ivw", "ivw_fixed", "ivw_delta", "debiased_ivw",
        "egger_correlated" or "ivw_correlated".
    by_sequence : bool
        Leave out all mutants of one sequence instead.
    convention : str

    Returns
    -------
    DataFrame
        Columns without, n_instruments, estimate, se, ci_lower, ci_upper, p; the last row has all
        instruments. p is left out where the mutants share draws (`with_meaningful_p`).

    Raises
    ------
    InputError
        Too few instruments to leave one out, or a method that resamples.
    """
    if method not in CLOSED_FORM:
        raise InputError(f"leave-one-out supports the methods {', '.join(CLOSED_FORM)}; got {method!r}.")
    used = instruments.kept()
    groups = used.snp
    if by_sequence:
        if used.sequence is None:
            raise InputError("the sequence of each instrument is required; got none.")
        groups = used.sequence.astype(str)
    if "correlated" not in method:
        used = used.without_draws()
    rows = []
    for name in dict.fromkeys(groups.tolist()):
        rest = used.take(np.flatnonzero(groups != name))
        rows.append(_row(name, mr_estimate(rest, method, convention=convention)))
    rows.append(_row(WITHOUT_NONE, mr_estimate(used, method, convention=convention)))
    return with_meaningful_p(pd.DataFrame(rows), of_draws=instruments.n_draws is not None)


def _row(name: str, estimate: Estimate) -> dict[str, Any]:
    return {"without": name} | {field: getattr(estimate, field) for field in FIELDS}
