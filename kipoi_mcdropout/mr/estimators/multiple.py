"""Several pairs of exposure and outcome in one table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr.estimate_table import estimates
from kipoi_mcdropout.mr.estimators.convention import Convention
from kipoi_mcdropout.mr.pairs.instruments import Instruments


def mr_multiple(
    many: Iterable[Instruments],
    methods: Sequence[str] | None = None,
    *,
    convention: Convention = "twosamplemr",
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """`estimates` of several exposure-outcome pairs, with q-values (Benjamini and Hochberg 1995).

    ``attrs["warnings"]`` has (exposure, outcome, code, message) of every warning. The column `q_value`
    adjusts p over the pairs, within each method. Pairs that share draws have dependent p-values; the
    procedure is valid for independent and for positively dependent p-values.

    Raises
    ------
    InputError
        No pair, the same pair twice, or what `estimates` refuses.
    """
    pairs = list(many)
    names = [(i.exposure, i.outcome) for i in pairs]
    if not pairs or len(set(names)) < len(names):
        raise InputError(f"different pairs of exposure and outcome are required; got {names}.")
    options: dict[str, Any] = {"convention": convention, "n_bootstrap": n_bootstrap, "seed": seed}
    tables = [estimates(i, methods, **options) for i in pairs]
    table = pd.concat(tables, ignore_index=True)
    table["q_value"] = table.groupby("method")["p"].transform(_benjamini_hochberg)
    table.attrs["warnings"] = [
        (*name, *warning)
        for name, part in zip(names, tables, strict=True)
        for warning in part.attrs["warnings"]
    ]
    return table


def _benjamini_hochberg(p: pd.Series) -> pd.Series:
    q = p.copy()
    given = p.notna()
    if given.any():
        q[given] = multipletests(p[given].to_numpy(), method="fdr_bh")[1]
    q_values: pd.Series = q.astype(np.float64)
    return q_values
