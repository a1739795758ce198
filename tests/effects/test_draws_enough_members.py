"""How many draws are enough where they are of several members: against simulated draws."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from kipoi_mcdropout.arrays.nested_variance import NestedVariance
from kipoi_mcdropout.effects.draws_enough import draws_enough, sd_error_of_members


def _rows(n_members: int, each: int, sd_between: float, sd_within: float, n: int = 4000) -> pd.DataFrame:
    """Rows with a mean of 1, all with the same true parts of the variance."""
    rng = np.random.default_rng(0)
    draws = 1 + sd_between * rng.normal(size=(1, n_members, n))
    draws = draws + sd_within * rng.normal(size=(each, n_members, n))
    variances = draws.var(axis=0, ddof=1) if each > 1 else np.full((n_members, n), np.nan)
    if sd_within == 0:
        variances = np.zeros((n_members, n))
    parts = NestedVariance.of(draws.mean(axis=0), variances, each)
    return pd.DataFrame(
        {
            "effect_mean": draws.mean(axis=(0, 1)),
            "effect_sd": np.sqrt(parts.total),
            "effect_mcse": np.sqrt(parts.of_mean),
            "effect_sd_within": np.sqrt(parts.within),
            "effect_sd_between": np.sqrt(parts.between),
            "n_draws": n_members * each,
        }
    ).astype({"effect_sd": "float32", "effect_mcse": "float32", "effect_sd_within": "float32"})


@pytest.mark.parametrize(("n_members", "each"), [(5, 6), (3, 40), (10, 2), (5, 1)])
@pytest.mark.parametrize(("sd_between", "sd_within"), [(0.3, 0.1), (0.05, 0.2), (0.2, 0.0)])
def test_the_error_of_an_sd_is_that_over_repeated_runs(
    n_members: int, each: int, sd_between: float, sd_within: float
) -> None:
    rows = _rows(n_members, each, sd_between, sd_within)
    found = draws_enough(rows)
    assert found.n_members == n_members
    sd = rows["effect_sd"].to_numpy(float)
    share = sd_between**2 / (sd_between**2 + sd_within**2)
    known = sd_error_of_members(n_members, each, 1.0 if each == 1 else share)
    # The delta method is first order: with few members an sd is far from normal.
    assert known == pytest.approx(sd.std() / np.sqrt((sd**2).mean()), rel=0.2)
    assert found.sd_error == pytest.approx(known, rel=0.25)


def test_many_draws_of_few_members_are_not_enough() -> None:
    found = draws_enough(_rows(3, 100, 0.2, 0.1))
    assert found.n_draws == 300
    assert not found.enough
    assert found.for_sd is None
    assert "300 draws of 3 members" in found.sentence()
    assert "run with more members" in found.sentence()
    assert draws_enough(_rows(40, 2, 0.2, 0.1)).enough


def test_the_error_of_a_mean_is_the_mcse_of_the_table() -> None:
    rows = _rows(4, 5, 0.1, 0.1)
    z = rows["effect_mean"] / rows["effect_sd"]
    expected = np.quantile((rows["effect_mcse"] / rows["effect_mean"])[z >= 2], 0.95)
    assert draws_enough(rows).mean_error == pytest.approx(expected, rel=1e-6)
