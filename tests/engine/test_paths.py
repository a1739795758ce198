"""Networks in which a fast path runs more than once: each run has its own rows, masks and places."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import TwoLinearLayers, compare, substitutions
from torch import Tensor, nn

from kipoi_mcdropout.engine.incremental.tail import Tail

LENGTH = 100
POOLED = (LENGTH - 7) // 4


def branch(n_in: int, kernel: int, p: float = 0.5) -> nn.Sequential:
    """A chain that the engine runs as a tail: convolution, activation, dropout, flatten, linear."""
    positions = POOLED - kernel + 1
    return nn.Sequential(
        nn.Conv1d(n_in, 8, kernel), nn.ReLU(), nn.Dropout(p), nn.Flatten(), nn.Linear(8 * positions, 5)
    )  # fmt: skip


class Branches(nn.Module):
    """A stem, then branches that each end in a linear layer over all positions."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(4, 6, 8), nn.ReLU(), nn.MaxPool1d(4), nn.Dropout(0.2))
        self.branches = nn.ModuleList(branches)
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(5 * len(branches), 2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(torch.cat([branch(x) for branch in self.branches], 1))


class StrandsByTwoCalls(nn.Module):
    """The mean over both strands, by two calls of the same layers: their sites differ."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(4, 6, 8), nn.ReLU(), nn.MaxPool1d(4), nn.Dropout(0.2), branch(6, 5), nn.ReLU(),
            nn.Linear(5, 2),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return (self.body(x) + self.body(x.flip([1, 2]))) / 2


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kernels", [(5, 11), (11, 5), (8, 8), (6, 9, 12)], ids=str)
def test_branches_that_end_in_linear_layers(kernels: tuple[int, ...], seed: int) -> None:
    torch.manual_seed(seed)
    net = Branches(*[branch(6, kernel) for kernel in kernels]).double()
    error, _, paths = compare(net, substitutions(LENGTH, seed=seed), (-1, 0, 1))
    assert error < 1e-10
    assert paths["tail"] == len(kernels)


@pytest.mark.parametrize("references", [1, 3])
def test_strands_by_two_calls_of_the_same_layers(references: int) -> None:
    torch.manual_seed(0)
    net = StrandsByTwoCalls().double()
    error, plan, paths = compare(net, substitutions(LENGTH, references), (-1, 0, 1))
    assert error < 1e-10
    assert paths["tail"] == 2 * paths["slices"] > 0
    sites = [step.node.drop.site for step in plan.steps.values() if step.node.drop is not None]
    assert sites == [0, 1, 2, 3]


def test_a_tail_beside_other_ends_of_windows() -> None:
    """One branch is a tail, one a plain linear layer, two are reductions, one leaves as it is."""

    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(nn.Conv1d(4, 6, 8), nn.ReLU(), nn.MaxPool1d(4), nn.Dropout(0.2))
            self.tail, self.low = branch(6, 5), branch(6, 7, p=0.1)
            self.head = nn.Linear(10 + 12 + 6, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            last = torch.logcumsumexp(x, 2)[:, :, -1]
            return self.head(torch.cat([self.tail(x), self.low(x), x.amax(2), x.mean(2), last], 1))

    torch.manual_seed(0)
    error, _, paths = compare(Mixed().double(), substitutions(LENGTH), (-1, 0, 1))
    assert error < 1e-10
    assert paths["tail"] == 1
    assert paths["packed"] == 1
    assert paths["reduce"] >= 2
    assert paths["materialise"] >= 1


def test_branches_in_float32_with_variants_far_apart() -> None:
    torch.manual_seed(0)
    net = Branches(branch(6, 5), branch(6, 11))
    batch = substitutions(LENGTH, references=40, only=40, dtype=np.float32)
    error, _, paths = compare(net, batch, (0, 1))
    assert error < 1e-5
    assert paths["tail"] == 2


def test_two_linear_layers_over_the_same_windows() -> None:
    torch.manual_seed(0)
    error, _, paths = compare(TwoLinearLayers(LENGTH).double(), substitutions(LENGTH), (-1, 0))
    assert error < 1e-10
    assert paths["packed"] == 3


def test_a_tail_from_the_input_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tail, "pays", lambda *_: True)
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv1d(4, 8, 8), nn.ELU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(8 * (LENGTH - 7), 3)
    )  # fmt: skip
    error, _, paths = compare(net.double(), substitutions(LENGTH, references=2), range(19))
    assert error < 1e-10
    assert paths["tail"] == paths["slices"] == 2  # sixteen draws, then three


@pytest.mark.parametrize("width", [1, 40])
def test_mutants_that_change_too_much_are_computed_whole(width: int) -> None:
    rng = np.random.default_rng(0)
    batch = substitutions(LENGTH, only=20)
    for row in range(0, 20, 2):
        batch.codes[row] = batch.reference_codes[0]
        batch.codes[row, 30 : 30 + width] = rng.integers(0, 4, width)
    torch.manual_seed(0)
    error, _, paths = compare(Branches(branch(6, 5)).double(), batch, (-1, 0))
    assert error < 1e-10
    assert bool(paths["whole"]) == (width == 40)


@pytest.mark.parametrize("idle", [[0], [1, 3], [2]])
def test_references_without_a_mutant_have_their_outputs_too(idle: list[int]) -> None:
    batch = substitutions(LENGTH, references=4, only=6)
    left = ~np.isin(batch.owner, idle)
    some = replace(batch, owner=batch.owner[left], codes=batch.codes[left])
    net = Branches(branch(6, 5), branch(6, 3)).double()
    assert compare(net, some, (-1, 0, 1)).error < 1e-10
