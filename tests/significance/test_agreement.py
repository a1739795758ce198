"""Correlations, signs and precision at labels, against scipy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from sklearn.metrics import average_precision_score

from kipoi_mcdropout.significance.agreement import (
    average_precision,
    pearson,
    share_right,
    sign_right,
    spearman,
)

N = 60


def numbers(seed: int, ties: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two related numbers and labels; with ties each number has about 7 values."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=N)
    y = 0.5 * x + rng.normal(size=N)
    if ties:
        x, y = np.round(x), np.round(y)
    return x, y, rng.random(N) < 0.3


def samples(seed: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """How often each variant is in a sample, and the variants themselves, each so many times."""
    counts = np.random.default_rng(seed).multinomial(N, np.full(N, 1 / N), size=20).astype(float)
    return counts, [np.repeat(np.arange(N), row.astype(int)) for row in counts]


@pytest.mark.parametrize("ties", [False, True])
def test_correlations_of_all_and_of_samples_are_those_of_scipy(ties: bool) -> None:
    x, y, _ = numbers(1, ties)
    counts, rows = samples(2)
    for ours, theirs in ((pearson, stats.pearsonr), (spearman, stats.spearmanr)):
        assert_allclose(ours(x, y)(np.ones((1, N))), theirs(x, y)[0], atol=1e-13)
        expected = [theirs(x[some], y[some])[0] for some in rows]
        assert_allclose(ours(x, y)(counts), expected, atol=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_average_precision_is_that_of_scikit_learn(ties: bool) -> None:
    x, _, labels = numbers(3, ties)
    counts, rows = samples(4)
    ours = average_precision(labels, x)
    assert_allclose(ours(np.ones((1, N))), average_precision_score(labels, x), atol=1e-13)
    expected = [average_precision_score(labels[some], x[some]) for some in rows]
    assert_allclose(ours(counts), expected, atol=1e-12)


def test_precision_by_hand() -> None:
    labels = np.array([True, False, True, False])
    once = np.ones((1, 4))
    assert average_precision(labels, np.array([4.0, 3, 2, 1]))(once)[0] == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(labels, np.zeros(4))(once)[0] == 0.5  # one step: the share of labels
    assert average_precision(labels, np.array([np.inf, -1, np.inf, -1]))(once)[0] == 1


def test_a_sample_in_which_a_number_is_not_defined_has_none() -> None:
    x, y, labels = np.array([1.0, 1, 2]), np.array([1.0, 2, 3]), np.array([True, False, False])
    counts = np.array([[2.0, 1, 0], [0, 0, 3]])
    for statistic in (pearson(x, y), spearman(x, y)):
        assert np.isnan(statistic(counts)).all()  # x has one value
    precision = average_precision(labels, x)(counts)
    assert np.isfinite(precision[0])
    assert np.isnan(precision[1])  # no label
    assert np.isnan(share_right(np.array([1.0, 1, np.nan]))(counts)).tolist() == [False, True]


def test_signs_by_hand() -> None:
    predicted = np.array([1.0, -2, 0, 3, -1, 0.5])
    measured = np.array([2.0, 1, 4, -1, -9, 0])
    right = sign_right(predicted, measured)
    assert_allclose(right, [1, 0, 0.5, 0, 1, np.nan])
    assert share_right(right)(np.ones((1, 6)))[0] == 0.5
    assert np.isnan(sign_right(predicted, measured, least=1)).tolist() == [
        False,
        True,
        False,
        True,
        False,
        True,
    ]
