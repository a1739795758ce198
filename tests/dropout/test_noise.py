"""Random numbers that are no mask: locked, the same for all inputs of a draw, others in the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import special, stats
from small_models import OwnCode
from torch import Tensor, nn

from kipoi_mcdropout.dropout.locked_model import POINT, LockedModel
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.dropout.masks import keep_mask, normal_numbers, uniform_numbers
from kipoi_mcdropout.errors import ModelError, UnlockableDropoutError
from kipoi_mcdropout.model.audit import audit
from kipoi_mcdropout.plugin.mutation import MCDropoutISM

SEED, P = 11, 0.3
N, C, L = 3, 4, 5
normal = torch.distributions.Normal


def relaxed_mask(x: Tensor) -> Tensor:
    """Concrete dropout, Gal, Hron, Kendall 2017: a mask between 0 and 1."""
    u, p, little = torch.rand_like(x), torch.tensor([P]), 1e-7
    logit = (p + little).log() - (1 - p + little).log() + (u + little).log() - (1 - u + little).log()
    return x * (1 - torch.sigmoid(logit / 0.1)) / (1 - p)


def variational(x: Tensor) -> Tensor:
    """The noise is made once and used in each step of a loop."""
    noise, steps = 1 + 0.3 * torch.randn(len(x), C), []
    state = torch.zeros(len(x), C)
    for step in x.unbind(2):
        state = torch.tanh(step * noise + state * noise)
        steps.append(state)
    return torch.stack(steps, 2)


EACH, CHANNEL, ROW = (1, C, L), (1, C, 1), (1, 1, 1)
# name: code, kind, shape of the site
NOISE: dict[str, tuple[Callable[[Tensor], Tensor], str, tuple[int, ...]]] = {
    "randn_like": (lambda x: x + 0.2 * torch.randn_like(x), "normal", EACH),
    "times randn": (lambda x: x * (1 + 0.2 * torch.randn(x.shape)), "normal", EACH),
    "by feature": (lambda x: x * (1 + 0.2 * torch.randn(len(x), C, 1)), "normal", CHANNEL),
    "one for all inputs": (lambda x: x * (1 + 0.2 * torch.randn(1, C, 1)), "normal", CHANNEL),
    "by input": (lambda x: x + torch.randn(len(x), 1, 1, dtype=x.dtype), "normal", ROW),
    "randn, expanded": (lambda x: x + torch.randn(len(x), C, 1).expand_as(x), "normal", CHANNEL),
    "normal_": (lambda x: x + torch.empty_like(x).normal_(0.5, 0.2), "normal", EACH),
    "normal_, by name": (lambda x: x + x.new_empty(x.shape).normal_(mean=1.0, std=2.0), "normal", EACH),
    "torch.normal": (lambda x: x * torch.normal(1.0, 0.2, x.shape), "normal", EACH),
    "torch.normal, by name": (
        lambda x: x * torch.normal(mean=1.0, std=0.2, size=tuple(x.shape)), "normal", EACH
    ),
    "torch.normal of tensors": (lambda x: torch.normal(x, 0.1 * x.abs() + 1), "normal", EACH),
    "torch.normal of a tensor": (lambda x: torch.normal(x, 0.1), "normal", EACH),
    "Normal.sample": (lambda x: x + normal(0.0, 0.2).sample(x.shape), "normal", EACH),
    "Normal.rsample": (lambda x: normal(x, 0.2).rsample(), "normal", EACH),
    "the model's sd": (
        lambda x: x + torch.exp(x.mean(2, keepdim=True)) * torch.randn_like(x), "normal", EACH
    ),
    "addcmul": (lambda x: torch.addcmul(x, x, torch.randn_like(x), value=0.2), "normal", EACH),
    "a sign": (lambda x: 2 * x * (torch.randn_like(x) > 0), "normal", EACH),
    "in a list": (lambda x: torch.stack([x, torch.randn_like(x)]).sum(0), "normal", EACH),
    "used many times": (variational, "normal", (1, C)),
    "rand": (lambda x: x + 0.2 * (torch.rand(x.shape) - 0.5), "uniform", EACH),
    "times rand_like": (lambda x: x * (0.8 + 0.4 * torch.rand_like(x)), "uniform", EACH),
    "two minus rand": (lambda x: x * (2 - 2 * torch.rand_like(x)), "uniform", EACH),
    "rand in place": (lambda x: torch.rand_like(x).mul_(2.0).sub_(1.0).mul_(x).add_(x), "uniform", EACH),
    "uniform_": (lambda x: x * torch.empty_like(x).uniform_(0.8, 1.2), "uniform", EACH),
    "Uniform.sample": (
        lambda x: x * torch.distributions.Uniform(0.5, 1.5).sample(x.shape), "uniform", EACH
    ),
    "rand by feature": (lambda x: x * (0.5 + torch.rand(len(x), C)[:, :, None]), "uniform", CHANNEL[:2]),
    "rand, repeated": (lambda x: x + torch.rand(len(x), C, 1).repeat(1, 1, L), "uniform", CHANNEL),
    "rand twice": (lambda x: x * (u := torch.rand_like(x)) + (1 - u), "uniform", EACH),
    "lerp": (lambda x: torch.lerp(x, 0 * x, 0.2 * torch.rand_like(x)), "uniform", EACH),
    "a relaxed mask": (relaxed_mask, "uniform", EACH),
    "probabilities that differ": (
        lambda x: x * torch.bernoulli(torch.linspace(0.2, 0.8, L).expand(x.shape)), "uniform", EACH
    ),
    "probabilities of the input": (lambda x: x * torch.bernoulli(x.sigmoid()), "uniform", EACH),
    "below the model's numbers": (lambda x: x * (torch.rand_like(x) < x.sigmoid()), "uniform", EACH),
}  # fmt: skip


def numbers_of(kind: str, draw: int, site: int, shape: tuple[int, ...]) -> Tensor:
    if kind == "normal":
        return torch.from_numpy(normal_numbers(SEED, draw, site, shape)).float()
    return torch.from_numpy(uniform_numbers(SEED, draw, site, shape, bits=24)).float()


def patch(monkeypatch: pytest.MonkeyPatch, noise: Tensor) -> None:
    """Torch's own functions give this noise, the same for every input."""

    def shaped(*size: Any, **_: Any) -> Tensor:
        size = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size
        assert noise.shape[1:] == tuple(size)[1:] or noise.dim() == len(size)
        return noise.expand(size).clone()

    def like(x: Tensor, **_: Any) -> Tensor:
        return shaped(x.shape)

    def scaled(mean: Any, std: Any, size: Any = None, **_: Any) -> Tensor:
        return mean + std * shaped(size or torch.broadcast_tensors(mean, torch.as_tensor(std))[0].shape)

    def below(chance: Tensor, *_: Any, **__: Any) -> Tensor:
        return (shaped(chance.shape) < chance).to(chance.dtype)

    for name in ("rand", "randn"):
        monkeypatch.setattr(torch, name, shaped)
        monkeypatch.setattr(torch, f"{name}_like", like)
    monkeypatch.setattr(torch, "normal", scaled)
    monkeypatch.setattr(torch, "bernoulli", below)
    monkeypatch.setattr(
        Tensor, "normal_",
        lambda x, mean=0.0, std=1.0, **_: x.copy_(mean + std * shaped(x.shape)),
    )  # fmt: skip
    monkeypatch.setattr(
        Tensor, "uniform_", lambda x, low=0.0, high=1.0: x.copy_(low + (high - low) * shaped(x.shape))
    )


@pytest.fixture
def x() -> Tensor:
    return torch.from_numpy(np.random.default_rng(2).normal(size=(N, C, L))).float()


@pytest.mark.parametrize("name", NOISE)
def test_noise_is_locked_and_keyed_by_seed_draw_and_site(
    name: str, x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As torch's own forward pass with the random functions replaced by fixed numbers."""
    code, kind, shape = NOISE[name]
    net = nn.Sequential(nn.Dropout(0.5), OwnCode(code))
    model, bank = LockedModel(net), MaskBank(SEED)
    with model.borrow():
        _, site = model.plan(x).sites
        assert (site.kind, site.p, site.shape) == (f"{kind}_noise", 0.0, shape)
        assert site.batch_axis == (None if name == "one for all inputs" else 0)
        got = [model.outputs(x, draw, bank).reshape(x.shape) for draw in range(3)]
        alone = model.outputs(x[1:2], 0, bank).reshape(1, C, L)
    assert not torch.equal(got[0], got[1])
    assert not torch.equal(got[1], got[2])
    torch.testing.assert_close(alone, got[0][1:2])
    for draw, ours in enumerate(got):
        keep = torch.from_numpy(keep_mask(SEED, draw, 0, EACH, 0.5))
        with monkeypatch.context() as patched:
            patch(patched, numbers_of(kind, draw, 1, shape))
            expected = code(x * (keep / 0.5))
        torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", NOISE)
def test_draws_have_the_distribution_of_torchs_own(name: str, x: Tensor) -> None:
    """Mean, variance and point of each output, within 5 standard errors."""
    code, n = NOISE[name][0], 400
    one = x[:1]
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        theirs = torch.cat([code(one) for _ in range(n)])
    model, bank = LockedModel(OwnCode(code)), MaskBank(SEED)
    with model.borrow():
        ours = torch.cat([model.outputs(one, draw, bank).reshape(one.shape) for draw in range(n)])
        point = model.outputs(one, POINT, bank).reshape(one.shape)
    error = 5 * (theirs.var(0) / n).sqrt() + 1e-6
    assert ((ours.mean(0) - theirs.mean(0)).abs() < 1.5 * error).all()
    kurtosis = stats.kurtosis(theirs.numpy(), axis=0, fisher=False)
    spread = 5 * np.sqrt(2 * kurtosis.clip(1.5) / n)
    assert (np.abs(np.log((ours.var(0) / theirs.var(0)).numpy())) < spread).all()
    if name != "used many times":  # there the numbers go through tanh
        assert ((point[0] - theirs.mean(0)).abs() < error).all()


@pytest.mark.parametrize(
    "name", ["randn_like", "times randn", "by feature", "uniform_", "rand", "times rand_like", "a sign"]
)
def test_noise_of_training_mode_alone_is_locked_with_the_evaluation_as_point(
    name: str, x: Tensor
) -> None:
    code, kind, shape = NOISE[name]
    bank = MaskBank(SEED)
    outputs = []
    for guarded in (True, False):
        model = LockedModel(nn.Sequential(OwnCode(code, guarded)))
        with model.borrow():
            (site,) = model.plan(x).sites
            assert (site.kind, site.shape) == (f"{kind}_noise", shape)
            outputs.append([model.outputs(x, draw, bank) for draw in (0, 1)])
            if guarded:
                assert torch.equal(model.outputs(x, POINT, bank), x.flatten(1))
    assert all(torch.equal(a, b) for a, b in zip(*outputs, strict=True))


@pytest.mark.parametrize("name", ["normal_", "a relaxed mask", "probabilities that differ", "lerp"])
def test_noise_of_training_mode_with_another_mean_is_refused(name: str, x: Tensor) -> None:
    model = LockedModel(nn.Sequential(OwnCode(NOISE[name][0], guarded=True)))
    with model.borrow(), pytest.raises(UnlockableDropoutError) as error:
        model.plan(x)
    assert "module '0'" in str(error.value)
    assert "noise at its mean" in str(error.value)
    assert "run the same code in evaluation mode" in str(error.value)
    assert "--ignore 0" in str(error.value)


def test_audit_says_what_noise_is(x: Tensor) -> None:
    net = nn.Sequential(OwnCode(lambda x: x + 0.1 * torch.randn_like(x)), nn.Dropout(0.5))
    first, second = audit(net, x.numpy()).rows
    assert (first.kind, first.p, first.mask_shape) == ("normal_noise", "-", "1 x 4 x 5")
    assert first.locked == "locked, random numbers that the model's code makes"
    assert second.locked == "locked"


def test_noise_is_of_the_type_of_the_weights() -> None:
    """The same numbers, rounded; of two bytes none is rounded up to 1."""
    bank = MaskBank(SEED)
    found = {}
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        model = LockedModel(OwnCode(lambda x: torch.rand_like(x) + torch.randn_like(x)))
        x = torch.ones(2, 40, dtype=dtype)
        with model.borrow():
            two, one = model.plan(x).sites  # uniform numbers are drawn where they are used
            uniform = bank.numbers(one, 0, 0, x.device, dtype)
            found[dtype] = bank.numbers(two, 0, 0, x.device, dtype)
            assert uniform.dtype == found[dtype].dtype == dtype
            assert (uniform >= 0).all()
            assert (uniform < 1).all()
            assert torch.isfinite(model.outputs(x, 0, bank)).all()
    for dtype, numbers in found.items():
        expected = found[torch.float64].to(dtype)
        torch.testing.assert_close(numbers, expected, rtol=2e-2 if dtype.itemsize == 2 else 1e-6, atol=0)


def test_numbers_are_uniform_and_normal() -> None:
    """Kolmogorov-Smirnov, and no two sites, draws, scopes or seeds alike."""
    shape = (20000,)
    base = uniform_numbers(SEED, 0, 0, shape)
    assert stats.kstest(base, "uniform").pvalue > 1e-3
    assert stats.kstest(normal_numbers(SEED, 0, 0, shape), "norm").pvalue > 1e-3
    for other in (
        uniform_numbers(SEED + 1, 0, 0, shape),
        uniform_numbers(SEED, 1, 0, shape),
        uniform_numbers(SEED, 0, 1, shape),
        uniform_numbers(SEED, 0, 0, shape, scope=1),
    ):
        assert abs(np.corrcoef(base, other)[0, 1]) < 5 / np.sqrt(len(base))
    np.testing.assert_array_equal(base >= 0.25, keep_mask(SEED, 0, 0, shape, 0.25))  # the same words
    quantile = special.ndtri(base + 2.0**-33)
    np.testing.assert_allclose(normal_numbers(SEED, 0, 0, shape), quantile, rtol=1e-9, atol=1e-12)
    coarse = uniform_numbers(SEED, 0, 0, shape, bits=8)
    np.testing.assert_array_equal(coarse, np.floor(base * 256) / 256)


class Linear(nn.Module):
    """A linear model of one-hot DNA, shape=(n, 6, 4), with noise on its sum of each base."""

    def __init__(self, code: Callable[[Tensor], Tensor], guarded: bool) -> None:
        super().__init__()
        self.body, self.head = OwnCode(code, guarded), nn.Linear(24, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).flatten(1))


@pytest.mark.parametrize("guarded", [True, False])
@pytest.mark.parametrize("how", ["added", "multiplied"])
def test_effects_of_a_linear_model_with_noise(how: str, guarded: bool) -> None:
    """Added noise cancels in every draw; multiplied by it, the effect has a known mean and sd."""
    added = how == "added"
    net = Linear(
        lambda x: x + torch.randn_like(x) if added else x * (1 + 0.3 * torch.randn_like(x)), guarded
    )
    x = np.eye(4, dtype=np.float32)[np.random.default_rng(0).integers(0, 4, (1, 6))]
    scores = MCDropoutISM(net, 0, n_draws=400, seed=SEED).score(x)["diff"]
    weight = net.head.weight.detach().double().numpy().reshape(2, 6, 4)
    for position in range(6):
        old = int(x[0, position].argmax())
        for base in range(4):
            if base == old:
                continue
            w = weight[:, position]
            mean, sd = scores["effect_mean"][0, position, base], scores["effect_sd"][0, position, base]
            point = scores["effect_point"][0, position, base]
            np.testing.assert_allclose(point, w[:, base] - w[:, old], atol=1e-6)
            if added:
                np.testing.assert_allclose(mean, point, atol=1e-6)
                np.testing.assert_allclose(sd, 0, atol=1e-6)
            else:
                true = 0.3 * np.sqrt(w[:, base] ** 2 + w[:, old] ** 2)
                np.testing.assert_allclose(sd, true, rtol=5 / np.sqrt(800))
                assert (np.abs(mean - point) < 5 * true / 20).all()


class Convolved(nn.Module):
    """Large enough for the choice of an engine."""

    def __init__(self, code: Callable[[Tensor], Tensor], guarded: bool = False) -> None:
        super().__init__()
        self.conv, self.body = nn.Conv1d(4, 6, 5, padding=2), OwnCode(code, guarded)
        self.head = nn.Linear(6 * 6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.max_pool1d(self.body(torch.relu(self.conv(x))), 4).flatten(1))


@pytest.mark.parametrize("guarded", [True, False])
def test_engines_and_batch_sizes_give_the_same(guarded: bool) -> None:
    net = Convolved(lambda x: x * (1 + 0.2 * torch.randn(len(x), 6, 1)), guarded)
    x = np.eye(4, dtype=np.float32)[np.random.default_rng(0).integers(0, 4, (1, 24))].transpose(0, 2, 1)
    ways = [("incremental", 32)] if guarded else []  # else the point has no graph
    found = [
        MCDropoutISM(net, 0, n_draws=6, seed=SEED, engine=engine, batch_size=size).score(x)["diff"]
        for engine, size in (("full", 32), ("full", 5), ("auto", 32), *ways)
    ]
    assert np.nanmax(found[0]["effect_sd"]) > 1e-3
    for other in found[1:]:
        for key in ("effect_mean", "effect_sd", "effect_point"):
            np.testing.assert_allclose(other[key], found[0][key], atol=1e-6)


def test_both_strands_share_their_noise() -> None:
    """Put into the batch by torch.cat, the strands of an input see the same numbers."""

    class Strands(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            both = torch.cat([x, x.flip(1, 2)])
            both = both * (1 + 0.5 * torch.randn_like(both)) * (torch.rand_like(both) > P) / (1 - P)
            return both

    x = torch.rand(N, C, L)
    model, bank = LockedModel(nn.Sequential(Strands(), Halves())), MaskBank(SEED)
    with model.borrow():
        noise, mask = model.plan(x).sites
        assert noise.copies == mask.copies == 2
        assert noise.shape == mask.shape == EACH
        got = model.outputs(x, 0, bank).reshape(N, 2, C, L)
    numbers = numbers_of("normal", 0, 0, EACH)
    keep = torch.from_numpy(keep_mask(SEED, 0, 1, EACH, P)) / (1 - P)
    for i, strand in enumerate((x, x.flip(1, 2))):
        torch.testing.assert_close(got[:, i], strand * (1 + 0.5 * numbers) * keep)


class Halves(nn.Module):
    def forward(self, both: Tensor) -> Tensor:
        return torch.stack(both.chunk(2), 1)


def test_noise_that_is_an_output_is_not_left_out() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x.sum((1, 2)), torch.rand(len(x), 1)

    model = LockedModel(Two())
    with model.borrow(), pytest.raises(ModelError):
        model.outputs(torch.rand(2, C, L), 0, MaskBank(SEED))


def test_numbers_that_change_buffers_are_refused_where_the_output_depends_on_them(x: Tensor) -> None:
    class Moving(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                x = F.dropout(x, P)
                self.mean.mul_(0.9).add_(1.0)
            return x * self.mean

    net = Moving()
    net.mean.fill_(1.0)
    model = LockedModel(nn.Sequential(net, nn.Dropout(0.1)))
    with model.borrow(), pytest.raises(UnlockableDropoutError, match="'0'"):
        model.plan(x)
    assert net.mean == 1.0
