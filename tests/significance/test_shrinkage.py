"""Adaptive shrinkage: against numbers of the R package ashr, and where the truth is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.significance import shrinkage
from kipoi_mcdropout.significance.add_shrinkage import add_shrinkage
from kipoi_mcdropout.significance.shrinkage import maximize_mixture, shrink

NUMBERS = json.loads((Path(__file__).parent / "ashr_numbers.json").read_text())


@pytest.mark.parametrize("case", list(NUMBERS))
def test_the_numbers_are_those_of_ashr(case: str) -> None:
    """`ashr_numbers.R` wrote them."""
    theirs = {name: np.array(values) for name, values in NUMBERS[case].items()}
    ours = shrink(theirs["effect"], theirs["sd"])
    assert_allclose(ours.mixture.sd, theirs["grid"], rtol=1e-9)
    assert_allclose(ours.mean, theirs["posterior_mean"], atol=1e-6)
    assert_allclose(ours.sd, theirs["posterior_sd"], atol=1e-6)
    assert_allclose(ours.lfsr, theirs["lfsr"], atol=1e-6)
    assert ours.mixture.log_likelihood == pytest.approx(theirs["log_likelihood"], abs=1e-6)


def test_the_cases_of_ashr_are_of_several_kinds() -> None:
    smallest = {case: min(numbers["lfsr"]) for case, numbers in NUMBERS.items()}
    assert smallest["none_zero"] < 1e-6
    assert smallest["all_zero"] > 0.5
    assert max(NUMBERS["wide_sd"]["sd"]) > 1000 * min(NUMBERS["wide_sd"]["sd"])


def test_the_mixture_is_that_of_many_steps_of_em() -> None:
    """EM needs thousands of steps, and never lowers the likelihood."""
    rng = np.random.default_rng(0)
    likelihood = rng.gamma(0.5, size=(300, 6))
    weights = rng.integers(1, 4, 300).astype(float)
    share = np.full(6, 1 / 6)
    for _ in range(20_000):
        joint = likelihood * share
        share = weights @ (joint / joint.sum(axis=1, keepdims=True)) / weights.sum()
    found = maximize_mixture(likelihood, weights)
    assert_allclose(found, share, atol=1e-5)
    assert (found == 0).any() or share.min() > 1e-5
    assert weights @ np.log(likelihood @ found) >= weights @ np.log(likelihood @ share) - 1e-9


def simulated(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    true = rng.normal(0, 1, n) * rng.choice([0.5, 3.0], n) * (rng.random(n) < 0.6)
    sd = rng.uniform(0.3, 1.5, n)
    return true, true + sd * rng.normal(size=n), sd


def test_the_local_false_sign_rate_is_the_rate_of_false_signs() -> None:
    true, effect, sd = simulated(20_000, 1)
    found = shrink(effect, sd)
    wrong = np.sign(found.mean) != np.sign(true)
    for low, high in ((0, 0.05), (0.05, 0.2), (0.2, 0.5), (0.5, 0.8)):
        rows = (found.lfsr >= low) & (found.lfsr < high)
        expected = found.lfsr[rows].mean()
        error = np.sqrt(expected * (1 - expected) / rows.sum())
        assert rows.sum() > 500
        # The penalty makes the share of 0 too high where it is not well known, and so lfsr: it is
        # careful, and never too low beyond chance.
        assert -0.1 < wrong[rows].mean() - expected < 4 * error


def test_the_shrunken_effect_is_nearer_to_the_truth() -> None:
    true, effect, sd = simulated(5_000, 2)
    found = shrink(effect, sd)
    assert np.mean((found.mean - true) ** 2) < 0.7 * np.mean((effect - true) ** 2)
    assert (np.abs(found.mean) <= np.abs(effect)).all()
    assert np.mean((true - found.mean) ** 2) == pytest.approx(np.mean(found.sd**2), rel=0.1)


def test_another_unit_changes_the_unit_alone() -> None:
    _, effect, sd = simulated(500, 3)
    one, other = shrink(effect, sd), shrink(1000 * effect, 1000 * sd)
    assert_allclose(other.mean, 1000 * one.mean, atol=1e-3)
    assert_allclose(other.lfsr, one.lfsr, atol=1e-6)


def test_of_very_many_effects_some_make_the_mixture(monkeypatch: pytest.MonkeyPatch) -> None:
    _, effect, sd = simulated(4_000, 4)
    whole = shrink(effect, sd)
    monkeypatch.setattr(shrinkage, "MAX_FITTED", 2_000)
    part = shrink(effect, sd)
    assert part.mixture.share[0] != whole.mixture.share[0]
    assert np.abs(part.lfsr - whole.lfsr).max() < 0.1
    assert np.isfinite(part.mean).all()


def test_effects_without_an_sd_get_no_number_and_do_not_count() -> None:
    _, effect, sd = simulated(50, 5)
    more = shrink(np.r_[effect, 5.0, np.nan, 1.0], np.r_[sd, 0.0, 1.0, np.nan])
    assert_array_equal(more.mean[:50], shrink(effect, sd).mean)
    assert np.isnan(more.mean[50:]).all()
    assert np.isnan(more.lfsr[50:]).all()


@pytest.mark.parametrize(
    ("effect", "sd", "words"),
    [
        ([1.0] * 9, [1.0] * 9, "at least 10 effects with an sd above 0 are required; got 9"),
        ([1.0] * 12, [0.0] * 12, "got 0.*audit"),
        ([1.0] * 12, [-1.0] * 12, "sd must not be negative"),
        ([1.0] * 12, [1.0] * 11, "must have one length"),
    ],
)
def test_what_cannot_be_shrunken_is_refused(effect: list[float], sd: list[float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        shrink(effect, sd)


def table() -> pd.DataFrame:
    parts = []
    for output, seed in (("A", 6), ("B", 7)):
        _, effect, sd = simulated(40, seed)
        parts.append(pd.DataFrame({"output": output, "effect_mean": effect, "effect_sd": sd}))
    rows = pd.concat(parts, ignore_index=True).assign(score="diff")
    return rows.sample(frac=1, random_state=0, ignore_index=True)


def test_each_output_is_shrunken_by_itself() -> None:
    rows = table()
    found = add_shrinkage(rows)
    for output in "AB":
        mine = (rows["output"] == output).to_numpy()
        alone = shrink(rows["effect_mean"][mine], rows["effect_sd"][mine])
        assert_array_equal(found.shrunken["effect_posterior"][mine], alone.mean)
        assert_array_equal(found.shrunken["lfsr"][mine], alone.lfsr)
    assert {fit["output"]: fit["n"] for fit in found.fits} == {"A": 40, "B": 40}


def test_an_sd_that_is_only_rounding_is_none() -> None:
    rows = table().assign(ref_mean=0.5, alt_mean=0.5, ref_var=0.0, alt_var=0.0)
    rows.loc[3, ["effect_mean", "effect_sd"]] = 1e-8, 1e-8
    found = add_shrinkage(rows)
    assert np.isnan(found.shrunken["lfsr"][3])
    assert sum(fit["n_no_spread"] for fit in found.fits) == 1


def test_refusals_name_the_output() -> None:
    rows = table().assign(effect_sd=0.0)
    with pytest.raises(InputError, match=r"output ., score diff: at least 10"):
        add_shrinkage(rows)
    with pytest.raises(InputError, match="has the columns lfsr already"):
        add_shrinkage(table().assign(lfsr=0.5))
