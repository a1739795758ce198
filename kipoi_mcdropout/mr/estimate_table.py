"""A tidy table of estimates: one row per method, with its warnings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr.checks.diagnose import diagnose
from kipoi_mcdropout.mr.checks.strength import i2_gx, mean_f
from kipoi_mcdropout.mr.estimators.convention import Convention, check_convention
from kipoi_mcdropout.mr.estimators.methods import METHODS, mr_estimate
from kipoi_mcdropout.mr.groups.answer import Answer, answer
from kipoi_mcdropout.mr.p_values import with_meaningful_p
from kipoi_mcdropout.mr.pairs.instruments import Instruments

DRAWS_METHODS = (
    "ivw_bootstrap_draws",
    "ivw_bootstrap_both",
    "ivw_robust_bootstrap_both",
    "egger_bootstrap_both",
    "conmix_bootstrap_both",
    "weighted_median_bootstrap_both",
    "weighted_mode_bootstrap_both",
)
SUMMARY_METHODS = ("ivw", "ivw_robust", "egger", "conmix", "weighted_median", "weighted_mode")
GROUP = "group_"


def default_methods(instruments: Instruments) -> tuple[str, ...]:
    """Bootstraps over draws first where there are draws, then the usual ones on summaries."""
    return (DRAWS_METHODS if instruments.draws_exposure is not None else ()) + SUMMARY_METHODS


def estimates(
    instruments: Instruments,
    methods: Sequence[str] | None = None,
    *,
    convention: Convention = "twosamplemr",
    n_bootstrap: int = 1000,
    seed: int = 0,
    answered: Answer | None = None,
) -> pd.DataFrame:
    """Estimates by several methods, with the one answer that they give together.

    Parameters
    ----------
    instruments : Instruments
    methods : sequence of str, optional
        Of `METHODS`; by default `default_methods`, after a row for each group of mutants
        ("group_1", ...) where there is more than one, or where some mutants are in none.
    convention, n_bootstrap, seed
        As in `mr_estimate`.
    answered : Answer, optional
        Of `answer`, if it is there already.

    Returns
    -------
    DataFrame
        `answer` (the kind of the `Answer`, the same in every row), `shown` (True in the row of the
        number to show first; nowhere if there is none), the fields of `Estimate`, then n_draws, f_mean,
        i2_gx, `warnings` (codes of `diagnose`, joined by ";"; the messages are in
        ``attrs["warnings"]``), `note` (why a method gave no number) and `advice`: the answer in words.
        A p that means nothing is left out, and none is 0; see `with_meaningful_p`.

    Raises
    ------
    InputError
        An unknown method or convention, or no method that can be computed.
    """
    check_convention(convention)
    names = default_methods(instruments) if methods is None else tuple(methods)
    unknown = [name for name in names if name not in METHODS]
    if unknown or not names:
        raise InputError(f"methods must be among {', '.join(METHODS)}; got {unknown or 'none'}.")
    options = {"convention": convention, "n_bootstrap": n_bootstrap, "seed": seed}
    rows = [_row(instruments, name, options) for name in names]
    if all(row["note"] for row in rows):
        raise InputError(rows[0]["note"])
    if answered is None:
        answered = answer(instruments, n_bootstrap=n_bootstrap, seed=seed)
    rows = _with_answer(rows, answered, methods is None)
    correlated = any("correlated" in name for name in names)
    warnings = diagnose(instruments, convention=convention, correlated=correlated)
    table: pd.DataFrame = pd.DataFrame(rows)
    note, shown = table.pop("note"), table.pop("shown")
    table.insert(0, "shown", shown)
    table.insert(0, "answer", answered.kind)
    table = table.assign(
        n_draws=instruments.n_draws,
        f_mean=mean_f(instruments),
        i2_gx=i2_gx(instruments, convention=convention),
        warnings=";".join(w.code for w in warnings),
        note=note,
        advice=answered.words,
    )
    table = with_meaningful_p(table)
    table.attrs["warnings"] = [tuple(w) for w in warnings]
    table.attrs["advice"] = answered.words
    return table


def _with_answer(
    rows: list[dict[str, Any]], answered: Answer, with_groups: bool
) -> list[dict[str, Any]]:
    """The row to show first is marked and comes first; where there is none, the groups do."""
    shown = answered.shown
    for row in rows:
        same = shown is not None and (row["method"], row["n_instruments"])
        row["shown"] = shown is not None and same == (shown.method, shown.n_instruments)
    if with_groups and not any(row["shown"] for row in rows) and answered.groups is not None:
        first = [(g.estimate, f"{GROUP}{g.name}") for g in answered.groups.groups]
        if shown is not None:
            whole = shown.n_instruments == len(answered.groups.table)
            first = [(shown, shown.method if whole else f"{GROUP}1")]
        added = [e.as_dict() | {"method": n, "note": "", "shown": e is shown} for e, n in first]
        rows = added + rows
    return sorted(rows, key=lambda row: not row["shown"])


def _row(instruments: Instruments, method: str, options: dict[str, Any]) -> dict[str, Any]:
    try:
        return mr_estimate(instruments, method, **options).as_dict() | {"note": ""}
    except InputError as error:
        return {
            "method": method,
            "convention": options["convention"],
            "exposure": instruments.exposure,
            "outcome": instruments.outcome,
            "n_instruments": instruments.n_kept,
            "se_type": instruments.se_type,
            "note": str(error),
        }
