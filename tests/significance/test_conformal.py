"""Conformal half-widths: ranks by hand, the package crepes, and coverage where the truth is known."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from kipoi_mcdropout.errors import InputError, InputWarning
from kipoi_mcdropout.significance.conformal import (
    LEVELS,
    MIN_GROUP,
    ConformalGroups,
    chosen_edges,
    default_edges,
    effects_needed,
    group_of,
    half_widths,
    merged,
)


@pytest.mark.parametrize(
    ("n", "level", "width"),
    [
        (19, 0.95, 19.0), (18, 0.95, math.inf), (9, 0.9, 9.0), (10, 0.9, 10.0), (39, 0.95, 38.0),
        (4, 0.5, 3.0), (1, 0.5, 1.0), (99, 0.99, 99.0), (98, 0.99, math.inf),
    ],
)  # fmt: skip
def test_the_rank_by_hand(n: int, level: float, width: float) -> None:
    assert half_widths(np.arange(n, 0, -1), [level]) == [width]
    assert (effects_needed(level) <= n) == math.isfinite(width)


def test_the_number_of_effects_that_is_needed_is_the_smallest() -> None:
    for level in LEVELS:
        n = effects_needed(level)
        assert math.isfinite(*half_widths(np.ones(n), [level]))
        assert half_widths(np.ones(n - 1), [level]) == [math.inf]


def effects(n: int, seed: int, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """|predicted effect|, and scores whose distribution depends on it."""
    rng = np.random.default_rng(seed)
    size = rng.exponential(1.0, n)
    return size, scale * np.abs(rng.standard_t(3, n)) * (1 + 2 * (size > 1))


def test_the_groups_are_those_of_crepes() -> None:
    with warnings.catch_warnings():  # its import makes Python show every UserWarning again
        crepes = pytest.importorskip("crepes")
    size, scores = effects(777, 0)
    spread = np.random.default_rng(1).uniform(0.1, 2, 777)
    edges = (0.0, 0.4, 1.0, math.inf)
    groups = ConformalGroups.of(size, scores, edges)
    theirs = crepes.ConformalRegressor()
    theirs.fit(residuals=scores * spread, sigmas=spread, bins=group_of(size, edges))
    new_size, new_spread = effects(200, 2)[0], np.linspace(0.1, 3, 200)
    for level in (0.5, 0.81, 0.95, 0.99):
        ends = theirs.predict_int(
            np.zeros(200), new_spread, bins=group_of(new_size, edges), confidence=level
        )
        assert_allclose(groups.at(new_size, level) * new_spread, ends[:, 1])


def test_a_level_that_floating_point_rounds_is_exact() -> None:
    """Crepes 0.9.0 gives an infinite interval for 9 effects at 0.9, as (1 - 0.9) * 10 is below 1."""
    assert half_widths(np.arange(9), [0.9]) == [8.0]


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
def test_intervals_hold_new_exchangeable_effects_in_each_group(level: float) -> None:
    held: list[list[float]] = []
    for seed in range(40):
        size, scores = effects(1000, 2 * seed)
        groups = ConformalGroups.of(size, scores, (0.0, 0.5, 1.0, math.inf))
        new_size, new_scores = effects(1000, 2 * seed + 1)
        inside = new_scores <= groups.at(new_size, level)
        group = group_of(new_size, groups.edges)
        held.append([inside[group == g].mean() for g in range(3)])
    shares = np.array(held)
    # Each share varies with the calibration and with the new effects, of which a group has 230 or more.
    error = np.sqrt(2 * level * (1 - level) / 230 / len(held))
    assert_allclose(shares.mean(axis=0), level, atol=4 * error)


def test_one_group_holds_all_effects_together_but_not_the_large_ones() -> None:
    """Why there are groups."""
    size, scores = effects(20_000, 0)
    together = ConformalGroups.of(size, scores, (0.0, math.inf))
    new_size, new_scores = effects(20_000, 1)
    inside = new_scores <= together.at(new_size, 0.95)
    assert inside.mean() == pytest.approx(0.95, abs=0.01)
    assert inside[new_size > 1].mean() < 0.9


def test_under_shift_the_intervals_do_not_hold() -> None:
    """The guarantee is for exchangeable variants alone: errors that are twice as large are not held."""
    size, scores = effects(5_000, 0)
    groups = ConformalGroups.of(size, scores, default_edges(size))
    new_size, new_scores = effects(5_000, 1, scale=2.0)
    inside = new_scores <= groups.at(new_size, 0.95)
    assert inside.mean() < 0.9


def test_groups_by_default_are_shares_of_the_effects_and_large_enough() -> None:
    size = np.arange(1.0, 10_001)
    edges = default_edges(size)
    assert_allclose(edges[1:-1], [5000.5, 7500.25, 9000.1, 9700.03])
    few = default_edges(size[:696])
    assert np.bincount(group_of(size[:696], few)).min() >= MIN_GROUP
    assert len(few) == 4
    assert default_edges(size[:150]) == (0.0, math.inf)
    mostly_zero = np.r_[np.zeros(9_000), np.linspace(0.1, 1, 1_000)]
    assert default_edges(mostly_zero)[1] > 0  # no empty group below an end of 0


def test_small_groups_are_merged_into_the_smaller_neighbour() -> None:
    size = np.repeat([0.5, 1.5, 2.5, 3.5], [50, 5, 30, 40])
    assert merged(size, (0, 1, 2, 3, math.inf), 20) == ((0, 1, 3, math.inf), [2])
    assert merged(size, (0, 1, 2, 3, math.inf), 5) == ((0, 1, 2, 3, math.inf), [])
    assert merged(size, (0, 1, 2, 3, math.inf), 1000) == ((0, math.inf), [1, 2, 3])


def test_the_users_bins_are_merged_with_a_warning_that_names_them() -> None:
    size = np.repeat([0.5, 1.5, 2.5], [50, 5, 30])
    with pytest.warns(InputWarning, match="merged_groups: level 0.95 needs 19 .* over the bins 2"):
        assert chosen_edges(size, [1, 2], 0.95) == (0.0, 1, math.inf)
    assert chosen_edges(size, [1], 0.95) == (0.0, 1, math.inf)
    for bad in ([2, 1], [0, 1], [1, 1], [-1.0], [math.inf]):
        with pytest.raises(InputError, match="bins must be positive and rising"):
            chosen_edges(size, bad, 0.95)


def test_a_level_that_a_group_cannot_give_is_refused_by_name() -> None:
    size, scores = np.repeat([0.5, 1.5], [200, 30]), np.arange(230.0)
    groups = ConformalGroups.of(size, scores, (0.0, 1.0, math.inf))
    assert_array_equal(groups.at([0.5, 1.5, np.nan], 0.5), [100.0, 215.0, np.nan])
    with pytest.raises(InputError, match=r"99 effects .*\|effect\| of 1 or more has 30.*at most 0.96"):
        groups.at([0.5], 0.99)
    with pytest.raises(InputError, match=r"level must be one of the calibration's.*got 0.957"):
        groups.at([0.5], 0.957)


def test_the_half_width_of_a_normal_error() -> None:
    scores = np.abs(stats.norm.ppf((np.arange(100_000) + 0.5) / 100_000))
    assert half_widths(scores, [0.95]) == [pytest.approx(1.96, abs=0.001)]
