"""Units that no mutant can change are left out, and nothing is lost; tails that pool."""

from __future__ import annotations

import os
import random
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import collect, compare, substitutions, with_mutants
from torch import Tensor, nn

from kipoi_mcdropout.dropout.locked_model import LockedModel, MaskBank
from kipoi_mcdropout.engine import IncrementalEngine
from kipoi_mcdropout.engine.incremental import (
    few_channels,
    reference_products,
    screened,
    stages,
    tail,
    thinning,
    zeros,
)
from kipoi_mcdropout.engine.incremental.tail import Tail
from kipoi_mcdropout.sequence.mutants import MutantBatch

LENGTH = 120
POOLED = (LENGTH - 7) // 4


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages are screened and tails are taken, whatever they cost."""
    for module in (few_channels, reference_products, screened, tail):
        monkeypatch.setattr(module, "pays", lambda *_: True)
    monkeypatch.setattr(stages, "LEAST_OUTPUTS", 0)
    monkeypatch.setattr(thinning, "WORTH", 2.0)
    monkeypatch.setattr(tail, "LEAST_POOLED", 0)
    monkeypatch.setattr(Tail, "pays", lambda *_: True)


def random_blocks(seed: int) -> nn.Module:
    """A network in which bases matter, float64; a function of the seed."""
    bases = torch.eye(4, dtype=torch.float64)
    for attempt in range(20):
        torch.manual_seed(seed)
        try:
            net = _random_blocks(random.Random(100 * seed + attempt))
        except RuntimeError:  # nothing is left of so short a sequence
            continue
        x = bases[torch.randint(0, 4, (8, LENGTH))].transpose(1, 2)
        with torch.no_grad():
            if net(x).std(dim=0).max() > 1e-3:
                return net
    raise AssertionError(f"no network of seed {seed} looks at its input")


def _random_blocks(pick: random.Random) -> nn.Module:
    """A stem, a dropout, a stage of any options, and one of several ends."""
    stem = [nn.Conv1d(4, 6, 8), nn.ReLU(), nn.MaxPool1d(pick.choice([2, 4]))]
    layers: list[nn.Module] = [*stem, dropout(pick)]
    layers += stage(pick, 6, 8)
    if pick.random() < 0.7:
        layers.append(dropout(pick))
    end = pick.choice(["tail", "pooled tail", "linear", "max"])
    if end in ("tail", "pooled tail"):
        layers += [nn.Conv1d(8, 5, 3, padding=1), *norms(pick, 5), nn.ReLU()]
        layers += [pooling(pick)] * (end == "pooled tail") + [dropout(pick)]
    x = torch.zeros(2, 4, LENGTH)
    shape = nn.Sequential(*layers)(x).shape
    if end == "max":
        layers += [nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(shape[1], 4)]
    else:
        layers += [nn.Flatten(), nn.Linear(shape[1] * shape[2], 4)]
    net = nn.Sequential(*layers, nn.ELU(), nn.Linear(4, 3)).double().eval()
    with torch.no_grad():
        for part in net:
            if isinstance(part, nn.Conv1d) and part.in_channels > 4 and part.bias is not None:
                part.bias -= pick.choice([0.0, 0.1, 0.2])  # so that some units are silent
    return net


def dropout(pick: random.Random) -> nn.Module:
    kind = pick.choice([nn.Dropout, nn.Dropout, nn.Dropout1d])
    return kind(pick.choice([0.05, 0.2, 0.5, 0.7]))


def pooling(pick: random.Random) -> nn.Module:
    kernel = pick.choice([2, 3, 4])
    return nn.MaxPool1d(
        kernel, pick.choice([kernel, 1, 2, 3]), pick.choice([0, 0, 1]), pick.choice([1, 1, 2]),
        ceil_mode=pick.random() < 0.3,
    )  # fmt: skip


def stage(pick: random.Random, n_in: int, n_out: int) -> list[nn.Module]:
    conv = nn.Conv1d(
        n_in, n_out, pick.choice([1, 3, 5]), pick.choice([1, 1, 2]), pick.choice([0, 0, 2]),
        pick.choice([1, 1, 2]), bias=pick.random() < 0.8,
    )  # fmt: skip
    after = [nn.ReLU()] if pick.random() < 0.3 else [nn.ReLU(), pooling(pick)]
    if pick.random() < 0.3:
        after.reverse()
    return [conv, *norms(pick, n_out), *after]


def norms(pick: random.Random, channels: int) -> list[nn.Module]:
    """Nothing, or one batch normalization or two, some channels with a negative factor."""
    found = [nn.BatchNorm1d(channels) for _ in range(pick.choice([0, 0, 1, 2]))]
    with torch.no_grad():
        for norm in found:
            norm.running_mean.uniform_(-0.3, 0.3)
            norm.running_var.uniform_(0.5, 2)
            norm.weight.uniform_(-0.5, 1.5)
            norm.bias.uniform_(-0.3, 0.3)
    return found


SEEDS = range(int(os.environ.get("MCDROPOUT_RANDOM_NETWORKS", "24")))


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("references", [1, 3])
def test_random_stages(references: int) -> None:
    ways: Counter[str] = Counter()
    errors = {}
    for seed in SEEDS:
        batch = substitutions(LENGTH, references, only=60, seed=seed)
        found = compare(random_blocks(seed), batch, (-1, *range(4)), memory_bytes=2_000_000)
        errors[seed] = found.error
        ways.update(way for way in found.paths if found.paths[way])
    assert {seed: error for seed, error in errors.items() if not error < 1e-10} == {}
    assert ways["screened"] >= len(SEEDS) / 3
    assert ways["sparse tail"] > len(SEEDS) / 6
    assert ways["pairs left"] > 0  # a stage before windows in blocks


def blocks(p: float = 0.3, dtype: torch.dtype = torch.float64, silent: float = 0.3) -> nn.Sequential:
    """A stage and a tail with a pooling; most units of the stage are silent."""
    net = nn.Sequential(
        nn.Conv1d(4, 6, 8), nn.ReLU(), nn.MaxPool1d(4), nn.Dropout(p),
        nn.Conv1d(6, 16, 5), nn.ReLU(), nn.MaxPool1d(2), nn.Dropout(p),
        nn.Conv1d(16, 8, 3), nn.ReLU(), nn.MaxPool1d(2), nn.Dropout(0.5),
        nn.Flatten(), nn.Linear(8 * (((POOLED - 4) // 2 - 2) // 2), 5), nn.ELU(), nn.Linear(5, 3),
    ).to(dtype)  # fmt: skip
    net[4].bias.data -= silent
    return net


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("references", [1, 4])
def test_units_are_left_out(monkeypatch: pytest.MonkeyPatch, references: int) -> None:
    torch.manual_seed(0)
    batch = substitutions(LENGTH, references, only=100)
    few = compare(blocks(silent=0.5), batch, (-1, *range(20)))
    assert few.error < 1e-10
    assert 0 < few.paths["units left"] < few.paths["units"] / 2
    assert few.paths["sparse tail"] == few.paths["slices"]
    monkeypatch.setattr(screened, "TOGETHER", 3)
    fewer = compare(blocks(silent=0.5), batch, (-1, *range(20)))
    assert fewer.error < 1e-10
    assert fewer.paths["screened"] > few.paths["screened"]


def test_by_itself_only_where_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few units of a wide stage can change, all of one that is never silent; a narrow one is small."""
    monkeypatch.setattr(few_channels, "_FIND", 0.0)
    monkeypatch.setattr(few_channels, "_FOUND", 0.0)
    batch = substitutions(LENGTH, only=90)
    for silent, units, screens in ((0.2, 600, True), (-3.0, 600, False), (0.2, 16, False)):
        torch.manual_seed(0)
        net = blocks()
        net[4], net[8] = nn.Conv1d(6, units, 5), nn.Conv1d(units, 8, 3)
        net.double()[4].bias.data -= silent
        net[0].bias.data -= 0.3  # so that few numbers of its input differ
        found = compare(net, batch, range(6))
        assert found.error < 1e-10
        assert (found.paths["screened"] > 0) == screens, (silent, units, found.paths)


def exact_zeros(net: nn.Module, batch: MutantBatch, draws: range) -> tuple[Tensor, Counter[str]]:
    """Pairs of a draw and a mutant with exactly the reference's output, and the ways taken."""
    model, bank = LockedModel(net.eval()), MaskBank(3)
    with model.borrow():
        engine = IncrementalEngine(model, bank)
        ref, alt = collect(engine, batch, draws)
    return (alt == ref[:, batch.owner]).all(dim=2), engine.paths


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("references", [1, 3])
def test_what_is_zero_is_exactly_zero(monkeypatch: pytest.MonkeyPatch, references: int) -> None:
    """Where all that differs is dropped, the rounding of a difference of two products must not stay."""
    torch.manual_seed(0)
    net = blocks(p=0.7, dtype=torch.float32, silent=-0.2)
    batch = substitutions(LENGTH, references, dtype=np.float32, only=200)
    found, some = exact_zeros(net, batch, range(16))
    monkeypatch.setattr(thinning, "WORTH", -1.0)
    expected, none = exact_zeros(net, batch, range(16))
    assert some["screened"] > 0 == none["screened"]
    assert 0.01 < expected.double().mean() < 0.9
    assert torch.equal(found, expected)


@pytest.mark.usefixtures("always")
def test_units_that_can_only_fall() -> None:
    """Mutants that turn units of the stem on, which turn all units of the stage down."""
    torch.manual_seed(0)
    net = blocks()
    net[0].bias.data -= 0.4
    with torch.no_grad():
        net[4].weight.abs_().neg_()
        net[4].bias.copy_(torch.rand(16) * 3)
    every = substitutions(LENGTH)
    mutants = torch.from_numpy(every.layout.encode(every.codes, np.dtype(float)))
    rises = (net[:3](mutants) - net[:3](torch.from_numpy(every.references))).flatten(1) >= 0
    codes = every.codes[rises.all(dim=1).numpy()]
    assert len(codes) > 30
    batch = with_mutants(every.layout, every.reference_codes, codes, [0] * len(codes))
    for draw in range(4):
        found = compare(net, batch, [draw])
        assert found.error < 1e-10
        assert found.paths["screened"] > 0


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("after", [nn.ELU(), nn.Identity()])
def test_a_stage_that_ends_before_the_next_cut(after: nn.Module) -> None:
    torch.manual_seed(0)
    net = blocks()
    net[7] = nn.Sequential(nn.Dropout(0.3), after)
    found = compare(net, substitutions(LENGTH, only=90), (-1, *range(5)))
    assert found.error < 1e-10
    assert (found.paths["screened"] > 0) == isinstance(after, nn.Identity)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("per_position", [False, True])
def test_constants_before_the_activation(per_position: bool) -> None:
    """As of batch normalization; those that differ between positions are left to the windows."""

    class Times(nn.Module):
        def __init__(self, *shape: int) -> None:
            super().__init__()
            self.factor = nn.Parameter(torch.rand(shape) - 0.3)

        def forward(self, x: Tensor) -> Tensor:
            return (x * self.factor - 0.1) / 0.8

    torch.manual_seed(0)
    net = blocks(silent=0.0)
    n = POOLED - 4
    net[4] = nn.Sequential(net[4], Times(16, n if per_position else 1))
    net[8] = nn.Sequential(net[8], Times(8, n // 2 - 2 if per_position else 1))
    found = compare(net.double(), substitutions(LENGTH, 2, only=90), (-1, *range(5)))
    assert found.error < 1e-10
    assert (found.paths["screened"] > 0) == (not per_position)
    assert (found.paths["sparse tail"] > 0) == (not per_position)


@pytest.mark.usefixtures("always")
def test_draws_that_drop_everything() -> None:
    torch.manual_seed(0)
    net = blocks()
    net[0], net[4] = nn.Conv1d(4, 2, 8), nn.Conv1d(2, 16, 5)
    net[3] = nn.Dropout1d(0.7)
    net.double()
    found = compare(net, substitutions(LENGTH, 2, only=90), (-1, *range(30)))
    assert found.error < 1e-10
    assert found.paths["screened"] > 0


@pytest.mark.usefixtures("always")
def test_nothing_bounds_what_is_infinite(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one of the last blocks differs by infinity before the mask, all go through windows."""

    class Limited(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv1d(4, 6, 8), nn.Conv1d(6, 8, 5)
            self.second.weight.data.abs_()
            self.second.bias.data += 3.0
            self.third, self.head = nn.Conv1d(8, 8, 3), nn.Linear(8 * (POOLED - 6), 3)
            self.register_buffer("limit", torch.ones((), dtype=torch.float64))

        def until(self, x: Tensor) -> Tensor:
            return F.max_pool1d(torch.relu(self.first(x)), 4)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.log(torch.relu(self.limit - self.until(x)))
            x = torch.relu(self.second(F.dropout(x, 1e-6, self.training)))  # infinity x 0 is NaN
            x = torch.relu(self.third(F.dropout(x, 0.2, self.training)))
            return self.head(F.dropout(x, 0.5, self.training).flatten(1))

    torch.manual_seed(1)
    net, batch = Limited().double(), substitutions(LENGTH)
    reference = net.until(torch.from_numpy(batch.references)).max()
    mutants = net.until(torch.from_numpy(batch.layout.encode(batch.codes, np.dtype(float))))
    net.limit.fill_(mutants.max())  # the logarithm of zero is minus infinity
    assert reference < mutants.max()
    calls = []
    monkeypatch.setattr(screened.Screened, "share", lambda *_: calls.append(1) or 0.0)
    found = compare(net, batch, (-1, 0, 1))
    assert calls  # the first block is finite
    assert found.error < 1e-10
    assert found.paths["screened"] == 0


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("activation", [nn.GELU(), nn.Sigmoid(), nn.Hardswish(), nn.ReLU()])
@pytest.mark.parametrize("few", [True, False])
def test_a_tail_whose_pooling_hangs_over_the_ends(
    monkeypatch: pytest.MonkeyPatch, few: bool, activation: nn.Module
) -> None:
    monkeypatch.setattr(tail, "pays", lambda *_: few)
    torch.manual_seed(0)
    net = blocks()
    net[9], net[10] = activation, nn.MaxPool1d(5, 2, 2, ceil_mode=True)
    with torch.no_grad():
        positions = net.float()[:11](torch.zeros(1, 4, LENGTH)).shape[2]
    net[13] = nn.Linear(8 * positions, 5)
    found = compare(net.double(), substitutions(LENGTH, 2, only=120), (-1, *range(5)))
    assert found.error < 1e-10
    assert found.paths["sparse tail" if few else "tail"] == found.paths["slices"]


def test_zeros() -> None:
    tiny = torch.finfo(torch.float32).smallest_normal / 4
    rows = torch.tensor([[0.0, -0.0], [0.0, tiny], [torch.nan, 0.0], [-torch.inf, torch.inf], [1, -1]])
    assert zeros.any_not_zero(rows).tolist() == [False, True, True, True, True]
    assert zeros.any_not_zero(rows.double()[:, None]).tolist() == [[x] for x in (0, 1, 1, 1, 1)]
    mask = rows == rows.flip(1)
    assert zeros.true_at(mask).tolist() == mask.flatten().nonzero()[:, 0].tolist() == [0, 1]
    assert zeros.count_true(mask) == 2
    assert zeros.true_at(mask.t()).tolist() == [0, 5]
    assert len(zeros.true_at(mask[:0])) == 0
