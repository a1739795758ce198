"""Noise that mutants share: how it is found, and what is seen once it is taken out."""

from __future__ import annotations

import numpy as np
import pytest
from mr_data import from_draws

from kipoi_mcdropout.mr import Instruments, answer, find_groups
from kipoi_mcdropout.mr.groups import answer as answers
from kipoi_mcdropout.mr.groups.mixture import fit_mixture
from kipoi_mcdropout.mr.groups.noise import noise_of_means
from kipoi_mcdropout.mr.groups.scatter import _statistics, p_of_one_line
from kipoi_mcdropout.mr.groups.shared_noise import shared_noise, shrinkage


def of_sites(
    ratio: np.ndarray, n_sites: int = 12, noise: float = 1.0, seed: int = 0, n_draws: int = 100
) -> Instruments:
    """Mutants of sites: all ratios of a site are off by the same factor in each draw."""
    rng = np.random.default_rng(seed)
    n = len(ratio)
    effect = rng.normal(0, 1, n)
    of_x, of_y = noise * rng.normal(size=(2, n_draws, n_sites))[:, :, np.arange(n) % n_sites]
    return from_draws(effect * (1 + of_x), effect * (ratio + 0.5 * of_y))


def mixed(share: float, seed: int) -> np.ndarray:
    """Ratios of 0.5, and of 0.65 for a share of the mutants."""
    rng = np.random.default_rng(100 + seed)
    return np.where(rng.random(60) < share, 0.65, 0.5)


def test_correlations_are_shrunk_to_nothing_where_there_are_none() -> None:
    rng = np.random.default_rng(0)

    def of(noise: np.ndarray) -> float:
        return shrinkage(noise / np.sqrt((noise**2).mean(axis=0)))

    alone = of(rng.normal(size=(100, 60)))
    together = of(rng.normal(size=(100, 3))[:, np.arange(60) % 3])
    assert alone > 0.9
    assert together < 0.1
    few = of(rng.normal(size=(20, 3))[:, np.arange(60) % 3])
    assert together < few < 0.5


def test_shrinkage_is_the_formula_of_schaefer_and_strimmer() -> None:
    rng = np.random.default_rng(1)
    z = rng.normal(size=(12, 5)) + rng.normal(size=(12, 1))
    z /= np.sqrt((z**2).mean(axis=0))
    above = below = 0.0
    for i in range(5):
        for j in range(5):
            if i != j:
                products = z[:, i] * z[:, j]
                above += products.var(ddof=1) / 12  # of a mean of 12 products
                below += products.mean() ** 2
    assert shrinkage(z) == pytest.approx(above / below)


def test_shared_noise_is_found_from_the_mutants_that_share_it() -> None:
    rng = np.random.default_rng(2)
    site = np.arange(40) % 4
    shared = rng.normal(size=(60, 4))
    distance = shared[:, site] + 0.05 * rng.normal(size=(60, 40))
    planted = shared.mean(axis=0)[site]
    found = shared_noise(distance, np.full(40, 1e-4))
    assert np.abs(found.offset - planted).max() < 0.02
    assert np.abs(planted).max() > 0.1
    assert (found.left < 0.25).all()
    # What may be scatter is not taken as noise.
    unknown = shared_noise(distance, np.full(40, 1e6))
    assert np.abs(unknown.offset).max() < 1e-3
    assert (unknown.left > 0.99).all()


def test_statistics_in_the_space_of_draws_are_those_of_the_whole_covariance() -> None:
    rng = np.random.default_rng(3)
    distance, x = rng.normal(size=(8, 15)) + rng.normal(size=(8, 1)), rng.normal(size=15)
    signs = np.vstack([np.ones(8), rng.choice([-1.0, 1.0], size=(4, 8))])
    found = _statistics(distance, x, signs)
    size = np.sqrt((distance**2).mean(axis=0))
    z, along = distance / size, x / size
    share = shrinkage(z)
    inverse = np.linalg.inv(share * np.eye(15) + (1 - share) * z.T @ z / 8)
    for row, value in zip(signs, found, strict=True):
        mean = row @ z / 8
        slope = along @ inverse @ mean / (along @ inverse @ along)
        off = mean - slope * along
        assert value == pytest.approx(off @ inverse @ off)


def test_p_is_even_where_mutants_of_a_site_share_their_noise() -> None:
    found = [p_of_one_line(of_sites(np.full(60, 0.5), seed=s), 99, s) for s in range(60)]
    assert 0.005 <= np.mean(np.array(found) < 0.1) <= 0.25
    assert 0.35 < np.mean(found) < 0.65


def test_a_minority_with_a_ratio_1_3_times_as_large_is_no_single_number() -> None:
    kinds = []
    for seed in range(3):
        one = of_sites(mixed(0.3, seed), seed=seed)
        assert p_of_one_line(one, 99, seed) < 0.05
        found = answer(one, n_bootstrap=50, seed=seed)
        kinds.append(found.kind)
        if found.shown is not None:
            assert found.shown.ci_lower <= 0.5 <= found.shown.ci_upper
    assert kinds.count("groups") >= 2
    # Seen one by one, their noise hides them.
    one = of_sites(mixed(0.3, 0))
    x, y, noise = one.beta_exposure, one.beta_outcome, noise_of_means(one)
    gain = fit_mixture(x, y, noise, 1).bic - fit_mixture(x, y, noise, 2).bic
    assert gain < 10


def test_groups_are_not_looked_for_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def counted(*arguments: object, **named: object) -> object:
        tried.append(arguments[3])  # type: ignore[arg-type]
        return fit_mixture(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr("kipoi_mcdropout.mr.groups.find.fit_mixture", counted)
    one = of_sites(np.full(60, 0.5), seed=1)
    assert p_of_one_line(one, 100, 0) >= 0.05
    find_groups(one, n_bootstrap=100)
    assert set(tried) == {1}
    find_groups(of_sites(mixed(0.3, 0)), n_bootstrap=100)
    assert set(tried) > {1}


def test_an_interval_has_room_for_a_minority_with_another_ratio() -> None:
    rng = np.random.default_rng(5)
    ratio = 0.5 + 0.03 * rng.normal(size=60)
    one = of_sites(ratio, noise=0.02)
    found = answer(one, n_bootstrap=100)
    assert found.kind == "one_number"
    assert found.shown is not None
    assert found.groups is not None
    plain = found.groups.groups[0].estimate
    spread = found.groups.c2**0.5
    assert 0.04 < spread < 0.08
    assert found.shown.method == f"{plain.method}_widened"
    room = 0.5 * spread * np.sqrt(0.3 / 0.7)
    assert plain.ci_lower - found.shown.ci_lower == pytest.approx(room, rel=0.05)
    assert found.shown.ci_upper - plain.ci_upper == pytest.approx(room, rel=0.05)
    assert found.shown.p >= plain.p
    assert "wider because a minority may have another ratio" in found.words


def test_the_room_is_what_a_minority_of_30_percent_can_do() -> None:
    """Of two ratios with these shares, the room is the distance of the majority's from the mean."""
    ratio = np.repeat([1.0, 1.4], [70, 30])
    one = of_sites(np.full(20, 0.5))
    estimate = answer(one, n_bootstrap=20).shown
    assert estimate is not None
    widened = answers._widened(estimate, float(ratio.std() / ratio.mean()))
    room = (estimate.ci_lower - widened.ci_lower) / estimate.estimate
    assert room == pytest.approx((ratio.mean() - 1.0) / ratio.mean())
    assert answers._widened(estimate, 0.01) == estimate
