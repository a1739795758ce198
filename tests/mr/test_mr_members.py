"""Instruments whose draws are of several members: resampling, standard errors, splits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small_models import Linear, fixed, one_hot

import kipoi_mcdropout as mcd
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr import answer
from kipoi_mcdropout.mr.estimators.bootstrap import bootstrap_estimates
from kipoi_mcdropout.mr.estimators.ivw import error_correlation
from kipoi_mcdropout.mr.estimators.resampling import draw_replicates
from kipoi_mcdropout.mr.pairs.correlation import correlation_of_draws, covariance_of_draws
from kipoi_mcdropout.mr.pairs.instruments import Instruments
from kipoi_mcdropout.mr.pairs.spread import deviations, spread_of_draws


def _instruments(draws: np.ndarray, n_members: int) -> Instruments:
    """Exposure and outcome effects, shape=(2, draws, mutants)."""
    x, y = draws
    return Instruments(
        snp=np.array([f"m{i}" for i in range(x.shape[1])]),
        beta_exposure=x.mean(0), se_exposure=x.std(0, ddof=1), beta_outcome=y.mean(0),
        se_outcome=y.std(0, ddof=1), se_type="sd", draws_exposure=x, draws_outcome=y,
        n_members=n_members,
    )  # fmt: skip


def test_members_are_resampled_first_and_then_their_draws() -> None:
    draws = np.zeros((2, 12, 12))
    draws[:] = np.eye(12) + 1  # mutant t shows how often draw t was taken
    made = _instruments(draws, n_members=3)
    (block,) = draw_replicates(made, 4000, 0, "draws")
    times = np.rint((block[0] - 1) * 12).astype(int)
    assert (times.sum(axis=1) == 12).all()
    of_members = np.stack([times[:, m::3].sum(axis=1) for m in range(3)], axis=1)
    assert (of_members % 4 == 0).all(), "a member comes with as many draws as it has"
    # A member is left out of a replicate with probability (2/3)**3.
    share, p = (of_members == 0).mean(), (2 / 3) ** 3
    assert abs(share - p) < 4 * np.sqrt(p * (1 - p) / 4000)
    assert (times[of_members[:, 0] == 4][:, 0::3] != 1).any(), "draws within a member vary too"


def test_where_only_members_differ_the_bootstrap_is_that_over_members() -> None:
    rng = np.random.default_rng(0)
    of_members = rng.normal(size=(2, 5, 8)) * 0.2 + rng.normal(size=(2, 1, 8)) + 2
    draws = np.tile(of_members, (1, 6, 1))  # draw t is of member t mod 5
    nested = bootstrap_estimates(_instruments(draws, 5), "ivw", n_bootstrap=4000, seed=1)
    plain = bootstrap_estimates(_instruments(of_members, 1), "ivw", n_bootstrap=4000, seed=2)
    ignored = bootstrap_estimates(_instruments(draws, 1), "ivw", n_bootstrap=4000, seed=3)
    assert nested.std() == pytest.approx(plain.std(), rel=0.08)
    assert ignored.std() < 0.6 * plain.std(), "taken for 30 independent draws, the error is too small"


def test_effects_of_a_model_with_members_say_so() -> None:
    model = mcd.Model([fixed(Linear(), seed) for seed in range(3)], outputs=["A", "B", "C"])
    options = mcd.MutationOptions(start=0, end=6, keep_draws=True)
    effects = mcd.ism(model, one_hot(1), n_draws=12, options=options)
    found = mcd.mr.instruments(effects, "A", "B")
    assert found.n_members == 3
    table = effects.table(["A"])
    np.testing.assert_allclose(found.se_exposure, table["effect_sd"])
    of_mean = mcd.mr.instruments(effects, "A", "B", se_type="mcse")
    np.testing.assert_allclose(of_mean.se_exposure, table["effect_mcse"])
    for side in ("exposure", "outcome"):
        name = f"se_{side}"
        np.testing.assert_array_equal(getattr(found.with_se_type("mcse"), name), getattr(of_mean, name))
        np.testing.assert_array_equal(
            getattr(of_mean.take([3, 1]).with_se_type("sd"), name), getattr(found, name)[[3, 1]]
        )
    bare = mcd.mr.instruments_from_table(
        effects.table(["A", "B"]), "A", "B", draws=effects.draws(["A", "B"]), n_members=3
    )
    np.testing.assert_allclose(bare.with_se_type("mcse").se_exposure, table["effect_mcse"])
    half = mcd.mr.instruments(effects, "A", "B", select_draws="half", top_n=10)
    assert half.n_draws == 6
    # The sd, which is a weight, is that of all draws; the error of the mean is that of the half.
    np.testing.assert_allclose(half.se_exposure, found.se_exposure, rtol=1e-4)
    means = effects.draws(["A"]).astype(float)[6:].reshape(2, 3, -1).mean(axis=0)
    of_mean = half.with_se_type("mcse").se_exposure
    np.testing.assert_allclose(of_mean, np.sqrt(means.var(axis=0, ddof=1) / 3), rtol=1e-4)


def test_draws_that_are_not_as_many_of_each_member_are_refused() -> None:
    with pytest.raises(InputError, match="10 draws of 3 members"):
        _instruments(np.random.default_rng(0).normal(size=(2, 10, 4)), 3)
    few = _instruments(np.random.default_rng(0).normal(size=(2, 9, 4)), 9)
    from kipoi_mcdropout.mr.pairs.selection import select_instruments

    with pytest.raises(InputError, match="each of the 9 members needs at least 2 draws"):
        select_instruments(few, select_draws="half", top_n=3)


def test_the_other_uncertainty_comes_from_the_draws_or_is_asked_for() -> None:
    draws = np.random.default_rng(0).normal(size=(2, 12, 4)) + 1
    made = _instruments(draws, 3)
    of_members = draws[0].reshape(4, 3, 4).mean(axis=0)
    expected = of_members.std(axis=0, ddof=1) / np.sqrt(3)
    np.testing.assert_allclose(made.with_se_type("mcse").se_exposure, expected)
    assert abs(expected / (made.se_exposure / np.sqrt(12)) - 1).max() > 0.1
    with pytest.raises(InputError, match=r"several members the mcse is not sd / sqrt\(n_draws\)"):
        made.without_draws().with_se_type("mcse")


def test_what_mr_says_of_members() -> None:
    """Q with an error that 5 networks determine is too large, so no scatter is told of."""
    rng = np.random.default_rng(0)
    x = np.tile(rng.normal(size=20), (30, 1)) + rng.normal(size=(30, 20)) * 0.01
    y = 0.7 * x + np.tile(rng.normal(size=(5, 20)) * 0.05, (6, 1))  # draw t is of member t mod 5
    assert "scatter_beyond_draws" in [
        found.code for found in mcd.mr.diagnose(_instruments(np.stack([x, y]), 1))
    ]
    made = _instruments(np.stack([x, y]), 5)
    codes = [found.code for found in mcd.mr.diagnose(made)]
    assert "scatter_beyond_draws" not in codes
    found = mcd.mr.diagnose(_instruments(np.stack([x, y])[:, :10], 5))
    (large,) = [one for one in found if one.code == "mcse_large"]
    assert "5 members and 10 draws" in large.message
    assert "more members lessen all of it" in large.message


def test_the_answer_has_the_spread_between_members_in_its_interval() -> None:
    """Each member has a slope of its own: draws alone would say it far too surely."""
    rng = np.random.default_rng(5)
    effect = rng.uniform(0.5, 1.5, 30)
    slopes = np.tile(0.7 + 0.1 * rng.normal(size=6), 10)[:, None]  # draw t is of member t mod 6
    x = effect + 0.02 * rng.normal(size=(60, 30))
    y = slopes * effect + 0.02 * rng.normal(size=(60, 30))
    kinds = {n: answer(_instruments(np.stack([x, y]), n), n_bootstrap=200) for n in (1, 6)}
    assert kinds[6].kind == "one_number"
    shown = kinds[6].shown
    assert shown is not None
    assert shown.ci_upper - shown.ci_lower == pytest.approx(
        2 * 1.96 * slopes[:6].std() / 6**0.5, rel=0.25
    )
    alone = kinds[1].shown
    assert alone is not None
    assert alone.ci_upper - alone.ci_lower < 0.6 * (shown.ci_upper - shown.ci_lower)


def _nested(n_members: int = 4, each: int = 3, n: int = 3) -> np.ndarray:
    """Effects, shape=(2, draws, mutants), of members that differ."""
    rng = np.random.default_rng(2)
    of_members = rng.normal(size=(2, n_members, n)) @ rng.normal(size=(n, n))
    return np.tile(of_members, (1, each, 1)) + rng.normal(size=(2, n_members * each, n)) + 3


def test_covariances_are_the_totals_of_the_nested_draws() -> None:
    draws = _nested()
    found = covariance_of_draws(_instruments(draws, 4))
    by_member = draws.reshape(2, 3, 4, 3)
    joined = np.concatenate(list(by_member), axis=-1)  # draw, member, mutants of both
    within = np.mean([np.cov(joined[:, m], rowvar=False) for m in range(4)], axis=0)
    between = np.cov(joined.mean(axis=0), rowvar=False) - within / 3
    total = between + within
    np.testing.assert_allclose(found["xx"], total[:3, :3])
    np.testing.assert_allclose(found["yy"], total[3:, 3:])
    np.testing.assert_allclose(found["xy"], total[:3, 3:])
    sd = spread_of_draws(draws[0], 4, False)
    np.testing.assert_allclose(np.sqrt(np.diag(found["xx"])), sd)
    assert np.linalg.eigvalsh(found["xx"]).min() > 0


def test_correlations_of_sd_and_of_mcse_are_those_of_draws_and_of_members() -> None:
    made = _instruments(_nested(), 4)
    yy = covariance_of_draws(made)["yy"]
    sd = np.sqrt(np.diag(yy))
    np.testing.assert_allclose(correlation_of_draws(made), yy / np.outer(sd, sd))
    means = _nested()[1].reshape(3, 4, 3).mean(axis=0)
    of_mean = replace(made, se_type="mcse")
    np.testing.assert_allclose(correlation_of_draws(of_mean), np.corrcoef(means, rowvar=False))
    x = _nested()[0].reshape(3, 4, 3).mean(axis=0)
    psi = np.median([np.corrcoef(x[:, i], means[:, i])[0, 1] for i in range(3)])
    assert error_correlation(of_mean) == pytest.approx(psi)
    with pytest.raises(InputError, match=r"5 instruments and 4 members.*bootstrap over draws"):
        correlation_of_draws(replace(_instruments(_nested(n=5), 4), se_type="mcse"))


def test_one_member_has_the_plain_covariances() -> None:
    draws = _nested()
    found = deviations(draws[0], 1, False)
    np.testing.assert_allclose(found.T @ found, np.cov(draws[0], rowvar=False))
    found = deviations(draws[0], 1, True)
    np.testing.assert_allclose(found.T @ found, np.cov(draws[0], rowvar=False) / 12)
    np.testing.assert_array_equal(
        correlation_of_draws(_instruments(draws, 1)), np.corrcoef(draws[1], rowvar=False)
    )
