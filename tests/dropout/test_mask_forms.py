"""Masks that a model makes itself, in every type and by every function, also where always on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_models import OwnCode
from torch import Tensor, nn

from kipoi_mcdropout.dropout.locked_model import POINT, LockedModel
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.dropout.masks import keep_mask
from kipoi_mcdropout.errors import UnlockableDropoutError
from kipoi_mcdropout.model.audit import audit

SEED, P = 4, 0.3
N, C, L = 3, 4, 6
K = 1 - P
bernoulli = torch.distributions.Bernoulli


def drop_block(x: Tensor) -> Tensor:
    """Ghiasi, Lin, Le 2018: runs of neighbouring positions, the rest scaled up to the same sum."""
    start = (torch.rand(len(x), x.shape[2]) < 0.1).float()
    keep = 1 - F.max_pool1d(start[:, None], 3, 1, 1)
    return x * keep * (keep.numel() / keep.sum())


def first_never(x: Tensor) -> Tensor:
    """The first position is never dropped."""
    keep = torch.rand_like(x) > P
    keep[:, :, 0] = True
    return x * keep


def used_in_a_loop(x: Tensor) -> Tensor:
    """Gal, Ghahramani 2016: one mask of the input and one of the state for all steps of an RNN."""
    of_input, of_state = (torch.bernoulli(torch.full((len(x), C), K)) / K for _ in range(2))
    state, steps = torch.zeros(len(x), C), []
    for step in x.unbind(2):
        state = torch.tanh(step * of_input + 0.5 * state * of_state)
        steps.append(state)
    return torch.stack(steps, 2)


with torch.random.fork_rng():
    torch.manual_seed(3)
    CELL = nn.LSTMCell(C, C)


def in_cells(x: Tensor) -> Tensor:
    """The same with an LSTM cell, masks made by torch.rand."""
    of_input, of_state = ((torch.rand(len(x), C) > P).to(x) / K for _ in range(2))
    state, memory, steps = torch.zeros(len(x), C), torch.zeros(len(x), C), []
    for step in x.unbind(2):
        state, memory = CELL(step * of_input, (state * of_state, memory))
        steps.append(state)
    return torch.stack(steps, 2).detach()


EACH, ROW, CHANNEL, PLACE = (1, C, L), (1, 1, 1), (1, C, 1), (1, 1, L)
Sites = list[tuple[tuple[int, ...], float]]
# name: code, shape and probability of a zero of each site
FORMS: dict[str, tuple[Callable[[Tensor], Tensor], Sites]] = {
    "as float": (lambda x: (torch.rand_like(x) > P).float() * x / K, [(EACH, P)]),
    "as whole numbers": (lambda x: x * torch.rand_like(x).ge(P).long() / K, [(EACH, P)]),
    "as bool": (lambda x: x * torch.bernoulli(torch.full_like(x, K)).bool() / K, [(EACH, P)]),
    "to(dtype=torch.bool)": (
        lambda x: torch.where(torch.full_like(x, K).bernoulli().to(dtype=torch.bool), x / K, 0 * x),
        [(EACH, P)],
    ),
    "type_as": (lambda x: x * (torch.rand(x.shape).double() > P).type_as(x) / K, [(EACH, P)]),
    "equal to 0": (
        lambda x: x.masked_fill(torch.bernoulli(torch.full_like(x, K)) == 0, 0) / K, [(EACH, P)]
    ),
    "1 - mask": (lambda x: x * (1 - torch.bernoulli(torch.full_like(x, P))) / K, [(EACH, K)]),
    "scaled, then as bool": (
        lambda x: x * (x.new_empty(len(x), 1, 1).bernoulli_(K).div_(K) > 0), [(ROW, P)]
    ),
    "and": (
        lambda x: x * ((torch.rand_like(x) > P) & (torch.rand(len(x), 1, 1) > P)) / K**2,
        [(EACH, P), (ROW, P)],
    ),
    "logical_or": (
        lambda x: x.masked_fill(
            torch.logical_or(torch.rand_like(x) > K, torch.rand(len(x), C, 1) > K), 0.0
        ),
        [(EACH, K), (CHANNEL, K)],
    ),
    "xor": (lambda x: x * ((torch.rand_like(x) > P) ^ (torch.rand_like(x) > P)), [(EACH, P), (EACH, P)]),
    "product, as bool": (
        lambda x: x
        * (
            torch.bernoulli(torch.full_like(x, K)) * torch.bernoulli(torch.full_like(x, 0.5))
        ).bool(),
        [(EACH, P), (EACH, 0.5)],
    ),
    "beside a mask of its own": (
        lambda x: x * ((torch.rand_like(x) > P) | (torch.arange(L) < 2)), [(EACH, P)]
    ),
    "some are set": (first_never, [(EACH, P)]),
    "with a new axis": (lambda x: x * (torch.rand(len(x), C) > P)[:, :, None] / K, [((1, C), P)]),
    "a new axis, then compared": (
        lambda x: x * (torch.rand(len(x))[:, None, None] > P) / K, [(ROW, P)]
    ),
    "expanded": (lambda x: x * (torch.rand(len(x), C, 1).expand_as(x) > P) / K, [(CHANNEL, P)]),
    "expanded, of its own": (
        lambda x: x * (torch.rand(len(x), C, 1).expand(-1, -1, L).contiguous() > P) / K, [(CHANNEL, P)]
    ),
    "repeated": (lambda x: x * (torch.rand(len(x), 1, L).repeat(1, C, 1) > P) / K, [(PLACE, P)]),
    "broadcast_to": (
        lambda x: x * torch.broadcast_to(torch.bernoulli(torch.full((len(x), 1, L), K)), x.shape),
        [(PLACE, P)],
    ),
    "randint": (lambda x: x * torch.randint(0, 2, x.shape) * 2, [(EACH, 0.5)]),
    "randint, one argument": (lambda x: x * torch.randint(2, x.shape).float() * 2, [(EACH, 0.5)]),
    "a random sign": (lambda x: x * (torch.randint(0, 2, (len(x), C, 1)) * 2 - 1), [(CHANNEL, 0.5)]),
    "randint_like": (lambda x: x * torch.randint_like(x, 0, 2) * 2, [(EACH, 0.5)]),
    "random_": (lambda x: x * torch.empty_like(x).random_(0, 2) * 2, [(EACH, 0.5)]),
    "Bernoulli of tensors": (lambda x: x * bernoulli(torch.full_like(x, K)).sample() / K, [(EACH, P)]),
    "Bernoulli of logits": (
        lambda x: x * bernoulli(logits=torch.full((len(x), 1, 1), 0.0)).sample(), [(ROW, 0.5)]
    ),
    "einsum": (
        lambda x: torch.einsum("ncl,nc->ncl", x, torch.empty(len(x), C).bernoulli_(K) / K),
        [((1, C), P)],
    ),
    "DropBlock": (drop_block, [((1, L), 0.9)]),
    "one for all inputs": (lambda x: x * (torch.rand(1, C, 1) > P) / K, [(CHANNEL, P)]),
    "DropConnect": (
        lambda x: torch.einsum("ncl,cd->ndl", x, torch.eye(C).add(1).bernoulli_(K)), [((C, C), P)]
    ),
    "the batch second": (
        lambda x: (x.transpose(0, 1) * torch.bernoulli(torch.full((C, len(x), 1), K))).transpose(0, 1),
        [((C, 1, 1), P)],
    ),
    "channels of all inputs": (lambda x: x * (torch.rand(C, 1) > P) / K, [((C, 1), P)]),
    "in LSTM cells": (in_cells, [((1, C), P), ((1, C), P)]),
    "in a loop": (used_in_a_loop, [((1, C), P), ((1, C), P)]),
}  # fmt: skip
FALLING = ("DropBlock",)  # True where the number is small


def patch(monkeypatch: pytest.MonkeyPatch, bits: list[Tensor], small: bool) -> None:
    """Torch's own functions give numbers that lead to these bits, call after call."""
    left = list(bits)

    def drawn(size: Any) -> Tensor:
        bits = left.pop(0)
        return bits.reshape(bits.shape[: len(size)]).expand(tuple(size)).clone()

    def uniform(*size: Any, **_: Any) -> Tensor:
        size = size[0] if not isinstance(size[0], int) else size
        return torch.where(drawn(size) ^ small, 1 - 1e-6, 1e-6)

    def whole(*given: Any, **_: Any) -> Tensor:
        return drawn(given[-1]).long()

    monkeypatch.setattr(torch, "rand", uniform)
    monkeypatch.setattr(torch, "rand_like", lambda x: uniform(x.shape))
    monkeypatch.setattr(torch, "bernoulli", lambda x: drawn(x.shape).to(x.dtype))
    monkeypatch.setattr(torch, "randint", whole)
    monkeypatch.setattr(torch, "randint_like", lambda x, *_: drawn(x.shape).to(x.dtype))
    monkeypatch.setattr(Tensor, "random_", lambda x, *_: x.copy_(drawn(x.shape)))
    monkeypatch.setattr(Tensor, "bernoulli", lambda x: drawn(x.shape).to(x.dtype))
    monkeypatch.setattr(Tensor, "bernoulli_", lambda x, _: x.copy_(drawn(x.shape)))


@pytest.fixture
def x() -> Tensor:
    return torch.from_numpy(np.random.default_rng(2).normal(size=(N, C, L))).float()


@pytest.mark.parametrize("name", FORMS)
def test_masks_are_those_of_torchs_own_functions_replaced_by_fixed_bits(
    name: str, x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, sites = FORMS[name]
    model, bank = LockedModel(OwnCode(code, name == "DropBlock")), MaskBank(SEED)
    with model.borrow():
        found = model.plan(x).sites
        assert [(site.shape, pytest.approx(site.p)) for site in found] == sites
        got = [model.outputs(x, draw, bank) for draw in range(3)]
        alone = torch.cat([model.outputs(row, 0, bank) for row in x.split(1)])
    assert len({values.numpy().tobytes() for values in got}) > 1
    torch.testing.assert_close(alone, got[0])
    for draw, ours in enumerate(got):
        bits = [
            torch.from_numpy(keep_mask(SEED, draw, i, shape, found[i].p))
            for i, (shape, _) in enumerate(sites)
        ]
        with monkeypatch.context() as patched:
            patch(patched, bits, name in FALLING)
            expected = code(x)
        torch.testing.assert_close(ours, expected.flatten(1))


@pytest.mark.parametrize("name", FORMS)
def test_point_of_masks_that_are_always_on_is_their_mean(name: str, x: Tensor) -> None:
    """The mean of torch's own results, within 5 standard errors."""
    code, n = FORMS[name][0], 500
    if name in ("in a loop", "in LSTM cells", "DropBlock"):  # the mask goes through tanh, or a ratio
        return
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        theirs = torch.stack([code(x) for _ in range(n)])
    model = LockedModel(OwnCode(code))
    with model.borrow():
        point = model.outputs(x, POINT, MaskBank(SEED)).reshape(x.shape)
    assert ((point - theirs.mean(0)).abs() < 5 * (theirs.var(0) / n).sqrt() + 1e-5).all()


@pytest.mark.parametrize(
    "name",
    [
        "as whole numbers",
        "as bool",
        "equal to 0",
        "and",
        "with a new axis",
        "expanded",
        "randint",
        "DropBlock",
    ],
)
def test_masks_of_training_mode_alone_are_locked_with_the_evaluation_as_point(
    name: str, x: Tensor
) -> None:
    code, sites = FORMS[name]
    bank, outputs = MaskBank(SEED), []
    for guarded in (True, name == "DropBlock"):  # which has no mean
        model = LockedModel(nn.Sequential(OwnCode(code, guarded)))
        with model.borrow():
            assert [site.shape for site in model.plan(x).sites] == [shape for shape, _ in sites]
            outputs.append([model.outputs(x, draw, bank) for draw in (0, 1)])
            if guarded:
                assert torch.equal(model.outputs(x, POINT, bank), x.flatten(1))
    assert all(torch.equal(a, b) for a, b in zip(*outputs, strict=True))


def test_a_skipped_layer_is_refused_with_what_to_write_instead(x: Tensor) -> None:
    """The code that runs depends on the draw: there is no mask, and no mean."""
    model = LockedModel(nn.Sequential(OwnCode(lambda x: x if torch.rand(1) < P else 2 * x, True)))
    with model.borrow(), pytest.raises(UnlockableDropoutError) as error:
        model.plan(x)
    text = str(error.value)
    assert "module '0' (OwnCode) uses torch's rand, which decides what its code runs" in text
    assert "to skip a layer: one number for each input" in text


@pytest.mark.parametrize("source", ["numpy", "Python"])
def test_a_layer_skipped_by_other_random_numbers_is_refused_by_their_name(
    source: str, x: Tensor
) -> None:
    """Two passes may differ by chance, so that the inputs of a batch seem to depend on each other."""
    import random

    draw = np.random.random if source == "numpy" else random.random
    for seed in range(6):
        np.random.seed(seed)
        random.seed(seed)
        model = LockedModel(nn.Sequential(OwnCode(lambda x: x if draw() < P else 2 * x)))
        with (
            model.borrow(),
            pytest.raises(UnlockableDropoutError, match=f"uses {source}'s random numbers"),
        ):
            model.plan(x)


NO_MEAN: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "any": (lambda x: x * (torch.rand_like(x) > P).any(1, keepdim=True), "mask goes into torch's any"),
    "sorted": (lambda x: x * torch.randn(len(x), C, 1).sort(1).values, "numbers go into torch's sort"),
    "pooled": (drop_block, "mask goes into torch's max_pool1d"),
    "sum compared": (
        lambda x: x * (torch.randint(0, 2, x.shape).sum(1, True) > 1), "numbers go into torch's gt"
    ),
    "with itself": (
        lambda x: x * ((u := torch.randn(len(x), C, 1)) * u.flip(1)), "numbers go into torch's mul"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_MEAN)
def test_masks_without_a_mean_are_refused_where_they_are_always_on(name: str, x: Tensor) -> None:
    code, words = NO_MEAN[name]
    model = LockedModel(nn.Sequential(OwnCode(code)))
    words += ", so that there is no mean for the point prediction, in evaluation mode"
    with model.borrow(), pytest.raises(UnlockableDropoutError, match=words):
        model.plan(x)


def test_audit_says_what_a_mask_is(x: Tensor) -> None:
    net = nn.Sequential(
        OwnCode(lambda x: x.masked_fill(torch.rand_like(x) < P, 0)),
        OwnCode(FORMS["one for all inputs"][0]),
    )
    found = audit(net, x.numpy())
    first, second = found.rows
    assert first.locked == "locked, a mask that the model's code makes: 70% zeros, else ones"
    assert second.locked.endswith("30% zeros, else ones, one for all inputs")
    assert found.plan.notes == tuple(
        f"{name}: random in evaluation mode, too; with dropout off each random number is its mean"
        for name in "01"
    )


class Normalised(nn.Module):
    """Batch normalization and dropout in one module, as some write them."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(C))
        self.register_buffer("var", torch.ones(C))

    def forward(self, x: Tensor) -> Tensor:
        x = F.batch_norm(x, self.mean, self.var, training=self.training)
        return F.dropout(x, P) if self.training else x


def test_the_statistics_of_a_batch_are_never_used(x: Tensor) -> None:
    """With its flag on, the module would take them: it is refused, and its buffers are as before."""
    net = Normalised()
    model = LockedModel(nn.Sequential(net, nn.Dropout(0.1)))
    with model.borrow(), pytest.raises(UnlockableDropoutError, match=r"'0'.*also does other things"):
        model.plan(x)
    assert (net.mean == 0).all()
    assert (net.var == 1).all()


class BesideNorm(nn.Module):
    """A block whose own flag is on, with a batch normalization and a guarded mask inside."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(C)
        self.norm.running_mean = torch.arange(4.0)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        return x * (torch.rand(len(x), 1, 1) > P) / K if self.training else x


def test_batch_normalization_beside_a_mask_of_training_mode_keeps_its_statistics(x: Tensor) -> None:
    net = BesideNorm()
    model, bank = LockedModel(net), MaskBank(SEED)
    with model.borrow():
        got = model.outputs(x, 0, bank)
        bit = keep_mask(SEED, 0, 0, ROW, model.plan(x).sites[0].p).item()
    expected = (x - torch.arange(4.0)[:, None]) / (1 + net.norm.eps) ** 0.5 * bit / K
    torch.testing.assert_close(got, expected.flatten(1))
    assert torch.equal(net.norm.running_mean, torch.arange(4.0))


@pytest.mark.parametrize("guarded", [True, False])
def test_moments_are_those_of_all_masks(guarded: bool) -> None:
    """A linear model of three units has eight masks, each with its probability."""
    weight, x = torch.tensor([1.0, -2.0, 4.0]), torch.tensor([[3.0, 1.0, 0.5]])
    net = nn.Sequential(
        OwnCode(lambda x: x * (torch.rand_like(x) > P) / K, guarded), nn.Linear(3, 1, False)
    )
    net[1].weight.data[:] = weight
    masks = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
    chance = torch.where(masks > 0, K, P).prod(1)
    values = (masks * x * weight).sum(1) / K
    mean = (chance * values).sum()
    variance = (chance * (values - mean) ** 2).sum()
    n, model, bank = 1500, LockedModel(net), MaskBank(SEED)
    with model.borrow():
        draws = torch.cat([model.outputs(x, draw, bank) for draw in range(n)])[:, 0]
        point = model.outputs(x, POINT, bank)
    assert {round(v, 4) for v in draws.tolist()} <= {round(v, 4) for v in values.tolist()}
    assert abs(draws.mean() - mean) < 5 * (variance / n).sqrt()
    assert abs(draws.var() / variance - 1) < 5 * (2 / n) ** 0.5
    torch.testing.assert_close(point.sum(), mean)
