"""Effects under several members: the parts of the variance against enumeration and against numpy."""

from __future__ import annotations

from contextlib import nullcontext
from itertools import product

import numpy as np
import pytest
import torch
from small_models import Linear, NoDropout, fixed, one_hot
from torch import Tensor, nn

from kipoi_mcdropout.arrays.nested_variance import NestedVariance
from kipoi_mcdropout.dropout.locked_model import LockedModel
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.effects.members import Member, summarize_members
from kipoi_mcdropout.effects.scores import SCORES
from kipoi_mcdropout.effects.summarize import summarize_effects
from kipoi_mcdropout.effects.summary import EffectOptions, EffectSummary
from kipoi_mcdropout.engine.full import FullEngine
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.outputs.targets import Targets
from kipoi_mcdropout.sequence.mutants import MutantBatch, all_substitutions, substituted
from kipoi_mcdropout.sequence.one_hot import OneHotLayout

TARGETS = Targets(("a", "b", "c"), (0, 1, 2), 3)


def _batch(n: int = 12) -> MutantBatch:
    x = one_hot(1)
    layout = OneHotLayout.of(x)
    codes = layout.codes(x)
    edits = all_substitutions(codes[0], 4)
    mutants = substituted(codes[0], edits.position[:n], edits.alt[:n])
    return MutantBatch(x, None, layout, codes, np.zeros(n, np.int64), mutants)


def _member(net: nn.Module, seed: int = 1, is_random: bool = True) -> Member:
    model = LockedModel(net)
    return Member(FullEngine(model, MaskBank(seed)), model.borrow, is_random)


def _options(n_draws: int, keep: bool = True) -> EffectOptions:
    return EffectOptions((SCORES["diff"],), n_draws, (0.25,), keep_draws=keep)


def _run(nets: list[nn.Module], n_draws: int, is_random: bool = True) -> EffectSummary:
    members = [_member(net, is_random=is_random) for net in nets]
    return summarize_members(members, _batch(), TARGETS, _options(n_draws))[0]


def test_one_member_is_the_run_without_members_bit_for_bit() -> None:
    net = fixed(Linear())
    alone = _run([net], 6)
    model = LockedModel(net)
    with model.borrow():
        engine = FullEngine(model, MaskBank(1))
        (plain,) = summarize_effects(engine, _batch(), TARGETS, _options(6))
    for name, values in plain.mutant.items():
        np.testing.assert_array_equal(alone.mutant[name], values)
    assert plain.draws is not None
    np.testing.assert_array_equal(alone.draws, plain.draws)
    assert alone.mutant.keys() == plain.mutant.keys()
    assert alone.member_means is None


def test_networks_without_dropout_have_the_sd_of_numpy_over_them() -> None:
    nets = [fixed(NoDropout(), seed) for seed in range(5)]
    got = _run(nets, 5, is_random=False)
    inputs = torch.from_numpy(np.concatenate([_batch().references, _batch().inputs(slice(0, 12))]))
    outputs = np.stack([net(inputs).detach().double().numpy() for net in nets])
    effects = outputs[:, 1:] - outputs[:, :1]
    np.testing.assert_allclose(got.mutant["effect_sd"], effects.std(0, ddof=1), rtol=1e-5)
    np.testing.assert_allclose(got.mutant["effect_sd_between"], effects.std(0, ddof=1), rtol=1e-5)
    np.testing.assert_allclose(got.mutant["effect_mean"], effects.mean(0), rtol=1e-5, atol=1e-8)
    mcse = effects.std(0, ddof=1) / np.sqrt(5)
    np.testing.assert_allclose(got.mutant["effect_mcse"], mcse, rtol=1e-5)
    assert (got.mutant["effect_sd_within"] == 0).all()
    assert got.member_means is not None
    np.testing.assert_allclose(got.member_means, effects, rtol=1e-4, atol=1e-7)
    share = (np.sign(effects) == np.sign(effects.mean(0))).mean(0)
    np.testing.assert_allclose(got.mutant["sign_agreement"], share)


def test_more_draws_of_networks_without_dropout_change_nothing_but_their_number() -> None:
    nets = [fixed(NoDropout(), seed) for seed in range(3)]
    once, thrice = _run(nets, 3, is_random=False), _run(nets, 9, is_random=False)
    for name, values in once.mutant.items():
        np.testing.assert_allclose(thrice.mutant[name], values, rtol=1e-12, atol=0, err_msg=name)
    assert (once.n_draws, thrice.n_draws) == (3, 9)
    assert thrice.draws is not None
    np.testing.assert_array_equal(thrice.draws[0], thrice.draws[3])


def test_draw_d_is_of_member_d_mod_m_under_the_masks_of_draw_d() -> None:
    nets = [fixed(Linear(), seed) for seed in range(2)]
    got, alone = _run(nets, 6), [_run([net], 6) for net in nets]
    assert got.draws is not None
    for d in range(6):
        expected = alone[d % 2].draws
        assert expected is not None
        np.testing.assert_array_equal(got.draws[d], expected[d])
    np.testing.assert_allclose(got.mutant["effect_mean"], got.draws.mean(0), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(
        got.quantiles[0.25], np.quantile(got.draws, 0.25, axis=0), rtol=1e-4, atol=1e-7
    )


def test_variance_of_the_effect_is_that_of_the_outputs_less_twice_their_covariance() -> None:
    got = _run([fixed(Linear(), seed) for seed in range(3)], 12)
    total = got.reference["ref_var"] + got.mutant["alt_var"] - 2 * got.mutant["ref_alt_cov"]
    np.testing.assert_allclose(got.mutant["effect_sd"] ** 2, total, rtol=1e-6, atol=1e-14)


class TwoUnits(nn.Module):
    """y = sum over 2 units of w_i m_i x_i, whose masks can be enumerated."""

    def __init__(self, weights: tuple[float, float]) -> None:
        super().__init__()
        self.weights, self.drop = weights, nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        hidden = x[:, :2, 0].double() * torch.tensor(self.weights, dtype=torch.float64)
        return self.drop(hidden).sum(dim=1, keepdim=True)


def test_parts_of_the_variance_are_unbiased_against_enumeration() -> None:
    weights = [(1.0, 2.0), (3.0, -1.0), (0.5, 0.5)]
    x = np.zeros((1, 4, 3), np.float32)
    x[0, 0, :] = 1
    layout = OneHotLayout.of(x)
    codes = layout.codes(x)
    batch = MutantBatch(x, None, layout, codes, np.zeros(1, np.int64), codes.copy())
    batch.codes[0, 0] = 1  # the effect is w_1 m_1 - w_0 m_0, with m of 0 or 2
    targets = Targets(("y",), (0,), 1)
    exact_means, exact_variances = [], []
    for w in weights:
        effects = [w[1] * 2 * b - w[0] * 2 * a for a, b in product((0, 1), repeat=2)]
        exact_means.append(np.mean(effects))
        exact_variances.append(np.var(effects))
    within, between = np.mean(exact_variances), np.var(exact_means, ddof=1)
    found = []
    for seed in range(150):
        members = [_member(TwoUnits(w), seed) for w in weights]
        (summary,) = summarize_members(members, batch, targets, _options(12, keep=False))
        statistics = summary.mutant
        # The cut at 0 is rare here: the members differ by more than their draws.
        found.append(
            [statistics[f"effect_sd{part}"][0, 0] ** 2 for part in ("_within", "_between", "")]
        )
    mean, error = np.mean(found, axis=0), np.std(found, axis=0) / np.sqrt(len(found))
    expected = np.array([within, between, within + between])
    assert (np.abs(mean - expected) < 3.5 * error).all(), (mean, expected, error)


def test_parts_by_hand() -> None:
    values = np.array([[1.0, 3.0], [6.0, 8.0], [2.0, 2.0]])  # three members, two draws each
    parts = NestedVariance.of(values.mean(1), values.var(1, ddof=1), 2)
    within = (2 + 2 + 0) / 3
    of_means = np.var([2.0, 7.0, 2.0], ddof=1)
    assert parts.within == pytest.approx(within)
    assert parts.between == pytest.approx(of_means - within / 2)
    assert parts.total == pytest.approx(of_means - within / 2 + within)
    assert parts.of_mean == pytest.approx(of_means / 3)


def test_between_is_never_negative_and_the_total_stays_unbiased() -> None:
    parts = NestedVariance.of(np.array([[1.0], [1.0]]), np.array([[4.0], [4.0]]), 4)
    assert parts.between[0] == 0
    assert parts.total[0] == pytest.approx(4 - 1)


def test_one_draw_of_each_member_with_dropout_gives_the_total_alone() -> None:
    got = _run([fixed(Linear(), seed) for seed in range(4)], 4)
    assert got.draws is not None
    expected = got.draws.astype(float).std(0, ddof=1)
    np.testing.assert_allclose(got.mutant["effect_sd"], expected, rtol=1e-4)
    assert np.isnan(got.mutant["effect_sd_within"]).all()
    assert np.isnan(got.mutant["effect_sd_between"]).all()


def test_draws_that_cannot_be_shared_out_are_refused() -> None:
    with pytest.raises(InputError, match=r"multiple of the number of members, 3.*got 10.*--n_draws 12"):
        _run([fixed(Linear(), seed) for seed in range(3)], 10)


def test_without_draws_the_point_effects_are_averaged() -> None:
    nets = [fixed(Linear(), seed) for seed in range(2)]
    got = _run(nets, 0)
    alone = [_run([net], 0).mutant["effect_point"] for net in nets]
    np.testing.assert_allclose(got.mutant["effect_point"], np.mean(alone, axis=0), rtol=1e-12)
    assert np.isnan(got.mutant["effect_sd"]).all()


def test_members_are_run_one_after_the_other() -> None:
    """Each is borrowed for its own draws alone, so that only one needs to be in memory."""
    order: list[str] = []

    class Watched(nullcontext[None]):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def __enter__(self) -> None:
            order.append(f"+{self.name}")

        def __exit__(self, *_: object) -> None:
            order.append(f"-{self.name}")

    models = [LockedModel(fixed(Linear(), seed)) for seed in range(2)]
    members = [
        Member(FullEngine(model, MaskBank(1)), lambda name=name: Watched(name))
        for name, model in zip("AB", models, strict=True)
    ]
    with models[0].borrow(), models[1].borrow():
        summarize_members(members, _batch(), TARGETS, _options(4))
    assert order == ["+A", "-A", "+B", "-B"]
