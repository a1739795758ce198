"""Tables of Mendelian randomization."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from kipoi_mcdropout.reports.mr import MrFacts
from kipoi_mcdropout.reports.mr_words import method_words
from kipoi_mcdropout.reports.numbers import decimals
from kipoi_mcdropout.reports.tables import (
    Cell,
    Column,
    Table,
    build,
    counts,
    interval_cells,
    numbers,
    p_values,
    prose,
    text,
)

_INTERVAL = "95 % interval"


def estimates_table(facts: MrFacts) -> Table:
    """A row per method."""
    rows = facts.estimates
    columns = [
        text("Method", rows["words"]),
        counts("Mutations", rows["n_instruments"]),
        *_estimate(rows),
        p_values(
            "p",
            rows["p"],
            "Two-sided, for a slope of 0. Only of bootstraps: the other methods take mutations that "
            "share their draws as independent",
        ),
    ]
    if "intercept" in rows and rows["intercept"].notna().any():
        columns.append(
            numbers(
                "Intercept",
                rows["intercept"],
                decimals([], spread=rows["intercept_se"].dropna()),
                "MR-Egger's estimate of the average effect on the outcome that does not go through the "
                "exposure",
            )
        )
    if "intercept_p" in rows and rows["intercept_p"].notna().any():
        columns.append(p_values("p of intercept", rows["intercept_p"]))
    if "q_p" in rows and rows["q_p"].notna().any():
        hint = "Cochran's Q: do the instruments agree on one slope?"
        columns.append(p_values("p of Q", rows["q_p"], hint))
    if "q_value" in rows and rows["q_value"].notna().any():
        columns.append(p_values("q", rows["q_value"], "Benjamini and Hochberg, over the outcomes"))
    columns.append(
        text("From", rows["distribution"], "The distribution that interval and p are based on")
    )
    if "note" in rows and rows["note"].notna().any():
        columns.append(prose("Note", rows["note"]))
    caption = f"Slope of {facts.outcome} on {facts.exposure}"
    table = build(caption, columns)
    shown = None if facts.shown is None else facts.shown["method"]
    return replace(
        table, row_attributes=[{"current": "yes"} if m == shown else {} for m in rows["method"]]
    )


def members_table(facts: MrFacts) -> Table:
    """Each mutant with its ratio and group."""
    rows = facts.members.sort_values(["group", "ratio"], kind="stable").reset_index(drop=True)
    columns = [
        text("Mutation", rows["SNP"]),
        text("Group", rows["group"].fillna("")),
        numbers(
            "Ratio", rows["ratio"], decimals(rows["ratio"].dropna()), "Outcome effect / exposure effect"
        ),
        numbers("Probability", rows["group_probability"], 2, "That the mutation belongs to its group"),
    ]
    return build("Mutations by group", columns)


def across_table(facts: MrFacts) -> Table:
    """A row per sequence, and their combination."""
    rows = facts.across
    columns = [
        text("Sequence", rows["sequence"]),
        counts("Instruments", rows["n_instruments"]),
        *_estimate(rows),
        *_p(rows),
    ]
    if "note" in rows and rows["note"].notna().any():
        columns.append(prose("Note", rows["note"]))
    methods = [method_words(str(m)) for m in rows["method"].dropna().unique()]
    return build(f"{', '.join(methods) or 'Slopes'} within each sequence", columns)


def movers_table(facts: MrFacts) -> Table:
    """The mutants that change the IVW estimate most."""
    rows = facts.movers
    places = _places(rows)
    columns = [
        text("Without", rows["without"]),
        numbers("Change", rows["change"], places),
        *_estimate(rows, around=float(rows["whole"].iloc[0])),
        *_p(rows),
    ]
    caption = (
        f"IVW without one mutant: the {len(rows)} mutants, of {facts.n_left_out}, that change it most"
    )
    return build(caption, columns)


def _p(rows: pd.DataFrame) -> list[tuple[Column, list[Cell]]]:
    """p, where any row has one: tables lack those that mean nothing."""
    return [p_values("p", rows["p"])] if rows["p"].notna().any() else []


def _places(rows: pd.DataFrame) -> int | None:
    return decimals([], spread=rows["se"].dropna())


def _estimate(rows: pd.DataFrame, around: float = 0.0) -> list[tuple[Column, list[Cell]]]:
    """Estimate, se and interval, drawn beside a line at `around`."""
    places = _places(rows)
    lower, middle, upper = (list(rows[n]) for n in ("ci_lower", "estimate", "ci_upper"))
    return [
        numbers("Slope", rows["estimate"], places),
        numbers("se", rows["se"], places),
        numbers("Lower", rows["ci_lower"], places, _INTERVAL),
        numbers("Upper", rows["ci_upper"], places, _INTERVAL),
        (Column(_INTERVAL, "interval"), interval_cells(lower, middle, upper, around)),
    ]
