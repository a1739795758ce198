"""The rule for the number of draws takes rows of one output and score, and says so."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from kipoi_mcdropout.effects.draws_enough import draws_enough
from kipoi_mcdropout.errors import InputError

ROWS = pd.DataFrame(
    {
        "output": "FOXA2",
        "score": "diff",
        "effect_mean": [1.0, -0.5, 0.1],
        "effect_sd": [0.1, 0.2, 0.3],
        "n_draws": 30,
    }
)


def test_z_of_two_and_more_count() -> None:
    found = draws_enough(ROWS)
    assert (found.n_draws, found.n_mutants) == (30, 2)
    assert draws_enough(ROWS.drop(columns=["output", "score"])) == found


@pytest.mark.parametrize("name", ["output", "score"])
def test_rows_of_several_are_refused_by_name(name: str) -> None:
    with pytest.raises(InputError, match=f"rows of one {name} are required; got 2: .*, other"):
        draws_enough(pd.concat([ROWS, ROWS.assign(**{name: "other"})]))


@pytest.mark.parametrize("rows", [ROWS.drop(columns="effect_sd"), ROWS.assign(effect_sd=float("nan"))])
def test_rows_without_an_sd_are_refused(rows: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="they lack effect_sd"):
        draws_enough(rows)


def test_no_rows_are_refused() -> None:
    with pytest.raises(InputError, match="the rows must have"):
        draws_enough(ROWS.iloc[:0])


def test_numbers_of_draws_that_differ() -> None:
    """Under --until: the error that 95 % of the sds of the clear mutants do not exceed."""
    rows = pd.concat([ROWS] * 20, ignore_index=True)
    rows["n_draws"] = [15, 63, 15] * 20  # of the third |z| is below 2
    found = draws_enough(rows)
    assert (found.n_draws, found.most_draws, found.n_mutants) == (15, 63, 40)
    assert found.sd_error == pytest.approx(1 / math.sqrt(2 * 14))
    assert found.mean_error == pytest.approx(0.4 / math.sqrt(63))
    assert not found.enough
    assert "15 to 63 draws give 95 % of the sds to 19 %, and the mean effect to 5 %" in found.sentence()
    assert "run with a smaller --until or --threshold" in found.sentence()
    rows["n_draws"] = [31, 63, 15] * 20
    better = draws_enough(rows)
    assert better.enough
    assert better.sentence().endswith("That is enough for most uses.")
