"""Which p-values of tables mean something.

The formulas of IVW, MR-Egger, medians, modes, Cochran's Q and others take mutants as independent.
Mutants whose effects come from draws share these draws: hundreds of them then give a p of 1e-200 for one
piece of evidence. Such p-values are left out of tables. Those of bootstraps over draws stay, because
they take the shared draws into account.
"""

from __future__ import annotations

import pandas as pd

LEAST_P = 1e-300  # below this a float64 keeps too little
OF_SLOPE = ("p", "q_value")
OF_CHECKS = ("intercept_p", "q_p")
_RESAMPLED = "_bootstrap_|^group_"  # in the column "method"


def with_meaningful_p(table: pd.DataFrame, *, of_draws: bool | None = None) -> pd.DataFrame:
    """The table without p-values that mean nothing, and with `LEAST_P` for those that are smaller.

    Parameters
    ----------
    table : DataFrame
        With some of the columns p, q_value, intercept_p and q_p; "method" says what is a bootstrap.
    of_draws : bool, optional
        Whether the effects come from draws; by default where the column "n_draws" has a number.
    """
    shared = table["n_draws"].notna() if of_draws is None else pd.Series(of_draws, table.index)
    resampled = pd.Series(False, table.index)
    if "method" in table:
        resampled = table["method"].astype(str).str.contains(_RESAMPLED)
    changed = {n: table[n].where(resampled | ~shared) for n in OF_SLOPE if n in table}
    changed |= {n: table[n].where(~shared) for n in OF_CHECKS if n in table}
    floored = {n: p.astype(float).clip(lower=LEAST_P) for n, p in changed.items()}
    found: pd.DataFrame = table.assign(**floored)
    return found
