"""Dropout of what does not come from the input: weights, parameters, position codes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import compare, kinds, substitutions
from torch import Tensor, nn

from kipoi_mcdropout.engine.explain import engine_plan, format_plan
from kipoi_mcdropout.model.adapter import KipoiModel
from kipoi_mcdropout.plugin.mutation import MCDropoutISM
from kipoi_mcdropout.sequence.one_hot import OneHotLayout

LENGTH = 40


class Net(nn.Module):
    """A convolution, then `function` of the module and the activations, and a linear layer."""

    def __init__(self, function: Callable[[Net, Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.again = nn.Conv1d(4, 5, 5), nn.Conv1d(5, 5, 3, padding=1)
        self.position = nn.Parameter(torch.randn(1, 5, LENGTH - 4))
        self.angle = nn.Linear(1, 5)
        self.head = nn.Linear(5 * (LENGTH - 4), 3)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        y = F.dropout(torch.relu(self.conv(x)), 0.2, self.training)
        return self.head(torch.tanh(self.again(self.function(self, y))).flatten(1))


def cached_code(net: Net, y: Tensor) -> Tensor:
    """As in transformers: sines of the positions, with dropout."""
    angles = torch.sin(net.angle(torch.arange(float(y.shape[2])).to(y)[:, None]))
    return F.dropout(angles, 0.4, net.training).t() + y


FUNCTIONS: dict[str, tuple[str, Callable[[Net, Tensor], Tensor]]] = {
    "parameter": ("windows", lambda net, y: y + F.dropout(net.position, 0.3, net.training)),
    "parameter_first": ("windows", lambda net, y: F.dropout(net.position, 0.3, net.training) + y),
    "subtracted": ("windows", lambda net, y: y - F.dropout(net.position[0], 0.3, net.training)),
    "scaled": ("windows", lambda net, y: torch.add(y, F.dropout(net.position, 0.3), alpha=2)),
    "cached": ("windows", cached_code),
    "two": (
        "windows",
        lambda net, y: y + (F.dropout(net.position, 0.3) + F.dropout(net.position, 0.5)) / 2,
    ),
    "subtracted_from": ("dense", lambda net, y: F.dropout(net.position, 0.3, net.training) - y),
    "gate": ("windows", lambda net, y: y * F.dropout(net.position, 0.3, net.training)),
    "weight": (
        "dense",
        lambda net, y: F.conv1d(y, F.dropout(net.again.weight, 0.3, net.training), padding=1),
    ),
    "channel_mask": (
        "windows",
        lambda net, y: y * F.dropout(torch.ones(5, 1).to(y), 0.3, net.training),
    ),
}


def network(name: str) -> Net:
    torch.manual_seed(0)
    return Net(FUNCTIONS[name][1]).double()


@pytest.mark.parametrize("references", [1, 3])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_equal_to_the_oracle(name: str, references: int) -> None:
    error, plan, _ = compare(network(name), substitutions(LENGTH, references, only=40))
    assert error < 1e-10
    assert kinds(plan)["tanh"] == FUNCTIONS[name][0]
    reasons = {step.reason for step in plan.steps.values()}
    assert "depends on the masks alone" in reasons


@pytest.mark.parametrize("name", ["parameter", "weight", "cached"])
def test_ism_by_every_engine(name: str) -> None:
    codes = np.random.default_rng(0).integers(0, 4, (2, LENGTH))
    x = np.eye(4)[codes].transpose(0, 2, 1)
    found = {
        engine: MCDropoutISM(network(name), None, n_draws=4, category_axis=0, engine=engine).score(x)
        for engine in ("full", "incremental")
    }
    for statistic in ("effect_mean", "effect_sd", "ref_var"):
        expected = found["full"]["diff"][statistic]
        np.testing.assert_allclose(found["incremental"]["diff"][statistic], expected, atol=1e-10)
    assert (found["full"]["diff"]["ref_var"] > 0).all()


@pytest.mark.parametrize("name", ["parameter", "weight"])
def test_audit_plans_it(name: str) -> None:
    model = KipoiModel(network(name))
    x = model.arrays(np.eye(4)[[[0] * LENGTH]].swapaxes(1, 2))
    text = format_plan(engine_plan(model.locked, x, None, OneHotLayout.of(x, 0)))
    assert "depends on the masks alone" in text
