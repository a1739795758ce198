"""Risk against coverage: by hand, with ties, and against orders that break ties at random."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from kipoi_mcdropout.significance.risk_coverage import RiskCoverage


def once(n: int) -> np.ndarray:
    return np.ones((1, n))


def area(error: list[float], certainty: list[float]) -> float:
    return float(RiskCoverage(error, certainty).area()(once(len(error)))[0])


def test_by_hand() -> None:
    curve = RiskCoverage([0.0, 1, 1, 0], [1.0, 2, 3, 4])  # in order: 0 1 1 0
    assert_allclose(curve.risk([0.25, 0.5, 0.75, 1])(once(4))[0], [0, 1 / 2, 2 / 3, 1 / 2])
    assert area([0.0, 1, 1, 0], [1.0, 2, 3, 4]) == pytest.approx((0 + 1 / 2 + 2 / 3 + 1 / 2) / 4)
    assert area([0.0, 0, 1], [3.0, 2, 1]) == pytest.approx(1 / 9)
    assert area([0.0, 0, 1], [1.0, 2, 3]) == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert area([1.0, 0], [np.inf, 5.0]) == pytest.approx(0.75)


def test_half_a_variant_is_half_kept() -> None:
    risk = RiskCoverage([0.0, 1, 0], [3.0, 2, 1]).risk([0.5])(once(3))[0, 0]
    assert risk == pytest.approx(0.5 / 1.5)


def test_equal_variants_have_the_risk_of_all_of_them() -> None:
    errors = [1.0, 0, 0, 1, 0]
    curve = RiskCoverage(errors, [7.0] * 5)
    assert_allclose(curve.risk([0.1, 0.5, 1])(once(5)), 0.4)
    assert area(errors, [7.0] * 5) == pytest.approx(0.4)


def test_ties_are_the_mean_over_orders_that_break_them_at_random() -> None:
    rng = np.random.default_rng(0)
    certainty, error = rng.integers(0, 4, 30).astype(float), rng.random(30)
    ks = np.arange(1, 31)
    risks = []
    for _ in range(4000):
        order = np.lexsort((rng.random(30), -certainty))
        risks.append(np.cumsum(error[order]) / ks)
    expected = np.mean(risks, axis=0)
    curve = RiskCoverage(error, certainty)
    assert_allclose(curve.risk(ks / 30)(once(30))[0], expected, atol=0.01)
    assert_allclose(curve.area()(once(30))[0], expected.mean(), atol=0.005)


def test_a_variant_that_counts_twice_is_two_variants() -> None:
    rng = np.random.default_rng(1)
    certainty, error = np.round(rng.normal(size=25)), rng.random(25)
    counts = rng.multinomial(25, np.full(25, 1 / 25), size=8).astype(float)
    curve, shares = RiskCoverage(error, certainty), [0.1, 0.33, 0.5, 1.0]
    for i, row in enumerate(counts):
        some = np.repeat(np.arange(25), row.astype(int))
        again = RiskCoverage(error[some], certainty[some])
        assert_allclose(curve.area()(counts)[i], again.area()(once(25))[0], rtol=1e-12)
        assert_allclose(curve.risk(shares)(counts)[i], again.risk(shares)(once(25))[0], rtol=1e-12)


def test_variants_without_an_error_are_left_out() -> None:
    whole = RiskCoverage([0.0, 1, np.nan, 1], [4.0, 3, 9, 1])
    part = RiskCoverage([0.0, 1, 1], [4.0, 3, 1])
    assert whole.area()(once(4))[0] == part.area()(once(3))[0]
    assert_allclose(whole.risk([0.5, 1])(once(4)), part.risk([0.5, 1])(once(3)))
    assert np.isnan(whole.area()(np.array([[0.0, 0, 1, 0]])))[0]
