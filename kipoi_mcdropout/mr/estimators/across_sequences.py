"""One estimate per sequence, combined by meta-analysis."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr.estimators.convention import Convention
from kipoi_mcdropout.mr.estimators.meta import MetaMethod, MetaResult, combine_table
from kipoi_mcdropout.mr.estimators.methods import METHODS, mr_estimate
from kipoi_mcdropout.mr.pairs.instruments import Instruments


class SequencesResult(NamedTuple):
    """Combined estimate, and the estimate of each sequence in a row."""

    combined: MetaResult
    table: pd.DataFrame


def mr_across_sequences(
    instruments: Instruments,
    method: str = "egger",
    *,
    meta_method: MetaMethod = "REML",
    hartung_knapp: bool = False,
    convention: Convention = "twosamplemr",
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> SequencesResult:
    """Estimate within each sequence, then combine over sequences.

    Slopes may differ between sequences: `tau2` is their variance, and the prediction interval says where
    the slope of a new sequence is expected. Sequences with too few instruments are in the table with a
    `note`, but are not combined.

    Parameters
    ----------
    instruments : Instruments
        With `sequence`.
    method, convention, n_bootstrap, seed
        As in `mr_estimate`.
    meta_method : "REML", "DL", "PM" or "FE"
    hartung_knapp : bool
        As in `combine`.

    Raises
    ------
    InputError
        Unknown method, no sequences, or fewer than 2 that give an estimate.
    """
    if method not in METHODS:
        raise InputError(f"method must be one of {', '.join(METHODS)}; got {method!r}.")
    rows = []
    for name, part in instruments.by_sequence().items():
        row: dict[str, object] = {"sequence": name, "n_instruments": part.n_kept, "note": ""}
        try:
            estimate = mr_estimate(
                part, method, convention=convention, n_bootstrap=n_bootstrap, seed=seed
            )
            row |= estimate.as_dict()
        except InputError as error:
            row["note"] = str(error)
        rows.append(row)
    table = pd.DataFrame(rows)
    usable = table[table["note"] == ""]
    if len(usable) < 2:
        raise InputError(
            f"a meta-analysis requires at least 2 sequences with an estimate; {len(usable)} of "
            f"{len(table)} have one. The first reason is: "
            f"{next((n for n in table['note'] if n), 'only one sequence')}"
        )
    combined = combine_table(usable, meta_method, hartung_knapp=hartung_knapp)
    return SequencesResult(combined, table)
