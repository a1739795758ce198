"""The bootstrap over draws: cases whose answer is known."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from mr_data import from_draws, simulated
from numpy.testing import assert_allclose, assert_array_equal

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr import (
    bootstrap_estimates,
    draw_slopes,
    mr_bootstrap,
    mr_egger,
    mr_ivw,
    mr_weighted_median,
)
from kipoi_mcdropout.mr.estimators import resampling
from kipoi_mcdropout.mr.estimators.points import ivw_slope


def wobbling_slope(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws in which the whole line turns: y_t = (0.5 + c_t) x. Returns x, y and c.

    The exposure hardly varies, so that of the slope's error c is all.
    """
    rng = np.random.default_rng(seed)
    n_draws, n = 40, 25
    effect = rng.uniform(0.5, 2, n) * rng.choice([-1, 1], n)
    x = effect + 1e-4 * rng.normal(size=(n_draws, n))
    c = rng.normal(0, 0.2, n_draws)
    return x, (0.5 + c)[:, None] * effect, c


@pytest.mark.parametrize("method", ["egger", "ivw", "weighted_median"])
def test_the_error_of_a_slope_that_turns_as_a_whole_is_known(method: str) -> None:
    x, y, c = wobbling_slope()
    found = mr_bootstrap(from_draws(x, y), method, n_bootstrap=4000)
    assert found.estimate == pytest.approx(0.5 + c.mean(), rel=1e-3)
    # the bootstrap's variance of a mean is the one with ddof=0
    assert found.se == pytest.approx(c.std(ddof=0) / np.sqrt(len(c)), rel=0.05)


def test_formulas_that_assume_independence_miss_it() -> None:
    x, y, c = wobbling_slope()
    true_se = c.std(ddof=1) / np.sqrt(len(c))
    naive = mr_ivw(from_draws(x, y, "mcse"))
    assert naive.se == pytest.approx(true_se / 5, rel=0.05)  # 25 instruments, one wobble
    assert mr_ivw(from_draws(x, y, "sd")).se > 1.2 * true_se


def test_a_line_that_every_draw_follows_has_no_error() -> None:
    one = simulated()
    assert one.draws_exposure is not None
    exact = from_draws(one.draws_exposure, -0.7 * one.draws_exposure)
    for method in ("egger", "ivw", "simple_median"):
        found = mr_bootstrap(exact, method, n_bootstrap=50)
        assert found.estimate == pytest.approx(-0.7)
        assert found.se == pytest.approx(0, abs=1e-12)
    assert_allclose(draw_slopes(exact), -0.7)


def test_it_agrees_with_all_resamples_of_three_draws() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(1, 0.3, size=(2, 3, 4))
    one = from_draws(x, y)
    weight = one.se_outcome**-2.0
    every = np.array(
        [ivw_slope(x[list(t)].mean(0), y[list(t)].mean(0), weight) for t in product(range(3), repeat=3)]
    )
    found = bootstrap_estimates(one, "ivw", n_bootstrap=20_000, seed=1)
    assert found.mean() == pytest.approx(every.mean(), abs=5 * every.std() / np.sqrt(20_000))
    assert found.std() == pytest.approx(every.std(), rel=0.03)
    # 10 different multisets of draws: no other value can occur
    assert len(np.unique(found.round(10))) == 10
    assert set(found.round(10)) == set(every.round(10))


def test_the_interval_has_the_bias_taken_out() -> None:
    one = simulated(n_draws=10)
    found = mr_bootstrap(one, "ivw", n_bootstrap=500, seed=3)
    replicates = bootstrap_estimates(one, "ivw", n_bootstrap=500, seed=3)
    bias = replicates.mean() - found.estimate
    assert bias < 0  # noise in the exposure flattens
    assert (found.ci_lower + found.ci_upper) / 2 == pytest.approx(found.estimate - bias)
    assert (found.ci_upper - found.ci_lower) / 2 == pytest.approx(1.959964 * found.se)
    assert found.distribution == "normal, bias-corrected"


def test_estimates_are_those_of_the_methods() -> None:
    one = simulated()
    assert mr_bootstrap(one, "egger", n_bootstrap=2).estimate == pytest.approx(mr_egger(one).estimate)
    assert mr_bootstrap(one, "ivw", n_bootstrap=2).estimate == pytest.approx(mr_ivw(one).estimate)
    median = mr_weighted_median(one, n_bootstrap=2).estimate
    assert mr_bootstrap(one, "weighted_median", n_bootstrap=2).estimate == pytest.approx(median)


def test_seed_and_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    one = simulated()
    first = bootstrap_estimates(one, n_bootstrap=30, seed=5)
    assert_array_equal(first, bootstrap_estimates(one, n_bootstrap=30, seed=5))
    assert (first != bootstrap_estimates(one, n_bootstrap=30, seed=6)).all()
    monkeypatch.setattr(resampling, "MAX_BLOCK_VALUES", 7 * 50)
    assert_allclose(bootstrap_estimates(one, n_bootstrap=30, seed=5), first)


def test_se_type_does_not_matter() -> None:
    a, b = (mr_bootstrap(simulated(se_type=t), n_bootstrap=100) for t in ("sd", "mcse"))
    assert b.se == pytest.approx(a.se)
    assert b.p == pytest.approx(a.p)


def test_more_draws_shrink_it_and_scatter_of_mutants_does_not_show() -> None:
    rng = np.random.default_rng(4)
    effect, other_path = rng.normal(0, 1, 60), rng.normal(0, 0.5, 60)

    def draws(n_draws: int) -> tuple[np.ndarray, np.ndarray]:
        noise = 0.2 * rng.normal(size=(2, n_draws, 60))
        return effect + noise[0], 0.5 * effect + other_path + noise[1]

    few, many = (from_draws(*draws(n)) for n in (20, 2000))
    by_draws = [mr_bootstrap(i, "ivw", n_bootstrap=400).se for i in (few, many)]
    assert by_draws[1] == pytest.approx(by_draws[0] / 10, rel=0.25)
    both = mr_bootstrap(many, "ivw", resample="both", n_bootstrap=2000).se
    weight = many.se_outcome**-2.0
    residual = many.beta_outcome - mr_ivw(many).estimate * many.beta_exposure
    # White's sandwich: the error that the sampling of mutants gives
    scatter = np.sqrt((weight**2 * effect**2 * residual**2).sum()) / (weight * effect**2).sum()
    assert both == pytest.approx(scatter, rel=0.15)
    assert both > 20 * by_draws[1]
    mutants = mr_bootstrap(many, "ivw", resample="instruments", n_bootstrap=2000).se
    assert mutants == pytest.approx(both, rel=0.1)


def test_bad_requests_are_refused() -> None:
    one = simulated()
    with pytest.raises(InputError, match="the bootstrap supports the methods egger, ivw"):
        mr_bootstrap(one, "median")
    with pytest.raises(InputError, match="resample must be"):
        mr_bootstrap(one, resample="rows")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="requires the effects of each draw"):
        mr_bootstrap(one.without_draws())
    with pytest.raises(InputError, match="at least 3 instruments; 2 of 2"):
        mr_bootstrap(one.take([0, 1]))
    with pytest.raises(InputError, match="n_bootstrap must be at least 2"):
        mr_bootstrap(one, n_bootstrap=1)
