"""The probability of the sign, and how exact it is after so many draws."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from kipoi_mcdropout.significance.sign_probability import independent_draws, sign_probability


def test_it_is_the_share_of_the_draws_that_agree() -> None:
    draws = np.array([[3, -1, 0, -2], [2, 4, 0, -1], [1, -2, 0, 0]], float)
    positive = ((draws > 0) + 0.5 * (draws == 0)).mean(axis=0)
    found = sign_probability(positive, draws.mean(axis=0), 3)
    assert found.probability == pytest.approx([1, 1 / 3, 0.5, 2.5 / 3])


@pytest.mark.parametrize("agree", [0, 3, 9, 10])
def test_its_error_is_that_of_a_beta_distribution(agree: int) -> None:
    found = sign_probability([agree / 10], [0.7], 10)
    assert found.mcse == pytest.approx([scipy.stats.beta(agree + 1, 11 - agree).std()])
    assert found.mcse[0] > 0


def test_a_share_that_was_kept_as_float32_is_exact() -> None:
    narrow = np.float32([1 / 30, 29 / 30])
    assert sign_probability(narrow, [-1, 1], 30).probability.tolist() == [29 / 30, 29 / 30]


def test_no_effect_has_no_sign() -> None:
    found = sign_probability([np.nan, 0.9], [np.nan, np.nan], 10)
    assert np.isnan(found.probability).all()
    assert np.isnan(found.mcse).all()


def test_draws_of_members_that_differ_are_worth_fewer() -> None:
    """Simulated: the variance of a share over members that agree within is that of n_effective draws."""
    worth = independent_draws([1, 1, 0, np.nan, 0], [0, 1, 1, np.nan, 0], 40, 4)
    assert worth == pytest.approx([40, 40 / 5.5, 4, 4, 40])
    random = np.random.default_rng(0)
    member, mask = random.normal(size=(2, 20_000, 4, 10))
    effects = member[:, :, :1] + mask  # sd 1 between and 1 within
    spread = effects.mean(axis=(1, 2)).var() / 2  # of the mean, in units of the variance of one draw
    assert 1 / spread == pytest.approx(worth[1], rel=0.05)
