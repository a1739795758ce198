"""Differences that have become exactly zero go no further, and give exactly the reference's output.

The networks of `whole_numbers` have small whole numbers as weights, so that float64 rounds nowhere:
there the engine must equal the oracle bit for bit, and so must the zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import DRAWS, collect, compare, substitutions
from random_networks import random_network
from torch import Tensor, nn
from zoo import LENGTH as ZOO_LENGTH
from zoo import ZOO, build

from kipoi_mcdropout.dropout.locked_model import LockedModel, MaskBank
from kipoi_mcdropout.engine import IncrementalEngine
from kipoi_mcdropout.engine.full import FullEngine
from kipoi_mcdropout.engine.incremental import thinning
from kipoi_mcdropout.plugin.mutation import MCDropoutISM
from kipoi_mcdropout.sequence.mutants import MutantBatch

LENGTH = 120
POOLED = (LENGTH - 7) // 4
SECOND = (POOLED - 4) // 2


def whole_numbers(*layers: nn.Module, seed: int = 0, bias: int = 0) -> nn.Sequential:
    """Layers with weights from -2 to 2; `bias` is added in the first convolution."""
    rng = np.random.default_rng(seed)
    net = nn.Sequential(*layers).double().eval()
    for module in net.modules():
        if isinstance(module, (nn.Conv1d, nn.Linear)):
            weight = rng.integers(-2, 3, module.weight.shape)
            module.weight.data = torch.from_numpy(weight).double()
            module.bias.data = torch.from_numpy(rng.integers(-3, 4, module.bias.shape)).double()
    next(module for module in net.modules() if isinstance(module, nn.Conv1d)).bias.data += bias
    return net


def three_blocks(activation: Callable[[], nn.Module] = nn.ReLU, p: float = 0.5) -> list[nn.Module]:
    """Convolutions, activations, pooling and dropout, twice, then a linear layer."""
    return [
        nn.Conv1d(4, 6, 8), activation(), nn.MaxPool1d(4), nn.Dropout(p),
        nn.Conv1d(6, 8, 5), activation(), nn.MaxPool1d(2), nn.Dropout(p),
        nn.Conv1d(8, 8, 3), activation(), nn.MaxPool1d(2), nn.Dropout(p),
        nn.Flatten(), nn.Linear(8 * ((SECOND - 2) // 2), 5), nn.ReLU(), nn.Linear(5, 3),
    ]  # fmt: skip


class Halves(nn.Module):
    """Saturation from both sides by clamp, on whole numbers."""

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(-2, 3)


def both(
    net: nn.Module, batch: MutantBatch, draws: Sequence[int], **options: int
) -> tuple[Tensor, Tensor, Tensor, IncrementalEngine]:
    """Outputs of the references and of the mutants by the engine, by the oracle, and the engine."""
    model, bank = LockedModel(net.eval()), MaskBank(3)
    with model.borrow():
        _, expected = collect(FullEngine(model, bank), batch, draws)
        engine = IncrementalEngine(model, bank, **options)
        ref, alt = collect(engine, batch, draws)
    return ref[:, batch.owner], alt, expected, engine


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thin out whatever the density."""
    monkeypatch.setattr(thinning, "LEAST_ZERO", 0.0)


@pytest.mark.parametrize("references", [1, 3])
@pytest.mark.parametrize(
    "activation",
    [nn.ReLU, nn.ReLU6, lambda: nn.Hardtanh(-1, 2), Halves, lambda: nn.Threshold(3, 0)],
    ids=["relu", "relu6", "hardtanh", "clamp", "threshold"],
)
def test_dead_and_saturated_units(activation: Callable[[], nn.Module], references: int) -> None:
    net = whole_numbers(*three_blocks(activation), bias=-12 if activation is Halves else -11)
    batch = substitutions(LENGTH, references)
    ref, alt, expected, engine = both(net, batch, (-1, *range(9)))
    assert torch.equal(alt, expected)
    gone = (alt == ref).all(dim=2)
    assert 0.05 < gone.double().mean() < 1
    assert engine.paths["thinned"] > 0
    assert engine.paths["pairs left"] > 0


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_mutants_that_die_at_each_depth(depth: int) -> None:
    """The convolution of one depth is shifted so far down that most of its units are never on."""
    net = whole_numbers(*three_blocks(), bias=-3)
    convolutions = [module for module in net if isinstance(module, nn.Conv1d)]
    convolutions[depth - 1].bias.data -= (12, 60, 700)[depth - 1]
    shallow = net[: (4, 8, 12)[depth - 1] - 1]  # up to the pooling of this depth
    before = net[: (1, 4, 8)[depth - 1]]
    batch = substitutions(LENGTH)
    ref, alt, expected, engine = both(net, batch, (-1, *range(5)))
    assert torch.equal(alt, expected)
    inputs = torch.from_numpy(batch.layout.encode(batch.codes, np.dtype(float)))
    reference = torch.from_numpy(batch.layout.encode(batch.reference_codes, np.dtype(float)))
    died = (shallow(inputs) == shallow(reference)).flatten(1).all(1)  # with dropout off
    lived = (before(inputs) != before(reference)).flatten(1).any(1)
    assert (died & lived).sum() > 10, "no mutant dies at this depth; the test would prove nothing"
    assert (alt[0] == ref[0]).all(1)[died].all()
    assert engine.paths["thinned"] > 0


@pytest.mark.usefixtures("always")
def test_draws_in_which_everything_is_dropped() -> None:
    layers = three_blocks()
    layers[3] = nn.Dropout1d(0.75)
    layers[0], layers[4] = nn.Conv1d(4, 2, 8), nn.Conv1d(2, 8, 5)
    ref, alt, expected, engine = both(whole_numbers(*layers), substitutions(LENGTH), range(12))
    assert torch.equal(alt, expected)
    dead = (alt == ref).all(dim=2).all(dim=1)
    assert dead.any()
    assert not dead.all()
    assert engine.paths["thinned"] > 0


def test_nothing_is_left_anywhere() -> None:
    net = whole_numbers(*three_blocks(), bias=-1000)
    ref, alt, _, engine = both(net, substitutions(LENGTH), (-1, 0, 1))
    assert torch.equal(alt, ref)
    assert engine.paths["thinned"] > 0
    assert engine.paths["pairs left"] == 0
    assert engine.paths["rows"] == 0  # no further layer is run


class GlobalMaximum(nn.Module):
    """The maximum over all positions extinguishes too; beside it the mean."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.amax(2), x.sum(2)], 1)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("references", [1, 4])
@pytest.mark.parametrize("end", ["max", "max and sum", "tail"])
def test_other_ends_of_windows(end: str, references: int) -> None:
    layers = three_blocks()[:8]
    if end == "max":
        layers += [nn.Conv1d(8, 6, 3), nn.ReLU(), nn.AdaptiveMaxPool1d(1), nn.Flatten()]
    elif end == "max and sum":
        layers += [nn.Conv1d(8, 3, 3), nn.ReLU(), GlobalMaximum()]
    else:
        layers += [
            nn.Conv1d(8, 6, 3),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Flatten(),
            nn.Linear(6 * (SECOND - 2), 6),
        ]
    net = whole_numbers(*layers, nn.Linear(6, 2), bias=-3)
    ref, alt, expected, engine = both(net, substitutions(LENGTH, references), (-1, 0, 1))
    assert torch.equal(alt, expected)
    assert (alt == ref).all(dim=2).any()
    assert engine.paths["thinned"] > 0


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("draws", [(-1,), tuple(range(18))], ids=["off", "on"])
def test_no_mask_among_the_windows(draws: tuple[int, ...]) -> None:
    """What is left is propagated once for all draws."""
    layers = [nn.Identity() if isinstance(x, nn.Dropout) else x for x in three_blocks()]
    net = whole_numbers(*layers[:-1], nn.Dropout(0.5), layers[-1], bias=-3)
    ref, alt, expected, engine = both(net, substitutions(LENGTH), draws)
    assert torch.equal(alt, expected)
    assert (alt == ref).all(dim=2).any()
    blocks = engine.paths["thinned"]
    assert blocks > 0
    *_, single = both(net, substitutions(LENGTH), draws[:1])
    assert single.paths["thinned"] == blocks


@pytest.mark.usefixtures("always")
def test_a_mask_on_the_input() -> None:
    """There are no windows before the masks: counted anew in each group of draws."""
    net = whole_numbers(nn.Dropout(0.5), *three_blocks(), bias=-11)
    ref, alt, expected, engine = both(net, substitutions(LENGTH), range(18))
    assert torch.equal(alt, expected)
    assert (alt == ref).all(dim=2).any()
    assert engine.paths["thinned"] > 0


@pytest.mark.usefixtures("always")
def test_rows_go_on_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    net, batch = whole_numbers(*three_blocks(), bias=-3), substitutions(LENGTH)
    *_, whole = both(net, batch, (0, 1, 2))
    monkeypatch.setattr(thinning, "_HELD_BYTES", 1000)
    _, alt, expected, engine = both(net, batch, (0, 1, 2))
    assert torch.equal(alt, expected)
    assert engine.paths["pairs left"] == whole.paths["pairs left"]


def test_where_little_is_zero_nothing_is_thinned_out() -> None:
    torch.manual_seed(0)
    found = compare(nn.Sequential(*three_blocks(nn.ELU, p=0.2)).double(), substitutions(LENGTH))
    assert found.error < 1e-10
    assert found.paths["thinned"] == 0


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("name", ZOO)
def test_the_zoo(name: str) -> None:
    assert compare(build(name), substitutions(ZOO_LENGTH), DRAWS).error < 1e-10
    batch = substitutions(ZOO_LENGTH, references=3, only=9, dtype=np.float32, seed=4)
    assert compare(build(name, torch.float32), batch).error < 1e-5


@pytest.mark.usefixtures("always")
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("start", range(0, 24, 12))
def test_random_networks(start: int) -> None:
    thinned = 0
    for seed in range(start, start + 12):
        for references, only in ((1, 40), (3, 7)):
            batch = substitutions(80, references, only=only, seed=seed)
            found = compare(random_network(seed), batch, (-1, 0, 3), memory_bytes=300_000)
            assert found.error < 1e-10, (seed, references)
            thinned += found.paths["thinned"]
    assert thinned > 0


def test_the_same_after_other_mutants() -> None:
    model, bank = LockedModel(whole_numbers(*three_blocks(), bias=-11).float()), MaskBank(3)
    batches = [substitutions(LENGTH, n, only=150, dtype=np.float32, seed=n) for n in (1, 2, 5)]

    def run(engine: IncrementalEngine, batch: MutantBatch) -> list[Tensor]:
        with model.borrow():
            return list(collect(engine, batch, range(-1, 18)))

    fresh = [run(IncrementalEngine(model, bank), batch) for batch in batches]
    used = IncrementalEngine(model, bank)
    for i in (2, 0, 1, 0, 2):
        for found, expected in zip(run(used, batches[i]), fresh[i], strict=True):
            assert torch.equal(found, expected)
    assert used.paths["thinned"] > 0


def test_effects_that_must_be_exactly_zero_are() -> None:
    """A mutant that changes no unit that is on: effect 0, sd 0, as often above zero as below."""
    torch.manual_seed(0)
    net = nn.Sequential(*three_blocks(p=0.2), nn.Sigmoid())
    codes = np.random.default_rng(0).integers(0, 4, (1, LENGTH))
    x = np.eye(4, dtype=np.float32)[codes].transpose(0, 2, 1).copy()
    with torch.no_grad():  # few units of the first layer are on
        net[0].bias -= net[0](torch.from_numpy(x))[0].quantile(0.98, dim=1)
        alone = net[:3](torch.from_numpy(x))
        mutants = np.repeat(x, 4 * LENGTH, 0)
        for i in range(4 * LENGTH):
            mutants[i, :, i // 4] = np.eye(4)[i % 4]
        dead = ((net[:3](torch.from_numpy(mutants)) - alone).abs() < 1e-6).flatten(1).all(1).numpy()
    dead = dead.reshape(LENGTH, 4).T & (x[0] == 0)  # (bases, positions), the reference's own left out
    assert dead.sum() > 20
    model = SimpleNamespace(model=net, schema=None)
    ism = MCDropoutISM(model, None, category_axis=0, n_draws=5, engine="incremental", verify=False)
    found = ism.score(x)["diff"]
    for name, value in (
        ("effect_mean", 0),
        ("effect_sd", 0),
        ("effect_point", 0),
        ("prob_positive", 0.5),
    ):
        values = np.asarray(found[name])[0]
        where = np.broadcast_to(dead.reshape(dead.shape + (1,) * (values.ndim - 2)), values.shape)
        assert (values[where] == value).all(), name
    assert np.nanmax(found["effect_sd"]) > 0
