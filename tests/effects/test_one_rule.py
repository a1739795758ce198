"""Every place that states a number of draws, or its error, agrees with `effects.draws_enough`."""

from __future__ import annotations

import importlib
import inspect
import math
import re
from typing import Any

import numpy as np
import pytest
from paths import ROOT
from torch import nn

from kipoi_mcdropout import MCDropoutISM, Model
from kipoi_mcdropout.effects.draws_enough import TOLERANCE, draws_enough, draws_for_sd, sd_error
from kipoi_mcdropout.effects.until import Until
from kipoi_mcdropout.engine import explain
from kipoi_mcdropout.model.ensemble import DEFAULT_DRAWS, default_draws
from kipoi_mcdropout.model.predict import PredictionOptions
from kipoi_mcdropout.mr.checks.diagnose import MAX_MCSE_TO_SD
from kipoi_mcdropout.plots import plot_convergence
from kipoi_mcdropout.veff import McDropoutEffects
from kipoi_mcdropout.veff import score_variants as veff_score_variants

ENOUGH = draws_for_sd(TOLERANCE)


def page(name: str) -> str:
    return " ".join((ROOT / "docs" / name).read_text().split())


def rounded(share: float) -> str:
    return f"{100 * share:.0f} %"


def test_the_rule() -> None:
    """The least number whose error is at most the tolerance; the sd of 24 draws is known to 15 %."""
    for tolerance in (0.05, 0.1, TOLERANCE, 0.2):
        n = draws_for_sd(tolerance)
        assert 1 / math.sqrt(2 * (n - 1)) <= tolerance < 1 / math.sqrt(2 * (n - 2))
    assert (ENOUGH, rounded(sd_error(ENOUGH))) == (24, "15 %")
    assert DEFAULT_DRAWS >= ENOUGH, "the default is enough by the rule"


def test_defaults_of_signatures() -> None:
    assert inspect.signature(PredictionOptions).parameters["n_draws"].default == DEFAULT_DRAWS
    for function in (MCDropoutISM, McDropoutEffects, veff_score_variants):
        default = inspect.signature(function).parameters["n_draws"].default
        assert default is None, "the model decides it: see the next lines"
    alone = Model(nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(4, 1)))
    assert default_draws(alone.ensemble, np.zeros((1, 4))) == DEFAULT_DRAWS
    assert explain._REPORTED_DRAWS == DEFAULT_DRAWS
    for function in (draws_enough, plot_convergence):
        assert inspect.signature(function).parameters["tolerance"].default == TOLERANCE


@pytest.mark.parametrize("command", ["ism", "predict", "score_variants", "plot"])
def test_help(command: str) -> None:
    parser = importlib.import_module(f"kipoi_mcdropout.cli.commands.{command}").get_parser()
    if command == "plot":
        defaults = {a.default for p in _parsers(parser) for a in p._actions if a.dest == "tolerance"}
        assert defaults == {TOLERANCE}
        return
    (words,) = (action.help for action in parser._actions if action.dest == "n_draws")
    assert f"(default {DEFAULT_DRAWS};" in words


def _parsers(parser: Any) -> list[Any]:
    choices = [a.choices for a in parser._actions if isinstance(a.choices, dict)]
    return [parser, *(child for of_one in choices for child in of_one.values())]


@pytest.mark.parametrize("name", ["concepts.md", "how_to/how_many_draws.md"])
def test_tables_of_errors(name: str) -> None:
    rows = re.findall(r"\| (\d+) \| (0\.\d+) \| (\d+ %) \|", page(name))
    assert len(rows) >= 4
    for n, of_mean, of_sd in rows:
        assert of_mean == f"{int(n) ** -0.5:.2f}"
        assert of_sd == rounded(sd_error(int(n)))
    assert str(DEFAULT_DRAWS) in {n for n, _, _ in rows}


def test_words_of_the_pages() -> None:
    tolerance = rounded(TOLERANCE)
    assert f"{DEFAULT_DRAWS} draws, the default, are enough" in page("concepts.md")
    few = f"With fewer than {ENOUGH} draws, each sd has an error of more than {tolerance}"
    assert few in page("concepts.md")
    finer = f"10 % for {draws_for_sd(0.1)}, 5 % for {draws_for_sd(0.05)}"
    default = f"{rounded(sd_error(DEFAULT_DRAWS))} for the default of {DEFAULT_DRAWS}"
    assert f"{default}, {finer}" in page("how_to/plots_and_report.md")
    assert f"error is below {tolerance}" in page("how_to/plots_and_report.md")
    assert f"{rounded(sd_error(5))} (1 / sqrt(2 (M - 1)))" in page("how_to/members.md")
    assert f"(fewer than {math.ceil(MAX_MCSE_TO_SD**-2)} draws)" in page("messages.md")
    looks = Until(0.1, (1.0,)).checkpoints(10**3)[:4]
    own = page("how_to/how_many_draws.md")
    assert f"After {', '.join(map(str, looks))}, ... draws. With fewer than {ENOUGH} draws" in own
    assert f"Without a threshold the first look is after {Until(0.1).checkpoints(10**3)[0]}" in own
    assert f"| {ENOUGH} | 0.20 | 15 % | the fewest" in own
    assert f"| {DEFAULT_DRAWS} | 0.18 | 13 % | the default |" in own
