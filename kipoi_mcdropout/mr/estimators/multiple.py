"""Several pairs of exposure and outcome in one table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from kipoi_mcdropout.effects.false_discovery import benjamini_hochberg
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr.estimate_table import estimates
from kipoi_mcdropout.mr.estimators.convention import Convention
from kipoi_mcdropout.mr.groups.answer import Answer
from kipoi_mcdropout.mr.pairs.instruments import Instruments


def mr_multiple(
    many: Iterable[Instruments],
    methods: Sequence[str] | None = None,
    *,
    convention: Convention = "twosamplemr",
    n_bootstrap: int = 1000,
    seed: int = 0,
    answers: Sequence[Answer] | None = None,
) -> pd.DataFrame:
    """`estimates` of several exposure-outcome pairs, with q-values (Benjamini and Hochberg 1995).

    ``attrs["warnings"]`` has (exposure, outcome, code, message) of every warning, and
    ``attrs["advice"]`` (exposure, outcome, words) of every answer. `answers` are those of `answer` for
    each pair, if they are there already. The column `q_value` adjusts p over the pairs, within each
    method. Pairs that share draws have dependent p-values; the procedure is valid for independent and
    for positively dependent p-values.

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
    ready: Sequence[Answer | None] = answers or [None] * len(pairs)
    tables = [
        estimates(i, methods, answered=a, **options) for i, a in zip(pairs, ready, strict=True)
    ]
    table = pd.concat(tables, ignore_index=True)
    table["q_value"] = table.groupby("method")["p"].transform(_q_values)
    table.attrs["warnings"] = [
        (*name, *warning)
        for name, part in zip(names, tables, strict=True)
        for warning in part.attrs["warnings"]
    ]
    table.attrs["advice"] = [
        (*name, part.attrs["advice"]) for name, part in zip(names, tables, strict=True)
    ]
    return table


def _q_values(p: pd.Series) -> pd.Series:
    return pd.Series(benjamini_hochberg(p.to_numpy(np.float64)), p.index)
