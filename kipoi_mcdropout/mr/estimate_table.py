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
from kipoi_mcdropout.mr.pairs.instruments import Instruments

DRAWS_METHODS = ("egger_bootstrap_draws", "egger_bootstrap_both", "ivw_bootstrap_draws")
SUMMARY_METHODS = ("egger", "ivw", "weighted_median", "weighted_mode")


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
) -> pd.DataFrame:
    """Estimates by several methods.

    Parameters
    ----------
    instruments : Instruments
    methods : sequence of str, optional
        Of `METHODS`; by default `default_methods`.
    convention, n_bootstrap, seed
        As in `mr_estimate`.

    Returns
    -------
    DataFrame
        The fields of `Estimate`, then n_draws, f_mean, i2_gx, `warnings` (codes of `diagnose`,
        joined by ";"; the messages are in ``attrs["warnings"]``) and `note`: why a method gave no
        number.

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
    correlated = any("correlated" in name for name in names)
    warnings = diagnose(instruments, convention=convention, correlated=correlated)
    table: pd.DataFrame = pd.DataFrame(rows)
    note = table.pop("note")
    table = table.assign(
        n_draws=instruments.n_draws,
        f_mean=mean_f(instruments),
        i2_gx=i2_gx(instruments, convention=convention),
        warnings=";".join(w.code for w in warnings),
        note=note,
    )
    table.attrs["warnings"] = [tuple(w) for w in warnings]
    return table


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
