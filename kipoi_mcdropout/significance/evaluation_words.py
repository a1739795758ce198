"""What an evaluation found, in words, and what to know before its numbers are used."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from kipoi_mcdropout.significance.cautions import Caution
from kipoi_mcdropout.significance.evaluation_sample import Sample

ORDER_WORDS = {
    "effect": "|effect|",
    "z": "|z|",
    "sd": "sd",
    "sign": "P(sign)",
    "small": "small |effect|",
}
# Differences that are said in words, and of which orders: the sd by itself is about the size of errors.
_SAID = {
    "sign_accuracy": ("sign accuracy", ("z", "sd", "sign")),
    "auprc": ("auPRC", ("z", "sd", "sign")),
    "mean_squared_error": ("mean squared error", ("sd",)),
}
# What each caution means, without the numbers of a case.
WARNING_WORDS = {
    "negative_correlation": "Measured effects fall where predicted ones rise.",
    "no_correlation": "No correlation of measured and predicted effects is visible.",
    "few_clusters": "There are so few clusters of variants that the intervals are too short.",
    "no_places": "Neighbours are not known: each variant was drawn alone in the bootstrap.",
    "mostly_zero": "More than half of the predicted effects are 0.",
    "few_labels": "Very few variants have the rarer label.",
}
FEW_CLUSTERS = 20
FEW_LABELS = 10


def sentences(table: pd.DataFrame) -> list[str]:
    """Whether each order of an evaluation's table differs from the order that needs no draws.

    Parameters
    ----------
    table : DataFrame
        `EvaluationResult.table`, also as it is read from a file.
    """
    minus = table["minus"].fillna("").astype(str)
    found = []
    for quantity, (what, orders) in _SAID.items():
        chosen = (table["quantity"] == quantity) & (minus != "") & table["order"].isin(orders)
        for _, row in table[chosen].iterrows():
            same = (
                (table["quantity"] == quantity) & (table["coverage"] == row["coverage"]) & (minus == "")
            )
            old, new = (
                float(table.loc[same & (table["order"] == order), "value"].iloc[0])
                for order in (row["minus"], row["order"])
            )
            where = _most_certain(row["coverage"]) if row["coverage"] < 1 else ""
            found.append(_sentence(row, f"{what}{where}", old, new))
    return found


def _sentence(row: pd.Series, what: str, old: float, new: float) -> str:
    order, other = ORDER_WORDS[row["order"]], ORDER_WORDS[row["minus"]]
    before, after, lower, upper = (
        f"{value:.3g}" if abs(value) < 1e-3 and value else f"{value:.3f}"
        for value in (old, new, row["lower"], row["upper"])
    )
    between = f"{lower} to {upper}" if np.isfinite(row["lower"]) else "not known"
    interval = f"{100 * row['level']:.3g} % interval of the difference {between}"
    begin = f"Ordering by {order} instead of {other}"
    if row["lower"] > 0 or row["upper"] < 0:
        verb = "raises" if row["lower"] > 0 else "lowers"
        return f"{begin} {verb} {what} from {before} to {after} ({interval})."
    return f"{begin} does not clearly change {what}: {before} and {after} ({interval})."


def _most_certain(coverage: float) -> str:
    if coverage == 0.5:
        return " in the most certain half"
    return f" in the most certain {100 * coverage:.3g} %"


def cautions_of(table: pd.DataFrame, sample: Sample) -> Iterator[Caution]:
    """What to know of an evaluation."""
    yield from _of_correlation(table)
    if sample.n_clusters < FEW_CLUSTERS:
        yield Caution(
            "few_clusters",
            f"the intervals come from {sample.n_clusters} clusters of variants; with fewer than "
            f"{FEW_CLUSTERS} they are too short.",
        )
    if not sample.has_places:
        yield Caution(
            "no_places",
            "names of variants do not have the form chrom:pos:ref:alt, so neighbours are not known and "
            "each variant is drawn alone. If they lie near each other, the intervals are too short. "
            "Give a column of clusters.",
        )
    zero = float((sample.mean == 0).mean())
    if zero > 0.5:
        yield Caution(
            "mostly_zero",
            f"the predicted effect of {100 * zero:.0f} % of the variants is 0. They count half in the "
            "sign accuracy, and an order by sd puts them first.",
        )
    if sample.labels is not None:
        fewer = int(min(sample.labels.sum(), (~sample.labels).sum()))
        if fewer < FEW_LABELS:
            yield Caution(
                "few_labels", f"only {fewer} variants have the rarer label: auPRC is not exact."
            )


def _of_correlation(table: pd.DataFrame) -> Iterator[Caution]:
    rows = table[table["quantity"] == "spearman"]
    for _, row in rows.iterrows():
        words = f"Spearman {row['value']:.3f}, interval {row['lower']:.3f} to {row['upper']:.3f}"
        if row["upper"] < 0:
            yield Caution(
                "negative_correlation",
                f"measured effects fall where predicted ones rise ({words}). Are REF and ALT exchanged "
                "in one of the tables? Is this the right output?",
            )
        elif not row["lower"] > 0:
            yield Caution(
                "no_correlation",
                f"no correlation of measured and predicted effects is visible ({words}).",
            )
