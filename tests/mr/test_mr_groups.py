"""Groups of mutants, and the one answer: planted slopes and groups must come out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from mr_data import DATA, from_draws, read_instruments
from scipy import optimize

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr import Instruments, answer, estimates, find_groups, mr_bootstrap, mr_multiple
from kipoi_mcdropout.mr.groups.find import JUNK, NULL
from kipoi_mcdropout.mr.groups.mixture import fit_mixture
from kipoi_mcdropout.mr.groups.noise import NoiseOfMeans, noise_of_means
from kipoi_mcdropout.mr.groups.scatter import p_of_one_line
from kipoi_mcdropout.mr.groups.words import methods_words


def drawn(ratio: Any, seed: int = 0, noise: float = 0.05, n_draws: int = 60, **more: Any) -> Instruments:
    """Mutants with these ratios, and draws with independent noise."""
    rng = np.random.default_rng(seed)
    ratio = np.asarray(ratio, float)
    effect = rng.uniform(0.3, 1.5, len(ratio)) * rng.choice([-1, 1], len(ratio))
    x = effect + noise * rng.normal(size=(n_draws, len(ratio)))
    y = ratio * effect + noise * rng.normal(size=(n_draws, len(ratio)))
    return from_draws(x, y, exposure="FOXA2", outcome="DNase", **more)


def test_groups_of_planted_ratios_come_out_with_their_mutants() -> None:
    one = read_instruments(DATA / "sim_two_groups.csv")
    planted = pd.read_csv(DATA / "sim_two_groups.csv").set_index("SNP")["ratio"]
    found = find_groups(one)
    assert [round(g.estimate.estimate, 1) for g in found.groups] == [0.7, 1.7]
    for group, ratio in zip(found.groups, (0.70, 1.67), strict=True):
        assert set(group.snp) == set(planted.index[planted == ratio])
        assert group.estimate.ci_lower < ratio < group.estimate.ci_upper
    of = found.table.set_index("SNP")["group"]
    assert (of[planted.index[planted == 0]] == NULL).all()
    assert (of[planted.index[~planted.isin([0.70, 1.67, 0.0])]] == JUNK).all()
    assert found.share_of(JUNK) == pytest.approx(4 / 60)


def test_one_ratio_is_one_group_whatever_its_noise() -> None:
    for seed in range(6):
        found = find_groups(drawn(np.full(40, 0.7), seed))
        assert len(found.groups) == 1
        assert len(found.groups[0].snp) == 40


def test_the_likelihood_of_the_mixture_is_at_its_maximum() -> None:
    """Against a general optimiser over all parameters of two groups."""
    one = drawn(np.repeat([0.7, 1.6], [30, 12]), noise=0.3, n_draws=20)
    x, y, noise = one.beta_exposure, one.beta_outcome, noise_of_means(one)
    fit = fit_mixture(x, y, noise, 2)

    def minus(parameters: np.ndarray) -> float:
        m = np.append(parameters[:2], 0.0)
        logs = np.append(parameters[2:5], 0.0)
        shares = np.exp(logs - np.logaddexp.reduce(logs))
        tau2, c2 = np.exp(parameters[5:7])
        total = np.zeros(len(x))
        for k in range(3):
            v = tau2 + noise.about_line(float(m[k])) + c2 * (m[k] * x) ** 2
            total = total + shares[k] * np.exp(-((y - m[k] * x) ** 2) / (2 * v)) / np.sqrt(2 * np.pi * v)
        scale = np.quantile(np.abs(y / x), 0.95)
        t = y / x / scale
        junk = 3 / 8 * (1 + t**2 / 4) ** -2.5 / (scale * np.abs(x))  # Student's t with 4 df
        return -float(np.log(total + shares[3] * junk).sum())

    start = np.array(
        [*fit.ratios, *np.log(fit.shares[:3] / fit.shares[3]), *np.log([fit.tau2 + 1e-9, fit.c2])]
    )
    best = optimize.minimize(
        minus, start, method="Nelder-Mead", options={"maxiter": 4000, "maxfev": 4000}
    )
    assert fit.log_likelihood == pytest.approx(-best.fun, abs=0.05)
    np.testing.assert_allclose(fit.ratios, best.x[:2], rtol=0.01)


def test_noise_of_means_is_that_of_draws_about_the_line() -> None:
    one = drawn(np.full(12, 0.7))
    noise = noise_of_means(one)
    distance = one.draws_outcome - 0.4 * one.draws_exposure  # type: ignore[operator]
    np.testing.assert_allclose(noise.about_line(0.4), distance.var(axis=0, ddof=1) / 60)
    summary = noise_of_means(one.without_draws())
    np.testing.assert_allclose(summary.xx, one.se_exposure**2 / 60)
    assert not summary.xy.any()
    perfect = NoiseOfMeans(np.ones(2), np.full(2, 0.25), np.full(2, 0.5))
    assert (perfect.about_line(0.5) > 0).all()


def test_p_of_one_line_is_even_where_mutants_share_their_noise() -> None:
    rng = np.random.default_rng(0)
    found = []
    for seed in range(60):
        effect = rng.normal(size=24)
        shared = rng.normal(size=(40, 3))[:, np.arange(24) % 3]
        x = effect * (1 + 0.2 * rng.normal(size=(40, 3))[:, np.arange(24) % 3])
        found.append(p_of_one_line(from_draws(x, 0.5 * x + 0.3 * effect * shared), 100, seed))
    assert 0.005 <= np.mean(np.array(found) < 0.1) <= 0.25
    assert 0.3 < np.mean(found) < 0.7
    assert p_of_one_line(drawn(np.repeat([0.5, 0.8], 12)), 200, 0) < 0.01
    assert p_of_one_line(drawn(np.repeat([0.5, 0.8], 12)).without_draws(), 200, 0) < 1e-6


def test_methods_that_agree_give_one_number_with_the_interval_of_draws() -> None:
    one = drawn(np.full(40, 0.7))
    found = answer(one, n_bootstrap=200)
    assert found.kind == "one_number"
    expected = mr_bootstrap(one, "ivw", n_bootstrap=200)
    assert found.shown == expected
    assert found.words.startswith(
        f"DNase changes by {expected.estimate:.2f} ({expected.ci_lower:.2f} to "
    )
    assert "per unit of FOXA2 (IVW, interval from a bootstrap over draws)" in found.words
    table = estimates(one, n_bootstrap=200)
    assert table["method"][0] == "ivw_bootstrap_draws"
    assert table["shown"].tolist() == [True] + [False] * (len(table) - 1)
    assert set(table["advice"]) == {found.words}


def test_scatter_is_in_the_interval_that_is_shown() -> None:
    rng = np.random.default_rng(3)
    one = drawn(0.7 + 0.04 * rng.normal(size=60), noise=0.02)
    found = answer(one, n_bootstrap=200)
    assert found.kind == "one_number"
    assert found.shown is not None
    assert found.shown.method == "ivw_bootstrap_both_widened"
    many = answer(drawn(0.7 + 0.04 * rng.normal(size=60), noise=0.02, sequence=np.arange(60) // 10))
    assert many.shown is not None
    assert many.shown.method == "ivw_bootstrap_sequences_widened"
    table = estimates(one, n_bootstrap=200)
    assert table["shown"].sum() == 1
    assert table["ci_upper"][0] == pytest.approx(found.shown.ci_upper)
    assert table["method"][0] == found.shown.method


def test_two_groups_are_told_and_no_number_is() -> None:
    one = drawn(np.repeat([0.7, 1.67], [40, 16]))
    found = answer(one, n_bootstrap=200)
    assert (found.kind, found.shown) == ("groups", None)
    assert found.words.startswith("no single number: methods disagree: ")
    assert "(IVW" in found.words
    assert "two groups of mutations: 0.70 (" in found.words
    assert "n = 40) and 1.6" in found.words
    assert "n = 16)" in found.words
    table = estimates(one, n_bootstrap=200)
    assert table["method"].tolist()[:3] == ["group_1", "group_2", "ivw_bootstrap_draws"]
    assert table["n_instruments"].tolist()[:3] == [40, 16, 56]
    assert not table["shown"].any()
    assert set(table["answer"]) == {"groups"}
    assert (estimates(one, ["ivw"], n_bootstrap=200)["method"] == "ivw").all()


def test_a_few_that_fit_nothing_do_not_move_the_number() -> None:
    one = drawn(np.append(np.full(40, 0.7), [4.0, -3.0]))
    found = answer(one, n_bootstrap=200)
    assert found.kind in ("one_number", "methods_disagree")
    (group,) = found.groups.groups  # type: ignore[union-attr]
    assert set(group.snp) == {f"m{i}" for i in range(40)}
    assert group.estimate.estimate == pytest.approx(0.7, abs=0.01)


@pytest.mark.parametrize(
    ("ratio", "kind", "words"),
    [
        (
            np.repeat([0.7, 0.0], [30, 12]),
            "methods_disagree",
            "12 mutations have no effect on the outcome",
        ),
        (np.linspace(0.45, 0.95, 50), "ratios_differ", "the ratios of mutations differ by"),
        (np.full(9, 0.7), "too_few", "9 instruments are too few"),
    ],
)
def test_other_reasons_for_no_number(ratio: Any, kind: str, words: str) -> None:
    found = answer(drawn(ratio), n_bootstrap=200)
    assert (found.kind, found.shown) == (kind, None)
    assert words in found.words


def test_noisy_exposure_effects_are_told_with_the_draws_that_are_needed() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, 40) + 2.5 * rng.normal(size=(40, 40))
    found = answer(from_draws(x, 0.5 * x), n_bootstrap=50)
    assert (found.kind, found.shown) == ("too_noisy", None)
    needed = int(found.words.split("about ")[-1].split(" draws")[0])
    assert (
        80 < needed < 160
    )  # noise 2.5 / sqrt(40) is 0.16 of the variance; 0.05 needs 3.1 times as many
    assert "cannot tell" in found.words


def test_groups_need_ratios() -> None:
    one = drawn(np.full(12, 0.7))
    x = one.beta_exposure.copy()
    x[2] = 0
    flat = Instruments(one.snp, x, one.se_exposure, one.beta_outcome, one.se_outcome)
    with pytest.raises(InputError, match="exposure effects other than 0"):
        find_groups(flat)
    assert answer(flat).kind == "one_number"  # a mutant without a ratio says nothing about groups


def test_answers_of_several_outcomes_are_in_their_rows() -> None:
    many = [drawn(np.full(20, 0.7)), drawn(np.repeat([0.7, 1.67], 10), seed=1)]
    many[1] = from_draws(
        many[1].draws_exposure,
        many[1].draws_outcome,
        exposure="FOXA2",
        outcome="CTCF",  # type: ignore[arg-type]
    )
    table = mr_multiple(many, ["ivw"], n_bootstrap=50)
    assert table["answer"].tolist() == ["one_number", "groups"]
    assert [words[:2] for words in table.attrs["advice"]] == [("FOXA2", "DNase"), ("FOXA2", "CTCF")]
    assert table["advice"].tolist() == [words[2] for words in table.attrs["advice"]]


def test_methods_that_give_one_number_are_named_together() -> None:
    words = methods_words({"ivw": 0.8, "egger": 0.799, "weighted_median": 0.708, "weighted_mode": 0.7})
    assert words == "0.80 (IVW, MR-Egger), 0.70 (weighted median, weighted mode)"
