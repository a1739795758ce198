"""kipoi-interpret's scorer class with several members."""

from __future__ import annotations

import numpy as np
import pytest
from small_models import LENGTH, Linear, NoDropout, fixed, one_hot

import kipoi_mcdropout as mcd
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.plugin.mutation import MCDropoutISM


def test_a_list_holds_the_members_of_an_ensemble() -> None:
    nets = [fixed(Linear(), seed) for seed in range(3)]
    scorer = MCDropoutISM(nets, None, n_draws=12, seed=4)
    got = scorer.score(one_hot(2))["diff"]
    effects = mcd.ism(mcd.Model(nets), one_hot(2), n_draws=12, seed=4)
    table, means = effects.table(), effects.member_means()
    for name in ("effect_mean", "effect_sd", "effect_sd_within", "effect_sd_between"):
        assert got[name].shape == (2, 4, LENGTH, 3)
        values = np.moveaxis(got[name], 1, 2)  # position, base
        kept = values[np.isfinite(values).all(axis=-1)].ravel()
        np.testing.assert_allclose(kept, table[name], rtol=1e-5, atol=1e-8, err_msg=name)
    of_each = np.moveaxis(got["effect_member_mean"], 1, 2)
    kept = of_each[np.isfinite(of_each).all(axis=(-1, -2))].reshape(-1, 3).T
    np.testing.assert_allclose(kept, means, rtol=1e-5, atol=1e-8)


def test_without_a_number_there_are_as_many_draws_as_suit_the_members() -> None:
    for nets, n_draws in (
        ([fixed(Linear())], 30),
        ([fixed(Linear(), seed) for seed in range(4)], 32),
        ([fixed(NoDropout(), seed) for seed in range(4)], 4),
    ):
        scorer = MCDropoutISM(nets, None, end=2)
        (effects, *_) = scorer.effects(one_hot(1))
        assert effects.summaries[0].n_draws == n_draws
        assert scorer.options.effects.n_draws == n_draws


def test_bad_members_are_refused_by_name() -> None:
    nets = [fixed(Linear(), seed) for seed in range(3)]
    with pytest.raises(InputError, match="multiple of the number of members, 3"):
        MCDropoutISM(nets, None, n_draws=10)
    with pytest.raises(InputError, match="at least one model"):
        MCDropoutISM([], None)
    with pytest.raises(InputError, match="member 2 has the same weights and code as member 1"):
        MCDropoutISM([nets[0], nets[0]], None)
    assert MCDropoutISM.is_compatible(nets)
    assert not MCDropoutISM.is_compatible([nets[0], "no model"])
    assert not MCDropoutISM.is_compatible([])
