"""Facts about the tables of `kipoi mcdropout evaluate`: predicted against measured effects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from kipoi_mcdropout.reports.inputs import Inputs
from kipoi_mcdropout.reports.numbers import decimals
from kipoi_mcdropout.reports.tables import (
    Column,
    Table,
    build,
    counts,
    interval_cells,
    numbers,
    prose,
)
from kipoi_mcdropout.significance.evaluation_words import ORDER_WORDS, WARNING_WORDS, sentences

_WORDS = {
    "pearson": "Pearson's correlation",
    "spearman": "Spearman's correlation",
    "sign_accuracy": "share of right signs",
    "auprc": "auPRC",
    "label_share": "auPRC of a random order",
    "area_sign_error": "area under the curve of sign errors",
    "area_squared_error": "area under the curve of squared errors",
    "mean_squared_error": "mean squared error",
}


@dataclass(frozen=True)
class EvaluationFacts:
    """One comparison with measured effects.

    Attributes
    ----------
    name : str
        Output and score, and the file where several have these.
    rows : DataFrame
        As `evaluate` wrote them.
    sentences : list of str
        Whether the orders differ.
    warnings : list of (code, words)
    """

    name: str
    rows: pd.DataFrame
    sentences: list[str]
    warnings: list[tuple[str, str]]

    @property
    def n(self) -> int:
        """Variants that were compared."""
        return int(self.rows["n"].max())


def gather_evaluations(inputs: Inputs) -> list[EvaluationFacts]:
    """A record per table of `evaluate`, in the order given."""
    found = []
    names = [_name(table) for _, table in inputs.tables.get("evaluation", [])]
    for name, (path, table) in zip(names, inputs.tables.get("evaluation", []), strict=True):
        rows = table.assign(order=table["order"].fillna(""), minus=table["minus"].fillna(""))
        codes = _constant(table, "cautions").split(";")
        warnings = [(code, WARNING_WORDS.get(code, "")) for code in codes if code]
        shown = f"{name} ({path.name})" if names.count(name) > 1 else name
        found.append(EvaluationFacts(shown, rows, sentences(rows), warnings))
    return found


def evaluation_table(facts: EvaluationFacts) -> Table:
    """A row per number that is no point of a curve, differences last."""
    rows = pd.DataFrame(_chosen(facts.rows))
    lower, middle, upper = (list(rows[name]) for name in ("lower", "value", "upper"))
    places = decimals([], spread=(rows["upper"] - rows["lower"]).dropna())
    level = f"{100 * rows['level'].iloc[0]:.3g} % interval"
    return build(
        f"Predicted and measured effects: {facts.name}",
        [
            prose("Number", [_words(row) for _, row in rows.iterrows()]),
            numbers("Value", middle, places),
            numbers("Lower", lower, places, level),
            numbers("Upper", upper, places, level),
            (Column(level, "interval"), interval_cells(lower, middle, upper, 0.0)),
            counts("Variants", rows["n"]),
        ],
    )


def _chosen(rows: pd.DataFrame) -> Iterator[pd.Series]:
    """Rows of all variants; of a share only those that orders are compared in."""
    compared = set(rows.loc[rows["minus"] != "", "coverage"])
    for is_difference in (False, True):
        for _, row in rows[(rows["minus"] != "") == is_difference].iterrows():
            repeats = row["order"] != "" and row["coverage"] == 1 and _is_curve(rows, row["quantity"])
            if row["quantity"].endswith("squared_error") or repeats:
                continue  # on a scale of its own; or the same for all orders
            if row["coverage"] in compared | {1.0}:
                yield row


def _is_curve(rows: pd.DataFrame, quantity: str) -> bool:
    return bool((rows.loc[rows["quantity"] == quantity, "coverage"] < 1).any())


def _words(row: pd.Series) -> str:
    words: str = _WORDS.get(row["quantity"], str(row["quantity"]))
    if row["coverage"] < 1:
        words += f", most certain {100 * row['coverage']:.3g} %"
    if row["order"]:
        words += f", by {ORDER_WORDS.get(row['order'], row['order'])}"
    if row["minus"]:
        words = f"Difference: {words} minus by {ORDER_WORDS.get(row['minus'], row['minus'])}"
    return words if words.startswith("auPRC") else words[0].upper() + words[1:]


def _name(table: pd.DataFrame) -> str:
    parts = [_constant(table, "target"), _constant(table, "score")]
    return ", ".join(part for part in parts if part) or "effects"


def _constant(table: pd.DataFrame, column: str) -> str:
    """What a column has in all rows; "" where it is not there or empty."""
    if column not in table or not len(table) or pd.isna(table[column].iloc[0]):
        return ""
    return str(table[column].iloc[0])
