"""Stochastic depth and hand-made masks: locked, with the distribution they have in training mode."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kipoi_mcdropout.dropout.locked_model import POINT, LockedModel
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.dropout.masks import keep_mask
from kipoi_mcdropout.errors import UnlockableDropoutError
from kipoi_mcdropout.plugin.mutation import MCDropoutISM

SEED, KEEP = 5, 0.7
N_CHANNELS = 4


class Guarded(nn.Module):
    """Drops by code of its own, in training mode only."""

    def __init__(self, drop: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(x) if self.training else x


class DropPath(nn.Module):
    """As in timm: one number a row, written into a new tensor."""

    def __init__(self, drop_prob: float, scale_by_keep: bool = True) -> None:
        super().__init__()
        self.drop_prob, self.scale_by_keep = drop_prob, scale_by_keep

    def forward(self, x: Tensor) -> Tensor:
        if self.drop_prob == 0.0 or not self.training:
            return x
        keep = 1 - self.drop_prob
        random = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(keep)
        if keep > 0.0 and self.scale_by_keep:
            random.div_(keep)
        return x * random


class StochasticDepth(nn.Module):
    """As in torchvision: one number a row, or one for the whole batch."""

    def __init__(self, p: float, mode: str) -> None:
        super().__init__()
        self.p, self.mode = p, mode

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0.0:
            return x
        size = [x.shape[0] if self.mode == "row" else 1] + [1] * (x.ndim - 1)
        noise = torch.empty(size, dtype=x.dtype, device=x.device)
        noise = noise.bernoulli_(1.0 - self.p)
        if self.p < 1.0:
            noise.div_(1.0 - self.p)
        return x * noise


def older_drop_path(x: Tensor) -> Tensor:
    random = KEEP + torch.rand((len(x), 1), dtype=x.dtype)
    random.floor_()
    return x.div(KEEP) * random


def set_to_zero(x: Tensor) -> Tensor:
    x = x.clone()
    x[torch.rand_like(x) < 1 - KEEP] = 0
    return x / KEEP


def one_a_channel(x: Tensor) -> Tensor:
    return x * x.new_empty(len(x), N_CHANNELS).bernoulli_(KEEP) / KEEP


ROW, ELEMENT = (1, 1), (1, N_CHANNELS)
# name: how it drops, shape of the mask, factor of what is kept
MASKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], float]] = {
    "timm": (lambda: DropPath(1 - KEEP), ROW, 1 / KEEP),
    "timm without scale": (lambda: DropPath(1 - KEEP, False), ROW, 1.0),
    "torchvision, row": (lambda: StochasticDepth(1 - KEEP, "row"), ROW, 1 / KEEP),
    "torchvision, batch": (lambda: StochasticDepth(1 - KEEP, "batch"), ROW, 1 / KEEP),
    "rand and floor": (lambda: Guarded(older_drop_path), ROW, 1 / KEEP),
    "rand and view": (
        lambda: Guarded(lambda x: x * (torch.rand(len(x)).view(-1, 1) < KEEP) / KEEP), ROW, 1 / KEEP
    ),
    "rand above p": (
        lambda: Guarded(lambda x: x * (torch.rand(x.shape) > 1 - KEEP).to(x.dtype) / KEEP),
        ELEMENT, 1 / KEEP,
    ),
    "p below rand": (
        lambda: Guarded(lambda x: x * (torch.rand(*x.shape) >= 1 - KEEP).float() / KEEP),
        ELEMENT, 1 / KEEP,
    ),
    "rand_like": (lambda: Guarded(lambda x: x * (torch.rand_like(x) < KEEP) / KEEP), ELEMENT, 1 / KEEP),
    "uniform_": (
        lambda: Guarded(lambda x: x * torch.empty_like(x).uniform_().le(KEEP) / KEEP), ELEMENT, 1 / KEEP
    ),
    "bernoulli of probabilities": (
        lambda: Guarded(lambda x: x * torch.bernoulli(torch.full_like(x, KEEP)) / KEEP),
        ELEMENT, 1 / KEEP,
    ),
    "bernoulli, a channel": (lambda: Guarded(one_a_channel), ELEMENT, 1 / KEEP),
    "bernoulli without scale": (
        lambda: Guarded(lambda x: x * torch.bernoulli(torch.full_like(x, KEEP))), ELEMENT, 1.0
    ),
    "binomial": (
        lambda: Guarded(
            lambda x: x * torch.binomial(torch.ones_like(x), torch.full_like(x, KEEP)) / KEEP
        ),
        ELEMENT, 1 / KEEP,
    ),
    "Bernoulli distribution": (
        lambda: Guarded(lambda x: x * torch.distributions.Bernoulli(KEEP).sample((len(x), 1)) / KEEP),
        ROW, 1 / KEEP,
    ),
    "masked_fill": (
        lambda: Guarded(lambda x: x.masked_fill(torch.rand_like(x) < 1 - KEEP, 0.0) / KEEP),
        ELEMENT, 1 / KEEP,
    ),
    "where": (
        lambda: Guarded(lambda x: torch.where(torch.rand_like(x) < KEEP, x / KEEP, 0.0)),
        ELEMENT, 1 / KEEP,
    ),
    "not": (lambda: Guarded(lambda x: x * ~(torch.rand_like(x) < 1 - KEEP) / KEEP), ELEMENT, 1 / KEEP),
    "set to zero": (lambda: Guarded(set_to_zero), ELEMENT, 1 / KEEP),
    "with its own generator": (
        lambda: Guarded(lambda x: x * (torch.rand(x.shape, generator=GENERATOR) < KEEP) / KEEP),
        ELEMENT, 1 / KEEP,
    ),
}  # fmt: skip
GENERATOR = torch.Generator()


def network(drop: nn.Module) -> nn.Module:
    """The mask lies on 1, 2, 4, 8, so that the output tells what was dropped; a Dropout beside it."""
    return nn.Sequential(drop, nn.Dropout(0.5))


def draws_of(net: nn.Module, x: Tensor, n_draws: int) -> Tensor:
    model, bank = LockedModel(net), MaskBank(SEED)
    with model.borrow():
        return torch.stack([model.outputs(x, draw, bank) for draw in range(n_draws)])


@pytest.mark.parametrize("name", MASKS)
def test_mask_is_locked_and_keyed_by_seed_draw_and_site(name: str) -> None:
    build, shape, factor = MASKS[name]
    net = nn.Sequential(nn.Dropout(0.5), build()).double()
    x = torch.tensor([[1.0, 2.0, 4.0, 8.0]]).repeat(3, 1).double() * torch.tensor([[1.0], [3.0], [5.0]])
    model = LockedModel(net)
    with model.borrow():
        _, site = model.plan(x).sites
    assert site.shape == shape
    assert site.kind == ("drop_path" if shape == ROW else "mask")
    for draw, got in enumerate(draws_of(net, x, 3)):
        first = torch.from_numpy(keep_mask(SEED, draw, 0, (1, N_CHANNELS), 0.5)) / 0.5
        bits = torch.from_numpy(keep_mask(SEED, draw, 1, shape, site.p))
        kept = bits if abs(site.p - (1 - KEEP)) < 1e-6 else ~bits  # a mask of what is dropped
        torch.testing.assert_close(got, x * first * kept * factor, rtol=1e-6, atol=0)
    with model.borrow():
        assert torch.equal(model.outputs(x, POINT, MaskBank(SEED)), x)


@pytest.mark.parametrize(
    "name", ["timm", "torchvision, row", "rand and floor", "rand_like", "set to zero"]
)
def test_moments_over_draws_are_those_of_training_mode(name: str) -> None:
    """Mean, variances and correlation of two channels, within 5 standard errors of torch's own."""
    net, n = MASKS[name][0](), 1500
    x = torch.tensor([[1.0, 2.0, 4.0, 8.0]])
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        theirs = net.train()(x.repeat(n, 1))
    ours = draws_of(net.eval(), x, n)[:, 0]
    variance = theirs.var(0)
    assert ((ours.mean(0) - theirs.mean(0)).abs() < 5 * (2 * variance / n).sqrt()).all()
    # Of a variable with two values a relative error of 5 sqrt(2 / n) in the variance is rare.
    assert ((ours.var(0) / variance).log().abs() < 5 * (2 / n) ** 0.5).all()
    together = [torch.corrcoef(values.T)[0, 1].item() for values in (ours, theirs)]
    assert together[0] == pytest.approx(together[1], abs=5 * (2 / n) ** 0.5)


def test_all_rows_and_batches_share_the_path() -> None:
    net = nn.Sequential(nn.Linear(4, 4), DropPath(0.5), nn.Linear(4, 3))
    x = torch.rand(6, 4)
    model, bank = LockedModel(net), MaskBank(SEED)
    with model.borrow():
        for draw in range(4):
            together = model.outputs(x, draw, bank)
            alone = torch.cat([model.outputs(row, draw, bank) for row in x.split(1)])
            torch.testing.assert_close(together, alone)


def test_a_path_that_is_always_dropped_from_is_locked_with_its_mean_as_point() -> None:
    class Always(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * (torch.rand(len(x), 1) < KEEP) / KEEP

    x = torch.rand(3, 4)
    model = LockedModel(Always())
    with model.borrow():
        assert [site.kind for site in model.plan(x).sites] == ["drop_path"]
        torch.testing.assert_close(model.outputs(x, POINT, MaskBank(SEED)), x)


@pytest.mark.parametrize(
    ("drop", "words"),
    [
        (lambda x: x[:, torch.randperm(N_CHANNELS)], "randperm"),
        (lambda x: x * torch.randint(0, 3, x.shape), "randint of other than two numbers"),
        (lambda x: x + torch.empty_like(x).exponential_(), "exponential_"),
        (lambda x: x * torch.poisson(x), "poisson"),
        (lambda x: x * torch.binomial(0 * x + 2.0, 0 * x + 0.5), "counts above 1"),
        (lambda x: 2 * x if torch.rand([]) < 0.3 else x, "decides what its code runs"),
        (lambda x: 2 * x if torch.rand(1).item() < 0.3 else x, "decides what its code runs"),
        (lambda x: 2 * x if torch.randn(1) < 0.3 else x, "decides what its code runs"),
        (lambda x: x * float(torch.rand(1)), "decides what its code runs"),
        (lambda x: x[:, torch.rand(N_CHANNELS) < 0.7], "whose mask goes into torch's getitem"),
        (lambda x: x * ((u := torch.rand_like(x)) < 0.5) + x * (u >= 0.5), "a second time"),
        (lambda x: x[torch.bernoulli(torch.full_like(x, 0.5)) > 0].sum(), "torch's getitem"),
    ],
)  # fmt: skip
def test_other_random_numbers_are_refused_by_name(drop: Callable[[Tensor], Tensor], words: str) -> None:
    model = LockedModel(network(Guarded(drop)))
    with model.borrow(), pytest.raises(UnlockableDropoutError) as error:
        model.plan(torch.rand(2, N_CHANNELS) + 0.1)
    assert "module '0' (Guarded)" in str(error.value)
    assert words in str(error.value)
    assert "ignore='0'" in str(error.value)
    assert "Replace it by nn.Dropout" not in str(error.value)


def test_a_mask_with_something_else_beside_it_is_refused() -> None:
    model = LockedModel(network(Guarded(lambda x: 2 * x * torch.rand_like(x).lt(KEEP) / KEEP)))
    with model.borrow(), pytest.raises(UnlockableDropoutError, match=r"'0'.*also does other things"):
        model.plan(torch.rand(2, N_CHANNELS) + 0.1)


def test_ignored_path_is_left_off() -> None:
    model = LockedModel(network(DropPath(0.5)), ignore=("0",))
    x = torch.rand(2, N_CHANNELS)
    with model.borrow():
        assert [site.name for site in model.plan(x).sites] == ["1"]
        keep = torch.from_numpy(keep_mask(SEED, 0, 0, (1, N_CHANNELS), 0.5))
        assert torch.equal(model.outputs(x, 0, MaskBank(SEED)), x * keep / 0.5)


class Residual(nn.Module):
    """One-hot DNA, shape=(n, 6, 4): a branch that may be dropped beside a straight path."""

    def __init__(self) -> None:
        super().__init__()
        self.branch, self.path = nn.Linear(4, 4), DropPath(0.5)
        self.head = nn.Linear(24, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((x + self.path(torch.relu(self.branch(x)))).flatten(1))


@pytest.mark.parametrize("engine", ["auto", "full", "incremental"])
def test_mutagenesis_of_a_model_with_stochastic_depth(engine: str) -> None:
    net, n_draws = Residual(), 12
    x = np.eye(4, dtype=np.float32)[np.random.default_rng(0).integers(0, 4, (1, 6))]
    scores = MCDropoutISM(net, 0, n_draws=n_draws, seed=SEED, engine=engine).score(x)["diff"]
    reference, mutant = torch.from_numpy(x), torch.from_numpy(x).clone()
    mutant[0, 2] = torch.eye(4)[(int(x[0, 2].argmax()) + 1) % 4]

    def run(inputs: Tensor, factor: float) -> Tensor:
        return net.head((inputs + factor * torch.relu(net.branch(inputs))).flatten(1))[0]

    bits = [bool(keep_mask(SEED, draw, 0, (1, 1, 1), 0.5).item()) for draw in range(n_draws)]
    assert 0 < sum(bits) < n_draws
    with torch.no_grad():
        effects = torch.stack([run(mutant, 2.0 * bit) - run(reference, 2.0 * bit) for bit in bits])
        point = run(mutant, 1.0) - run(reference, 1.0)
    where = (0, 2, int(mutant[0, 2].argmax()))
    np.testing.assert_allclose(scores["effect_mean"][where], effects.mean(0), atol=1e-6)
    np.testing.assert_allclose(scores["effect_sd"][where], effects.std(0), atol=1e-6)
    np.testing.assert_allclose(scores["effect_point"][where], point, atol=1e-6)


def test_a_mask_that_the_model_keeps_in_a_buffer_is_as_it_was() -> None:
    class Kept(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("bits", torch.full((1, N_CHANNELS), 3.0))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.bits.bernoulli_(KEEP) / KEEP if self.training else x

    net, x = Kept(), torch.ones(2, N_CHANNELS)
    attributes = dir(net.bits)
    for draw in range(2):
        got = draws_of(net, x, draw + 1)[draw]
        keep = torch.from_numpy(keep_mask(SEED, draw, 0, (1, N_CHANNELS), 1 - KEEP))
        torch.testing.assert_close(got, keep.expand(2, -1) / KEEP)
    assert (net.bits == 3.0).all()
    assert dir(net.bits) == attributes
