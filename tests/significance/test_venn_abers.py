"""Venn-Abers prediction: against isotonic regression of scikit-learn, and where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kipoi_mcdropout.significance.venn_abers import MAX_KNOTS, VennAbers


def test_both_bounds_are_isotonic_regressions_with_one_more_point() -> None:
    """The definition, by scikit-learn, for every place a new score can have."""
    isotonic = pytest.importorskip("sklearn.isotonic")
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 12, 40) / 2.0  # with ties
    event = (rng.random(40) < scores / 8).astype(float)
    found = VennAbers.of(scores, event)
    new = np.r_[-1.0, np.arange(0, 6, 0.25), 100.0]
    lower, upper = found.bounds(new)
    for came, bound in ((0.0, lower), (1.0, upper)):
        for score, value in zip(new, bound, strict=True):
            fit = isotonic.IsotonicRegression().fit(np.r_[scores, score], np.r_[event, came])
            assert value == pytest.approx(fit.predict([score])[0], abs=1e-12)
    assert (lower <= upper).all()
    assert_allclose(found.probability(new), upper / (1 - lower + upper))


def test_the_probability_is_the_share_of_events() -> None:
    def draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        score = rng.exponential(1, 20_000)
        return score, (rng.random(20_000) < 1 - 0.5 * np.exp(-score)).astype(float)

    found = VennAbers.of(*draw(0))
    assert len(found.knots) == MAX_KNOTS
    score, event = draw(1)
    probability = found.probability(score)
    assert (np.diff(found.probability(np.sort(score))) >= 0).all()
    for low, high in ((0.5, 0.6), (0.6, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 1)):
        rows = (probability >= low) & (probability < high)
        assert rows.sum() > 300
        assert event[rows].mean() == pytest.approx(probability[rows].mean(), abs=0.03)


def test_few_effects_never_give_certainty() -> None:
    found = VennAbers.of([1.0, 2.0, 3.0], [1.0, 1.0, 1.0])
    assert_array_equal(found.bounds([5.0]), [[0.75], [1.0]])
    assert found.probability(5.0) == pytest.approx(0.8)
    many = VennAbers.of(np.arange(50), np.ones(50))
    assert 0.97 < many.probability(100.0) < 1


def test_equal_scores_stay_together_where_knots_are_joined() -> None:
    scores = np.r_[np.zeros(5_000), np.linspace(1, 2, 1_000)]
    event = np.r_[np.tile([0.0, 1.0], 2_500), np.ones(1_000)]
    found = VennAbers.of(scores, event)
    assert found.knots[0] == 0
    assert found.probability(0.0) == pytest.approx(0.5, abs=0.001)
    assert found.probability(1.5) > 0.99


def test_a_missing_score_has_no_probability() -> None:
    assert np.isnan(VennAbers.of([1.0, 2.0], [0.0, 1.0]).probability([np.nan])).all()
