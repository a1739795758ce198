"""Where the rules of windows end: each refusal has its reason, and the result is right all the same.

A rule that takes a step that is not its own gives wrong numbers without a word. So each step is one
that looks like another that is local, and the oracle says what the result must be.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from test_every_rule import Function, c, steps
from torch import Tensor

from kipoi_mcdropout.engine.incremental.rules.slicing import LaneSlice


def strands(join: Callable[[Tensor, int], Tensor]) -> Function:
    """A batch that is doubled, convolved, and taken apart again by `join(both, n)`."""

    def function(x: Tensor) -> Tensor:
        both = torch.cat([x, x.flip(1)], 0)
        return join(F.conv1d(both, c(4, 4, 3)), len(x))

    return function


# Each is taken apart in another way; all differ between the strands.
APART: dict[str, Function] = {
    "slices": strands(lambda both, n: both[:n] - both[n:].tanh()),
    "chunk": strands(lambda both, _: both.chunk(2)[0] - both.chunk(2)[1].tanh()),
    "split": strands(lambda both, n: both.split(n)[0].tanh() + both.split(n)[1]),
}


@pytest.mark.parametrize("name", APART)
def test_strands_are_taken_apart_as_windows(name: str) -> None:
    found = steps(APART[name])
    taken = [step for step in found if isinstance(step.rule, LaneSlice)]
    assert {tuple(step.rule.lanes) for step in taken} == {(0,), (1,)}
    whole = [step for step in found if step.node.shape is not None]
    assert {step.kind for step in whole} <= {"windows", "constant"}


TURNED = torch.arange(35, -1, -1)
# Function on (n, 4, 36), and what is local in it.
LOCAL: dict[str, tuple[Function, str]] = {
    "slice from behind": (lambda x: x[:, :, -20:], "slice"),
    "slice in steps": (lambda x: x[:, :, 1::2], "slice"),
    "slice of channels": (lambda x: torch.cat([x[:, 1::2], x[:, ::2]], 1), "slice"),
    "axis of size 1": (lambda x: x[:, :, None].select(2, 0), "select"),
    "sizes of parts": (lambda x: torch.cat(x.split([3, 1], 1)[::-1], 1), "getitem"),
    "parts of the positions": (lambda x: x.split(12, 2)[1], "getitem"),
    "sequence turned by an index": (lambda x: x[:, :, TURNED], "index"),
    "no padding": (lambda x: F.pad(x, (0, 0)) * 2, "pad"),
    "padding cut off": (lambda x: F.pad(x, (-2, 3)), "pad"),
    "own divisor": (
        lambda x: F.avg_pool2d(x[:, :, None], (1, 3), (1, 2), divisor_override=2)[:, :, 0],
        "avg_pool2d",
    ),
    "one value of a pooling": (lambda x: F.max_pool1d(x, 1, 2), "max_pool1d"),
    "same length": (lambda x: F.conv1d(x, c(4, 4, 3), padding="same", dilation=2), "conv1d"),
    "alpha": (lambda x: torch.sub(c(4, 1), x, alpha=3), "sub"),
    "divisor first": (lambda x: torch.div(c(4, 1), x * x + 1), "div"),
}


@pytest.mark.parametrize("name", LOCAL)
def test_less_usual_steps_are_local_too(name: str) -> None:
    function, operation = LOCAL[name]
    mine = [step for step in steps(function) if step.node.name == operation]
    assert mine
    assert {step.kind for step in mine} <= {"windows", "constant"}, {step.reason for step in mine}


# Function on (n, 4, 36), the step that is refused, and why.
REFUSED: dict[str, tuple[Function, str, str]] = {
    "one position": (lambda x: x * x.select(2, 3).unsqueeze(2), "select", "takes one position"),
    "axis taken apart": (lambda x: torch.stack(x.unbind(1), 1), "getitem", "takes an axis apart"),
    "maximum with its place": (
        lambda x: x - x.max(1, keepdim=True)[0], "getitem", "one of several results",
    ),
    "parts of two axes": (
        lambda x: x.flatten(1, 2).chunk(2, 1)[0].unflatten(1, (2, 36)).repeat(1, 2, 1),
        "getitem", "splits the batch or the positions",
    ),
    "several axes": (
        lambda x: x[:, torch.tensor([[0], [1], [2], [3]]), torch.arange(20)],
        "index", "indexes several axes",
    ),
    "rows of an index": (
        lambda x: x[:, torch.tensor([[0, 1], [2, 3]])].flatten(1, 2),
        "index", "the index is not a constant list of numbers",
    ),
    "positions in another order": (
        lambda x: x.index_select(2, torch.arange(36).roll(1)), "index_select", "reorders the positions",
    ),
    "padded channels": (
        lambda x: F.pad(x[:, :2], (0, 0, 1, 1)), "pad", "pads another axis than the positions",
    ),
    "along the positions": (lambda x: F.linear(x, c(36, 36)), "linear", "works along the positions"),
    "product with itself": (
        lambda x: x @ (x.transpose(1, 2) @ x), "matmul", "takes several local tensors",
    ),
    "constant beside": (
        lambda x: torch.cat([x[:, :3], c(1, 1, 36).expand(len(x), 1, 36)], 1),
        "cat", "concatenates with something that is not local",
    ),
    "one after the other": (
        lambda x: torch.cat([x, x], 2),
        "cat", "concatenates along the positions or one of several channel axes",
    ),
    "stacked with a constant": (
        lambda x: torch.stack([x[:, 0], c(1, 36).expand(len(x), 36)], 1).repeat(1, 2, 1),
        "stack", "stacks something that is not local",
    ),
    "pooled channels": (
        lambda x: F.max_pool1d(x.transpose(1, 2), 3, 1, 1).transpose(1, 2),
        "max_pool1d", "pools along another axis than the positions",
    ),
    "pooled along two axes": (
        lambda x: F.max_pool2d(x[:, None], (2, 3), 1).squeeze(1).repeat(1, 2, 1)[:, :4],
        "max_pool2d", "pools along two axes",
    ),
    "transposed": (
        lambda x: torch.convolution(x, c(4, 4, 3), None, [1], [0], [1], True, [0], 1),
        "convolution", "no rule for this kind of convolution",
    ),
    "convolved along the channels": (
        lambda x: F.conv1d(x.transpose(1, 2), c(36, 36, 1)).transpose(1, 2),
        "conv1d", "batch, channels and positions are not axes of their own",
    ),
    "rounded": (
        lambda x: torch.div(x * 9, 2, rounding_mode="floor"), "div", "rounds",
    ),
    "more axes": (
        lambda x: (x * c(2, 1, 1, 36)).sum(0), "mul", "is broadcast to more axes",
    ),
    "another dtype": (
        lambda x: x.softmax(1, dtype=torch.float32).double(), "softmax", "changes the dtype",
    ),
    "sum of another dtype": (
        lambda x: x - x.sum([1], keepdim=True, dtype=torch.float32), "sum", "changes the dtype",
    ),
    "all axes": (lambda x: x - x.mean([1, 2], keepdim=True), "mean", "reduces several axes"),
    "statistics of the input": (
        lambda x: F.layer_norm(x, [36]), "layer_norm", "normalises over positions",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_named_and_right(name: str) -> None:
    function, operation, reason = REFUSED[name]
    mine = [step for step in steps(function) if step.node.name == operation]
    # After a semicolon stands why the windows do not end there by a sum either.
    assert ("dense", reason) in {(step.kind, step.reason.split("; ")[0]) for step in mine}
