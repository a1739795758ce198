"""The figure of an evaluation: curves and points are the rows of the table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from readable import by_gid, legend_labels, notes

from kipoi_mcdropout.plots import plot_evaluation, style
from kipoi_mcdropout.significance.evaluation import EvaluationOptions, evaluate

N = 200


@pytest.fixture(scope="module")
def measured() -> tuple[pd.DataFrame, pd.DataFrame]:
    random = np.random.default_rng(0)
    names = [f"chr1:{i}:A:C" for i in range(N)]
    mean, sd = random.normal(size=N), random.uniform(0.2, 2, N)
    effect = mean + sd * random.normal(size=N)
    predicted = pd.DataFrame({"variant": names, "effect_mean": mean, "effect_sd": sd})
    return predicted, pd.DataFrame({"variant": names, "effect": effect, "large": np.abs(effect) > 1})


def test_curves_and_differences_are_those_of_the_table(
    measured: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    table = evaluate(*measured, label="large", options=EvaluationOptions(n_bootstrap=100)).table
    panels = plot_evaluation(table)
    curves = panels["orders"]
    assert legend_labels(curves) == ["by |effect|", "by |z|", "by sd"]  # no draws' signs, no P(sign)
    for order in ("effect", "z", "sd"):
        rows = table[(table.quantity == "sign_accuracy") & (table.order == order) & (table.minus == "")]
        (line,) = by_gid(curves, order)
        assert_allclose(line.get_xdata(), rows["coverage"])
        assert_allclose(line.get_ydata(), rows["value"])
    assert len(by_gid(curves, "band")) == 1
    assert f"{N} variants" in notes(curves)
    differences = panels["differences"]
    rows = table[(table.minus != "") & table.quantity.isin(["sign_accuracy", "auprc"])]
    names = [label.get_text() for label in differences.get_yticklabels()]
    assert names == ["sign accuracy, |z|", "sign accuracy, sd", "auPRC, |z|", "auPRC, sd"]
    bars = differences.containers
    assert_allclose([bar.lines[0].get_xdata()[0] for bar in bars], rows["value"])
    for bar, (_, row) in zip(bars, rows.iterrows(), strict=True):
        assert_allclose(bar.lines[2][0].get_segments()[0][:, 0], [row["lower"], row["upper"]])
    assert "most certain 50 %" in notes(differences)


def test_labels_alone(measured: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    predicted, labels = measured[0], measured[1].drop(columns="effect")
    table = evaluate(predicted, labels, label="large", options=EvaluationOptions(n_bootstrap=100)).table
    panels = plot_evaluation(table, ax=style.new_axes(style.PAGE_MM))
    (chance,) = by_gid(panels["orders"], "chance")
    assert chance.get_xdata()[0] == labels["large"].mean()
    values = [bar.lines[0].get_xdata()[0] for bar in panels["orders"].containers]
    assert_allclose(values, table[(table.quantity == "auprc") & (table.minus == "")]["value"])
