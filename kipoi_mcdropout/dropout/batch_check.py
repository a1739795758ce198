"""Check that a model treats each input of a batch by itself, and whether it takes a batch of one.

Three inputs are run in pairs: each is once the first and once the second of a pair, with a different
partner. If an output changes, it depends on the other input (batch normalization in training mode, a
mean over the batch, sorting). With such a model the effect of a mutation would depend on the other
mutations in its batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kipoi_mcdropout.arrays.nested import Nested, leaves, n_rows, take
from kipoi_mcdropout.arrays.precision import eps_of
from kipoi_mcdropout.dropout.keras_network import is_leaf
from kipoi_mcdropout.dropout.probe import Probe, Recording
from kipoi_mcdropout.errors import (
    BatchDependenceError,
    ModelError,
    ModelForwardError,
    UnlockableDropoutError,
)
from kipoi_mcdropout.outputs.matrix import flatten_outputs
from kipoi_mcdropout.outputs.used import UsedOutputs, usable_keys, used_outputs

# Largest accepted difference in units of the output's scale. Between batches of one size only rounding
# differs; for another size the kernels are others.
_ROUNDING = 1e-4
_OTHER_SIZE = 100.0  # times more
_COARSE = 16  # least tolerance in units of the dtype's precision; bfloat16: 12 %
_LARGEST = 0.3


@dataclass(frozen=True)
class Observed:
    """What the passes of `observe` saw, with dropout off."""

    two: Recording
    other: Recording  # the same for a batch of another size
    n_other: int  # 1, or 3 where the model takes no batch of one
    used: UsedOutputs
    eps: float  # see `Recording.eps`
    input_bytes: int  # see `Recording.input_bytes`

    @property
    def takes_one(self) -> bool:
        """Whether a batch of one has the same result as a larger one."""
        return self.n_other == 1


def observe(probe: Probe, rows: Nested) -> Observed:
    """Run a model on a few batches with dropout off.

    Parameters
    ----------
    probe : Probe
        In its context.
    rows : nested tensors
        Three different inputs (`probe.probe_inputs`).

    Raises
    ------
    BatchDependenceError
        If the outputs of an input depend on the others in the batch; the module is named.
    UnlockableDropoutError
        If the model is random with every dropout off.
    ModelError
        If the model returns no array that can be reported, or not the same ones for all inputs.
    ModelForwardError
        If the model fails for a batch of two, or of one and of three.
    """
    orders = ([0, 1], [1, 2], [2, 0])
    passes = [_record(probe, take(rows, order)) for order in orders]
    one, three = _try_one(probe, rows), None
    used = None if one is None else _used_by_both(passes[0], one)
    if used is None:  # some models squeeze a batch of one away, or return a table of two rows
        three = _record(probe, rows)
        used = used_outputs(passes[0].output, three.output, 3)
    outputs = [flatten_outputs(used.select(seen.output), 2) for seen in passes]
    eps = max([passes[0].eps, *(eps_of(x.dtype) for x in used.select(passes[0].output))])
    for first, second in ((0, 2), (1, 0), (2, 1)):
        if not _agree(outputs[first][0], outputs[second][1], eps=eps):
            _refuse(probe, rows, outputs[0], used)
    expected = outputs[0][0]
    if one is not None and _is_as_in_two(one, used, expected, eps) and _same_layout(passes[0], one):
        return Observed(passes[0], one, 1, used, eps, passes[0].input_bytes)
    three = three or _record(probe, rows)
    if not _agree(flatten_outputs(used.select(three.output), 3)[0], expected, _OTHER_SIZE, eps):
        raise BatchDependenceError(_WORDS.format("", "the number of inputs in it"))
    return Observed(passes[0], three, 3, used, eps, passes[0].input_bytes)


def _record(probe: Probe, inputs: Nested) -> Recording:
    """A pass; where the model's code fails, the error says how large the batch was."""
    try:
        return probe.record(inputs)
    except ModelForwardError as error:
        raise ModelForwardError(
            f"{error}, on a batch of {n_rows(inputs)} inputs; the model must accept batches of any size"
        ) from error.__cause__


def _try_one(probe: Probe, rows: Nested) -> Recording | None:
    """A pass over one input; None where the model fails."""
    try:
        return probe.record(take(rows, [0]))
    except (ModelError, ModelForwardError):  # some models squeeze a batch of one away, and fail
        return None


def _used_by_both(two: Recording, one: Recording) -> UsedOutputs | None:
    """What is used, where batches of two and of one leave no doubt: a batch of one has the same."""
    try:
        used = used_outputs(two.output, one.output, 1)
    except ModelError:
        return None
    return used if set(used.keys) == usable_keys(two.output, 2) else None


def _is_as_in_two(one: Recording, used: UsedOutputs, expected: Tensor, eps: float) -> bool:
    """Whether a batch of one gives what the same input gives beside another."""
    try:
        outputs = flatten_outputs(used.select(one.output), 1)
    except ModelError:
        return False
    return _agree(outputs[0], expected, _OTHER_SIZE, eps)


def _same_layout(two: Recording, one: Recording) -> bool:
    """Whether the dropouts of a batch of one are those of a batch of two, on half as many rows."""
    calls = list(zip(two.calls, one.calls, strict=False))
    return len(two.calls) == len(one.calls) and all(
        len(a.mask_shape) == len(b.mask_shape)
        and all(x in (y, 2 * y) for x, y in zip(a.mask_shape, b.mask_shape, strict=True))
        for (_, a), (_, b) in calls
    )


def _agree(a: Tensor, b: Tensor, times: float = 1.0, eps: float = 0.0) -> bool:
    """Whether two rows of outputs differ by no more than rounding.

    `eps` is the relative precision of the model's arithmetic, where it is less than that of the outputs.
    """
    if a.shape != b.shape:
        return False
    finite = torch.isfinite(a)
    if not torch.equal(a[~finite].nan_to_num(), b[~finite].nan_to_num()):
        return False
    a, b = a[finite], b[finite]
    if not a.numel():
        return True
    tolerance = min(max(_ROUNDING, _COARSE * max(eps, torch.finfo(a.dtype).eps)) * times, _LARGEST)
    scale = torch.maximum(a.abs().max(), b.abs().max())
    return bool((a - b).abs().max() <= tolerance * scale)


_WORDS = (
    "the outputs of an input change with {1}{0}. The effect of a mutation would depend on the other "
    "mutations in its batch. The model must treat each input of a batch by itself"
)


def _refuse(probe: Probe, rows: Nested, before: Tensor, used: UsedOutputs) -> None:
    pair = take(rows, [0, 1])
    again = flatten_outputs(used.select(_record(probe, pair).output), 2)
    if not _agree(again[0], before[0]) or not _agree(again[1], before[1]):
        raise UnlockableDropoutError(
            "two passes over the same input differ although every dropout is off: the model has "
            f"randomness that is not dropout{_culprit(probe, pair, [(pair, 0)])}. Remove it, or replace "
            "it by nn.Dropout"
        )
    others = [(take(rows, [0, 2]), 0), (take(rows, [1, 0]), 1)]
    raise BatchDependenceError(
        _WORDS.format(_culprit(probe, pair, others), "the other inputs in the batch")
    )


def _culprit(probe: Probe, pair: Nested, others: list[tuple[Nested, int]]) -> str:
    """The module where the values of the first input first differ from another pass, in words.

    `others` are passes over two inputs, each with the place of that input.
    """
    first = _Steps.of(probe, pair)
    seen = [(_Steps.of(probe, inputs), place) for inputs, place in others]
    for i, step in enumerate(first.steps):
        for other, place in seen:
            if i >= len(other.steps) or other.steps[i][:2] != step[:2]:
                return ""
            a, b = step[2][0], other.steps[i][2][place]
            if a is not None and b is not None and not _agree(a, b):
                return _named(probe, *step[:2], first.parent_of(i))
    return ""


def _named(probe: Probe, event: str, label: str, parent: str) -> str:
    where = label if event == "output" else parent
    part = probe.parts.get(where)
    kind = type(part).__name__
    if isinstance(part, nn.modules.batchnorm._NormBase):
        return (
            f", by module {where!r} ({kind}), which takes its statistics from the batch: give it "
            "running statistics (track_running_stats=True) and evaluation mode"
        )
    if event == "output" and (part is None or is_leaf(part)):
        return f", by module {where!r} ({kind})"
    before = f", before its part {label!r}" if event == "input" else ""
    return f", in the code of module {where!r} ({kind}){before}"


class _Steps:
    """Inputs and outputs of all modules in the order of a pass over two inputs, summed up by row."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, str, list[Tensor | None]]] = []
        self._running: list[str] = []
        self._parents: list[str] = []

    @classmethod
    def of(cls, probe: Probe, inputs: Nested) -> _Steps:
        """Watch one pass."""
        steps, handles = cls(), []
        for label, part in probe.parts.items():
            if isinstance(part, torch.jit.ScriptModule):
                continue
            handles += steps._hooks(label, part)
        try:
            probe.record(inputs)
        finally:
            for handle in handles:
                handle.remove()
        return steps

    def parent_of(self, i: int) -> str:
        """The module whose code ran before step i."""
        return self._parents[i]

    def _hooks(self, label: str, part: nn.Module) -> list[Any]:
        def enter(_: nn.Module, args: Any, kwargs: Any) -> None:
            self._add("input", label, [*args, kwargs])
            self._running.append(label)

        def leave(_: nn.Module, __: Any, output: Any) -> None:
            self._running.pop()
            self._add("output", label, output)

        return [
            part.register_forward_pre_hook(enter, with_kwargs=True),
            part.register_forward_hook(leave),
        ]

    def _add(self, event: str, label: str, values: Any) -> None:
        self._parents.append(self._running[-1] if self._running else label)
        self.steps.append((event, label, _sums(values)))


def _sums(values: Any) -> list[Tensor | None]:
    """A few weighted sums of what belongs to each of two inputs; None where it cannot be told.

    Of several tensors the first is taken: those behind may be states of an RNN, which has the batch
    second there.
    """
    tensors = [x for _, x in leaves(values) if isinstance(x, Tensor) and x.dim() > 1]
    if not tensors or tensors[0].shape[0] != 2:
        return [None, None]
    flat = tensors[0].flatten(1).double()
    weights = torch.arange(1, flat.shape[1] + 1, dtype=torch.float64, device=flat.device)
    columns = torch.stack([flat @ torch.cos(weights * k) for k in (0.0, 1.0, 2.5)], dim=1)
    return [columns[0], columns[1]]
