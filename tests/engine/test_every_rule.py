"""Each registered rule between two convolutions: the step is propagated as windows, and is right.

A rule that raises, or that is never reached, cannot hide behind the dense path here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import compare, substitutions
from torch import Tensor, nn

from kipoi_mcdropout.engine.incremental.rules import RULES

LENGTH = 40
aten = torch.ops.aten
Function = Callable[[Tensor], Tensor]


def c(*shape: int) -> Tensor:
    """A constant."""
    return torch.linspace(-1, 1, torch.Size(shape).numel(), dtype=torch.float64).reshape(shape)


def positive(function: Function) -> Function:
    return lambda x: function(x.abs() + 0.5)


def doubled(function: Function) -> Function:
    return lambda x: function(x * 2)


def wide(function: Function) -> Function:
    """On (n, 4, 1, positions), for operations on two spatial axes."""
    return lambda x: function(x[:, :, None]).squeeze(2)


POINTWISE = (
    "relu", "relu6", "gelu", "softplus", "sigmoid", "tanh", "exp", "expm1", "elu", "selu", "celu",
    "hardtanh", "leaky_relu", "silu", "mish", "hardswish", "hardsigmoid", "abs", "sin", "cos", "erf",
    "log_sigmoid", "square", "sign", "hardshrink", "softshrink", "floor", "round", "special_expit",
)  # fmt: skip
POSITIVE = ("sqrt", "rsqrt", "log", "log1p", "log2", "reciprocal")

# Second names of torch's operators, and those under which they are recorded.
USUAL = {"true_divide": "div", "concat": "cat", "concatenate": "cat"}

# On (n, 4, 36); each gives a tensor with 4 channels and at least 8 positions.
NETWORKS: dict[str, Function] = {
    **{name: doubled(getattr(aten, name)) for name in POINTWISE},
    **{name: positive(getattr(aten, name)) for name in POSITIVE},
    "threshold": lambda x: F.threshold(x, 0.1, 0.3),
    "clamp": lambda x: x.clamp(-0.2, 0.3),
    "clamp_min": lambda x: x.clamp_min(-0.2),
    "clamp_max": lambda x: x.clamp_max(0.2),
    "logit": lambda x: torch.logit(torch.sigmoid(x) * 0.9),
    "pow": lambda x: x**3,
    "neg": lambda x: -x,
    "add": lambda x: x + c(4, 1),
    "sub": lambda x: x - c(36),
    "rsub": lambda x: torch.rsub(x, 2.0),
    "mul": lambda x: x * c(4, 36),
    "div": lambda x: x / 3,
    "true_divide": lambda x: torch.true_divide(x, c(4, 1) + 3),
    "maximum": lambda x: torch.maximum(x, c(4, 1)),
    "minimum": lambda x: torch.minimum(c(36), x),
    "prelu": lambda x: F.prelu(x, c(4)),
    "_prelu_kernel": lambda x: aten._prelu_kernel(x, c(4, 1)),
    "batch_norm": lambda x: F.batch_norm(x, c(4), c(4) + 2, c(4), c(4)),
    "layer_norm": lambda x: F.layer_norm(x.transpose(1, 2), [4], c(4)).transpose(1, 2),
    "softmax": lambda x: x.softmax(1),
    "log_softmax": lambda x: x.log_softmax(1),
    "_softmax": lambda x: aten._softmax(x, 1, False),
    "_log_softmax": lambda x: aten._log_softmax(x, 1, False),
    "cumsum": lambda x: x.cumsum(1),
    "glu": lambda x: F.glu(torch.cat([x, x * 2], 1), 1),
    "sum": lambda x: x - x.sum(1, keepdim=True),
    "mean": lambda x: x * x.mean(1, keepdim=True),
    "amax": lambda x: x - x.amax(1, keepdim=True),
    "amin": lambda x: x - x.amin(1, keepdim=True),
    "conv1d": lambda x: F.conv1d(x, c(4, 2, 3), groups=2),
    "conv2d": wide(lambda x: F.conv2d(x, c(4, 4, 1, 3))),
    "convolution": lambda x: torch.convolution(x, c(4, 4, 3), None, [2], [1], [1], False, [0], 1),
    "_convolution": lambda x: aten._convolution(
        x, c(4, 4, 3), None, [1], [1], [2], False, [0], 1, False, False, False, False
    ),
    "linear": lambda x: F.linear(x.transpose(1, 2), c(4, 4)).transpose(1, 2),
    "matmul": lambda x: (x.transpose(1, 2) @ c(4, 4)).transpose(1, 2),
    "max_pool1d": lambda x: F.max_pool1d(x, 3, 2, 1),
    "max_pool2d": wide(lambda x: F.max_pool2d(x, (1, 2))),
    "avg_pool1d": lambda x: F.avg_pool1d(x, 3, 2, 1, count_include_pad=False),
    "avg_pool2d": wide(lambda x: F.avg_pool2d(x, (1, 3), (1, 2))),
    "adaptive_avg_pool1d": lambda x: F.adaptive_avg_pool1d(x, 12),
    "adaptive_avg_pool2d": wide(lambda x: F.adaptive_avg_pool2d(x, (1, 18))),
    "cat": lambda x: torch.cat([x[:, :2], x[:, 1:3]], 1),
    "concat": lambda x: torch.concat([x[:, :2], x[:, 1:3]], 1),
    "concatenate": lambda x: torch.concatenate([x[:, :2], x[:, 1:3]], 1),
    "stack": lambda x: torch.stack([x[:, :2], x[:, 2:].tanh()], 2).flatten(1, 2),
    "clone": lambda x: x.clone(),
    "contiguous": lambda x: x.transpose(1, 2).contiguous().transpose(1, 2),
    "detach": lambda x: x.detach() * 2,
    "alias": lambda x: aten.alias(x) * 2,
    "to": lambda x: aten.to.dtype_layout(x, copy=True),
    "_to_copy": lambda x: aten._to_copy(x),
    "view": lambda x: x.view(-1, 2, 2, 36).transpose(1, 2).reshape(-1, 4, 36),
    "reshape": lambda x: x.reshape(-1, 2, 2, 36).flatten(1, 2),
    "_unsafe_view": lambda x: aten._unsafe_view(x, [len(x), 2, 2, 36]).flatten(1, 2),
    "flatten": lambda x: x[:, :, None].flatten(1, 2),
    "unflatten": lambda x: x.unflatten(1, (2, 2)).transpose(1, 2).flatten(1, 2),
    "squeeze": wide(lambda x: x * 2),
    "unsqueeze": lambda x: x.unsqueeze(3)[..., 0],
    "expand": lambda x: x.expand(-1, 4, 36) * 2,
    "permute": lambda x: x.permute(0, 2, 1).tanh().permute(0, 2, 1),
    "transpose": lambda x: x.transpose(1, 2).tanh().transpose(1, 2),
    "swapaxes": lambda x: torch.swapaxes(torch.swapaxes(x, 1, 2).tanh(), 1, 2),
    "movedim": lambda x: x.movedim(2, 1).tanh().movedim([1, 2], [2, 1]),
    "numpy_T": lambda x: torch.stack([x[:, i].T.tanh().T for i in range(4)], 1),
    "t": lambda x: torch.stack([x[:, i].t().tanh().t() for i in range(4)], 1),
    "slice": lambda x: x[:, :, 2:-3],
    "select": lambda x: x.select(1, 2).unsqueeze(1) * x,
    "narrow": lambda x: x.narrow(2, 3, 20),
    "getitem": lambda x: torch.cat(x.chunk(2, 1)[::-1], 1),
    "flip": lambda x: x.flip(2) + 1,
    "index": lambda x: x[:, [2, 0, 1, 3]],
    "index_select": lambda x: x.index_select(1, torch.tensor([3, 0, 1, 1])),
    "pad": lambda x: F.pad(x, (2, 3)),
    "constant_pad_nd": lambda x: aten.constant_pad_nd(x, [1, 4], 0.5),
    "site": lambda x: F.dropout1d(x, 0.4, True),
}
# Registered to say why they are not local.
NEVER_LOCAL: dict[str, tuple[Function, str]] = {
    "group_norm": (lambda x: F.group_norm(x, 2), "normalises over positions"),
    "instance_norm": (lambda x: F.instance_norm(x), "normalises over positions"),
}


class End(nn.Module):
    """Ends the windows."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(2)


class Net(nn.Module):
    def __init__(self, function: Function) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(4, 4, 5), nn.Conv1d(4, 4, 3)
        self.function, self.end = function, End()

    def forward(self, x: Tensor) -> Tensor:
        y = self.function(F.dropout(self.first(x), 0.2, True))
        return self.end(torch.relu(self.second(y)))


def steps(function: Function) -> list[Any]:
    torch.manual_seed(0)
    error, plan, _ = compare(Net(function).double(), substitutions(LENGTH, only=40), (-1, 0))
    assert error < 1e-10
    return [step for step in plan.steps.values() if step.node.module != "end"]


OF_TOKENS = {"embedding", "one_hot"}  # tested in test_token_rules.py


def test_every_registered_rule_is_here() -> None:
    assert set(NETWORKS) | set(NEVER_LOCAL) | OF_TOKENS == set(RULES)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_step_is_local(name: str) -> None:
    found = steps(NETWORKS[name])
    mine = [step for step in found if step.node.name == USUAL.get(name, name)]
    assert mine, f"{name} is not called: {[step.node.name for step in found]}"
    assert all(step.kind == "windows" for step in mine), {step.reason for step in mine}
    convolutions = [step for step in found if step.node.name == "conv1d"]
    assert [step.kind for step in convolutions] == ["windows"] * len(convolutions)
    whole = [step for step in found if step.node.shape is not None]  # without a chunk in parts
    assert {step.kind for step in whole} <= {"windows", "constant"}


@pytest.mark.parametrize("name", NEVER_LOCAL)
def test_why_it_is_not_local(name: str) -> None:
    function, reason = NEVER_LOCAL[name]
    mine = [step for step in steps(function) if step.node.name == name]
    assert [(step.kind, step.reason) for step in mine] == [("dense", reason)]
