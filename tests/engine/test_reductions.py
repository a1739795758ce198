"""Reductions of profiles inside the captured pass: equal to those of the oracle's outputs, and local."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import Comparison, compare, substitutions
from profile_world import LENGTH, profile_net
from torch import Tensor, nn

from kipoi_mcdropout.engine.incremental.plan import Plan
from kipoi_mcdropout.outputs.bound import bind
from kipoi_mcdropout.outputs.labels import ArrayLabels
from kipoi_mcdropout.outputs.readout import Readout

MIXED = ["sum@16", "mean", "max@9", "logsumexp@20:40", "logsumexp"]
READOUTS = {
    "sum": {"reduce": "sum@16"},
    "max": {"reduce": "max@16"},
    "logsumexp": {"reduce": "logsumexp@10:30"},
    "several": {"reduce": MIXED},
    "one bin": {"reduce": ["sum@1", "max@1", "logsumexp@1", "mean@3"], "tracks": [0, 2]},
    "one track": {"reduce": ["sum@16", "sum@5:9"], "tracks": 1},
    "groups": {"reduce": ["sum@16", "max@5"], "track_groups": {"a": [0, 1], "b": "*"}},
    "projection": {"reduce": ["sum@16", "sum@1"], "projection": np.array([[1, 2, 3], [0, -1, 0.5]])},
}


class Read(nn.Module):
    """A network with a readout of its profile behind it, as a model with a readout runs it."""

    def __init__(self, readout: Readout, bins_last: bool, net: nn.Module) -> None:
        super().__init__()
        shape, axis = ((3, LENGTH), 0) if bins_last else ((LENGTH, 3), 1)
        self.net = net
        self.bound = bind(readout, ArrayLabels(shape, "", ("a", "b", "c"), axis), "the output")

    def forward(self, x: Tensor) -> Tensor:
        return self.bound.values(self.net(x)["profile"])


def compared(words: dict, bins_last: bool = True, dtype: torch.dtype = torch.float64) -> Comparison:
    net = Read(Readout(**words), bins_last, profile_net(bins_last=bins_last, dtype=dtype))
    numpy_type = {torch.float64: np.float64, torch.float32: np.float32}[dtype]
    return compare(net, substitutions(LENGTH, only=60, dtype=numpy_type))


def materialised(plan: Plan) -> list[str]:
    """Operations that take whole rows of what lies in windows."""
    return [
        step.node.name
        for step in plan.steps.values()
        if step.kind == "dense" and any(plan.steps[i].kind == "windows" for i in step.node.inputs())
    ]


@pytest.mark.parametrize("bins_last", [True, False])
@pytest.mark.parametrize("name", READOUTS)
def test_equal_to_the_reduced_outputs_of_the_oracle(name: str, bins_last: bool) -> None:
    found = compared(READOUTS[name], bins_last)
    assert found.error < 1e-12
    assert found.paths["reduce"] > 0
    assert found.paths["materialise"] == 0, "a whole profile was made for each mutant"
    assert materialised(found.plan) == []


@pytest.mark.parametrize("name", ["several", "groups"])
def test_in_single_precision(name: str) -> None:
    assert compared(READOUTS[name], dtype=torch.float32).error < 1e-5


def test_a_window_is_cut_out_without_clearing_what_others_take() -> None:
    """Two reductions of one tensor, the first of some positions of it, the second of all."""
    found = compared({"reduce": ["sum@5:9", "mean", "max@9"]})
    assert found.error < 1e-12


class Wide(nn.Module):
    """Each mutation changes most of the sequence's positions, and more of those that are taken."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(4, 6, 37, padding=18)
        self.drop = nn.Dropout(0.3)
        self.last = nn.Conv1d(6, 5, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        profile = self.last(self.drop(torch.relu(self.first(x))))
        return profile[:, :, 25:35].sum(2)


def test_a_window_that_changes_nearly_whole_becomes_rows_of_its_own() -> None:
    """Then what follows takes the positions of the window, not whole profiles."""
    torch.manual_seed(1)
    found = compare(Wide().double(), substitutions(60, only=50))
    crop = next(step for step in found.plan.steps.values() if step.node.name == "slice" and step.exit)
    assert crop.exit is not None
    assert crop.exit.label == "window put into the positions that are taken"
    assert found.error < 1e-12
    assert found.paths["materialise"] == 0
