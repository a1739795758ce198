"""What the figures look like.

Each kind was rendered to PNG from results of the example model (8 sequences of 500 bp, 30 draws, and
its VCF) at the width it is printed in, and looked at; the docstrings say for what. The tests check by
machine what a machine can see: no text clipped, smaller than 5 pt or on top of another, no legend over
a panel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from plot_tables import ism_table, vcf_table
from readable import check_readable
from test_plots_mr import instruments

from kipoi_mcdropout import plots
from kipoi_mcdropout.plots import style
from kipoi_mcdropout.plots.save import figure_of
from kipoi_mcdropout.significance.calibration import calibrate
from kipoi_mcdropout.significance.evaluation import EvaluationOptions, evaluate

LONG = "wgEncodeAwgDnaseUwdukeGm12878UniPk_replicate_1.narrowPeak"


def big() -> tuple[pd.DataFrame, np.ndarray]:
    return ism_table(n_sequences=8, length=150, seed=4)


def look(what: Any) -> None:
    check_readable(figure_of(what))


def test_mean_variance() -> None:
    """Looked for: variance highest near a mean of 0.5 and falling to both sides; all points far
    below the dashed ceiling, which is labelled; each sequence's colour found again in the legend,
    the references large with a black outline; the two sequences that share a colour have different
    marks; the legend above the panel, not on the points. First seen and mended: the ceiling pressed
    all points to the floor of a linear axis, so it is logarithmic.
    """
    look(plots.plot_mean_variance(big()[0], output="FOXA2"))


def test_ism() -> None:
    """Looked for: the motif can be read in the logo; letters, effects and sd of a position stand in
    one column; red is up, blue is down, white is nothing; faded cells are clearly paler than
    outlined ones of the same effect; reference cells grey; the colour scales beside their panel
    with a label; the blue window of the overview around the strongest effect. First seen and
    mended: letters cut at the upper edge; the word for the window on top of the bars.
    """
    look(plots.plot_ism(big()[0], output="FOXA2", sequence=3))
    look(plots.plot_ism(ism_table()[0], output="FOXA2"))


def test_effects() -> None:
    """Looked for: bars of one position beside, not over, each other; the grey of what is within its
    error behind the colours; the line at 0; legend and name above the panel. First seen and mended:
    the remark on the bars lay on the lowest effects, so remarks are below the axis.
    """
    look(plots.plot_effects(big()[0], output="FOXA2"))
    look(plots.plot_effects(vcf_table()))


def test_ref_alt_covariance() -> None:
    """Looked for: points below the line "same", the farther the smaller (darker) their effect; the
    lines of 10 and 100 times labelled where there are no points; decades at the ticks. First seen
    and mended: words of the lines on the points; a remark on the axis' label; tick labels that ran
    together.
    """
    look(plots.plot_ref_alt_covariance(big()[0], output="FOXA2"))


def test_convergence() -> None:
    """Looked for: curves come together at 1 inside the grey band; bands narrow with n; the dashed
    line of "enough" and its number in sight on both sides, also right of the last draw; what each
    colour is, with its mean and sd. First seen and mended: in absolute units small effects were
    flat lines at 0, so each curve is divided by its last value; the first few draws' sd set the
    scale.
    """
    table, draws = big()
    look(plots.plot_convergence(table, draws, output="FOXA2"))


def test_volcano() -> None:
    """Looked for: blue left and orange right above the dashed line, grey below; names near their
    points, on no mark, name or line of another, inside the frame. First seen and mended: names over
    points.
    """
    look(plots.plot_volcano(big()[0], output="FOXA2"))
    look(plots.plot_volcano(vcf_table()))


def test_mr() -> None:
    """Looked for: points turned to the right of 0 with both error bars, pale behind the marks; the
    two lines told apart by colour and dash where they lie on each other; slope, interval and
    intercept in words; the arm of pleiotropic mutants left of the lines in the scatter and right of
    them in the funnel; names of the leave-one-out panel whole, its ticks not touching. First seen
    and mended: ticks touched.
    """
    look(plots.plot_mr(instruments(20)))
    look(plots.plot_mr(instruments(120, n_sequences=6)))
    look(plots.plot_mr_leave_one_out(instruments(120), by_sequence=False))


def test_calibration() -> None:
    """Looked for: with an sd that is half too small the line sags below the dotted diagonal and the
    histogram is heaped at both ends, out of the grey band; squares and diamonds on the diagonal and
    told apart where they coincide.
    """
    random = np.random.default_rng(0)
    names, mean = [f"v{i}" for i in range(300)], random.normal(size=300)
    measured = pd.DataFrame({"variant": names, "effect": mean + 2 * random.normal(size=300)})
    predicted = pd.DataFrame({"variant": names, "effect_mean": mean, "effect_sd": 1.0})
    look(plots.plot_calibration(calibrate(measured, predicted)))


def test_evaluation() -> None:
    """Looked for: four curves told apart by colour or dash, which meet at 1; the band behind them;
    chance as a dotted line at 0.5; names of the points whole, beside their point; what is right of the
    line is better. First seen and mended: numbers on the axis of the differences ran together.
    """
    random = np.random.default_rng(0)
    names = [f"chr1:{i}:A:C" for i in range(300)]
    mean, sd = random.normal(size=300), random.uniform(0.2, 2, 300)
    effect = mean + sd * random.normal(size=300)
    measured = pd.DataFrame({"variant": names, "effect": effect, "large": np.abs(effect) > 1})
    predicted = pd.DataFrame(
        {"variant": names, "effect_mean": mean, "effect_sd": sd, "prob_positive": 1.0 * (mean > 0)}
    )
    options = EvaluationOptions(n_bootstrap=100)
    found = evaluate(predicted, measured, label="large", options=options)
    look(plots.plot_evaluation(found.table))
    found = evaluate(predicted, measured.drop(columns="effect"), label="large", options=options)
    look(plots.plot_evaluation(found.table))


KINDS: dict[str, Callable[..., Any]] = {
    "mean_variance": lambda table, _, **words: plots.plot_mean_variance(table, **words),
    "ism": lambda table, _, **words: plots.plot_ism(table, **words),
    "effects": lambda table, _, **words: plots.plot_effects(table, **words),
    "ref_alt_covariance": lambda table, _, **words: plots.plot_ref_alt_covariance(table, **words),
    "convergence": lambda table, draws, **words: plots.plot_convergence(table, draws, **words),
    "volcano": lambda table, _, **words: plots.plot_volcano(table, **words),
}
NARROW = {"ism": 80, "effects": 80, "convergence": 150, "mean_variance": 60, "volcano": 60}


@pytest.mark.parametrize("kind", NARROW)
def test_the_least_width_that_the_command_takes(kind: str) -> None:
    """Looked for: ism and effects in a journal's column, others as narrow as `--width_mm` goes. First
    seen and mended: the title of ism cut off with a remark on top of it, a legend over a title.
    """
    table, draws = big()
    look(KINDS[kind](table, draws, output="FOXA2", ax=style.new_axes(NARROW[kind], 90)))


@pytest.mark.parametrize("kind", KINDS)
def test_long_names(kind: str) -> None:
    """Looked for: names shortened in their middle, nothing pushed out of the figure."""
    table, draws = ism_table(n_sequences=10)
    table["name"] = LONG + "_" + table["name"]
    table = table.replace("FOXA2", LONG)
    look(KINDS[kind](table, draws, output=LONG))


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_mutant_and_missing_numbers(kind: str) -> None:
    """Looked for: one point in a figure of usual look, no error from a range of nothing."""
    table, draws = ism_table(1, 6, ("FOXA2",))
    draws = draws[:, table["position"] == 2][:, :3]
    table = table[table["position"] == 2][:3].reset_index(drop=True)
    table.loc[1:, ["alt_mean", "alt_var", "effect_mean", "effect_sd", "ref_alt_cov"]] = np.nan
    look(KINDS[kind](table, draws, output="FOXA2"))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "convergence"])
def test_effects_that_are_all_the_same(kind: str) -> None:
    """Looked for: axes around the one value, and a remark on what cannot be shown."""
    table, draws = ism_table(1, 6, ("FOXA2",))
    table[["effect_mean", "effect_sd", "alt_var"]] = 0.25, 0.0, 0.0
    look(KINDS[kind](table, draws, output="FOXA2"))
