"""Single operations over their arguments: every combination equals the oracle."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import error_against_oracle, kinds, substitutions
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from kipoi_mcdropout.engine.incremental.tail import Tail

LENGTH = 40
few = settings(max_examples=25, derandomize=True, database=None)


def check(*layers: nn.Module, windows: tuple[str, ...] = (), length: int = LENGTH) -> None:
    """The layers with a linear layer over all positions at the end."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using padding='same' with even kernel")
        body = nn.Sequential(*layers).double().eval()
        shape = body(torch.rand(2, 4, length, dtype=torch.float64)).shape
        net = nn.Sequential(body, nn.Flatten(), nn.Linear(shape[1:].numel(), 2)).double()
        error, plan = error_against_oracle(net, substitutions(length, only=70))
    assert error < 1e-10
    for name in windows:
        assert kinds(plan)[name] == "windows", name


@few
@given(
    kernel=st.integers(1, 7),
    stride=st.integers(1, 4),
    padding=st.integers(0, 4),
    dilation=st.integers(1, 3),
    groups=st.sampled_from([1, 2, 4]),
    forced=st.booleans(),
)
def test_convolution(
    kernel: int, stride: int, padding: int, dilation: int, groups: int, forced: bool
) -> None:
    def conv(n: int, out: int) -> nn.Module:
        return nn.Conv1d(n, out, kernel, stride, padding, dilation, groups)

    after = (LENGTH + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    again = (after + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    assume(again >= 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tail, "pays", lambda *_: forced)
        check(conv(4, 8), nn.GELU(), nn.Dropout(0.2), conv(8, 4), nn.Tanh(), nn.Dropout(0.5))


@few
@given(kernel=st.integers(1, 8), dilation=st.integers(1, 3), groups=st.sampled_from([1, 4]))
def test_same_padding(kernel: int, dilation: int, groups: int) -> None:
    conv = nn.Conv1d(4, 4, kernel, padding="same", dilation=dilation, groups=groups)
    check(conv, nn.ReLU(), nn.Dropout(0.3), windows=("conv1d", "relu", "site"))


@few
@given(
    kind=st.sampled_from([nn.MaxPool1d, nn.AvgPool1d]),
    kernel=st.integers(2, 6),
    stride=st.integers(1, 7),
    padding=st.integers(0, 3),
    dilation=st.integers(1, 2),
    ceil_mode=st.booleans(),
    inside=st.booleans(),
)
def test_pooling(
    kind: Any, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool, inside: bool
) -> None:
    assume(padding <= kernel // 2)
    if kind is nn.MaxPool1d:
        pool = nn.MaxPool1d(kernel, stride, padding, dilation, ceil_mode=ceil_mode)
    else:
        pool = nn.AvgPool1d(kernel, stride, padding, ceil_mode, count_include_pad=inside)
    check(nn.Conv1d(4, 5, 4), nn.ReLU(), nn.Dropout(0.3), pool, nn.Dropout(0.2), nn.Conv1d(5, 4, 2))


DROPOUTS = [nn.Dropout, nn.Dropout1d, nn.AlphaDropout, nn.FeatureAlphaDropout]
OPERATIONS: dict[str, nn.Module] = {
    "conv1d": nn.Conv1d(4, 4, 3, padding=1),
    "conv1d_dilated": nn.Conv1d(4, 4, 3, dilation=2),
    "max_pool1d": nn.MaxPool1d(2),
    "avg_pool1d": nn.AvgPool1d(3, 2),
    "adaptive": nn.AdaptiveAvgPool1d(10),
    "batch_norm": nn.BatchNorm1d(4),
    "prelu": nn.PReLU(4),
    "softmax": nn.Softmax(1),
    "glu": nn.GLU(1),
    **{
        type(layer).__name__: layer
        for layer in (
            nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6(), nn.GELU(), nn.Softplus(), nn.Sigmoid(),
            nn.Tanh(), nn.ELU(), nn.SELU(), nn.CELU(), nn.Hardtanh(), nn.LeakyReLU(0.1),
            nn.Threshold(0.1, 0.3), nn.SiLU(), nn.Mish(), nn.Hardswish(), nn.Hardsigmoid(),
            nn.LogSigmoid(), nn.Softsign(), nn.Tanhshrink(), nn.Softmin(1), nn.LogSoftmax(1),
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("dropout", DROPOUTS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_dropout_before_and_after(operation: str, dropout: Any) -> None:
    check(nn.Conv1d(4, 4, 5), dropout(0.3), OPERATIONS[operation], dropout(0.4))


class Function(nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


FUNCTIONS: dict[str, Any] = {
    "scale_and_shift": lambda x: 2 - (x * 3 + 1) / 4,
    "constant_of_each_channel": lambda x: x * torch.arange(1.0, 5.0).double()[:, None] + 1,
    "constant_of_each_position": lambda x: x * torch.linspace(0, 1, 36).double() - 0.5,
    "quotient": lambda x: 1 / (1 + x**2),
    "clamped": lambda x: x.clamp(-0.1, 0.2).abs().sqrt(),
    "maximum": lambda x: torch.maximum(x, torch.tensor(0.1).double()),
    "residual_twice": lambda x: x + (x + x) * 0.5,
    "in_place": lambda x: x.add_(1).mul_(2).relu_(),
    "own_product": lambda x: x * x,
    "difference": lambda x: x - F.relu(x),
    "reversed": lambda x: torch.cat([x, x.flip(2)], 1),
    "channels_reversed": lambda x: x.flip(1) + x[:, [2, 0, 1, 3]],
    "both_reversed": lambda x: x.flip([1, 2]) * 2,
    "strided": lambda x: x[:, :, 3:-2:3],
    "one_channel": lambda x: x[:, 1].unsqueeze(1) - x[:, 2:3],
    "split": lambda x: torch.cat(x.split([1, 3], 1)[::-1], 1),
    "split_positions": lambda x: x.split(12, 2)[1],
    "padded": lambda x: F.pad(x, (3, 1), value=0.7),
    "cropped": lambda x: F.pad(x, (-3, -1)),
    "heads": lambda x: x.unflatten(1, (2, 2)).transpose(1, 2).flatten(1, 2),
    "transposed": lambda x: x.transpose(1, 2).contiguous().reshape(len(x), -1, 2, 2).softmax(-1),
    "dummy_axis": lambda x: F.max_pool2d(x[:, :, None], (1, 2)).squeeze(2),
    "dummy_axis_last": lambda x: F.avg_pool2d(x[..., None], (2, 1))[..., 0],
    "channel_sum": lambda x: x - x.mean(1, keepdim=True) + x.sum(1)[:, None],
    "channel_max": lambda x: x.amax(1, keepdim=True) * x,
    "stacked": lambda x: torch.stack([x, x * x], 2).flatten(1, 2),
    "cumulative": lambda x: x.cumsum(2) / 10,
    "over_positions": lambda x: torch.softmax(x, 2),
    "space_to_depth": lambda x: x.reshape(len(x), 4, 18, 2).transpose(2, 3).flatten(1, 2),
    "centre": lambda x: x[:, :, 17],
    "einsum": lambda x: torch.einsum("ncl,ck->nkl", x, torch.ones(4, 3).double().tril()),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    function = FUNCTIONS[name]
    check(nn.Conv1d(4, 4, 5), nn.Dropout(0.3), Function(function), nn.Dropout(0.2))
    check(nn.Conv1d(4, 4, 5), nn.Tanh(), Function(function), nn.Dropout(0.2))


POOLS: dict[str, Any] = {
    "mean": lambda x: x.mean(2),
    "mean_and_keep": lambda x: x.mean(-1, keepdim=True),
    "sum": lambda x: x.sum([2]),
    "amax": lambda x: x.amax(2),
    "max": lambda x: x.max(2)[0],
    "adaptive_max": lambda x: F.adaptive_max_pool1d(x, 1),
    "adaptive_mean": lambda x: F.adaptive_avg_pool1d(x, 1),
    "largest_value_and_place": lambda x: torch.stack([y.double() for y in x.max(2)]),
    "whole_pool": lambda x: F.max_pool1d(x, x.shape[2]),
}


@pytest.mark.parametrize("name", POOLS)
def test_global_pools(name: str) -> None:
    def last(x: Tensor) -> Tensor:
        y = POOLS[name](x)
        return y.movedim(0, 1).flatten(1) if y.shape[0] == 2 and y.shape[1] == len(x) else y

    check(nn.Conv1d(4, 5, 5, padding=2), nn.ReLU(), nn.Dropout(0.3), Function(last))
