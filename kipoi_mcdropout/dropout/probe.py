"""Probing passes: run a model on a few inputs and record its dropout calls, dropping nothing.

Only shape and options of a dropout call are kept, so that the tensors of a large model can be freed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from kipoi_mcdropout.arrays.nested import Nested, leaves, map_nested, n_rows
from kipoi_mcdropout.arrays.precision import module_eps
from kipoi_mcdropout.dropout.call import DropoutCall
from kipoi_mcdropout.dropout.calls import DropoutInterceptor
from kipoi_mcdropout.dropout.keras_network import is_leaf
from kipoi_mcdropout.dropout.row_codes import Labels
from kipoi_mcdropout.dropout.row_labels import RowTracker, ShapeRecorder

Call = Callable[[Nested], Nested]  # tensors in, tensors out; batch first


@dataclass(frozen=True)
class SeenCall:
    """A dropout call without its tensor; see `call.DropoutCall`."""

    kind: str
    p: float
    shape: tuple[int, ...]  # of the tensor
    mask_shape: tuple[int, ...]
    by_channel: bool
    alpha: bool
    rows_per_input: int | None
    labels: Labels | None = None  # which rows belong to which input, where a tracker followed them
    n_bytes: int = 0  # of what it takes and returns

    @classmethod
    def of(cls, call: DropoutCall, labels: Labels | None) -> SeenCall:
        """Note down a call."""
        shapes = tuple(call.x.shape), call.mask_shape()
        return cls(
            call.kind, call.p, *shapes, call.by_channel, call.alpha, call.rows_per_input, labels,
            2 * call.x.nbytes,
        )  # fmt: skip


@dataclass
class Recording:
    """What one pass did. Each call is named by the module that made it."""

    calls: list[tuple[str, SeenCall]] = field(default_factory=list)
    before_first: list[str] = field(default_factory=list)  # leaf modules done before any dropout
    output: Nested = None
    eps: float = 0.0  # of the coarsest floating-point type that a module used (precision.py)
    input_bytes: int = 0  # for one input: of what the largest module or dropout takes and returns


class Probe:
    """Runs `call` with hooks on `module` that tell which submodule is running; use as a context."""

    def __init__(self, module: nn.Module, call: Call) -> None:
        self.module = module
        self.call = call
        self.parts = {name or type(module).__name__: part for name, part in module.named_modules()}
        self._running: list[str] = []
        self._finished: list[str] = []
        self._eps = 0.0
        self._bytes = 0
        self._handles: list[torch.utils.hooks.RemovableHandle] = []

    def __enter__(self) -> Probe:
        for label, part in self.parts.items():
            if isinstance(part, torch.jit.ScriptModule):  # takes no hooks
                continue

            def enter(_: nn.Module, __: object, label: str = label) -> None:
                self._running.append(label)

            def leave(part: nn.Module, args: object, output: object, label: str = label) -> None:
                self._running.pop()
                self._bytes = max(self._bytes, _n_bytes(args) + _n_bytes(output))
                self._eps = max(self._eps, module_eps(part, output))
                if is_leaf(part):
                    self._finished.append(label)

            self._handles.append(part.register_forward_pre_hook(enter))
            self._handles.append(part.register_forward_hook(leave, always_call=True))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def record(self, inputs: Nested, tracker: ShapeRecorder | RowTracker | None = None) -> Recording:
        """Run the model once; the inputs are copied first, for models that write into them.

        Parameters
        ----------
        inputs : nested tensors, batch first
        tracker : ShapeRecorder or RowTracker, optional
            Watches the pass. A RowTracker tells which rows of the tensors belong to which input.
        """
        self._running.clear()
        self._finished.clear()
        self._eps, self._bytes = 0.0, 0
        recording = Recording()
        own = map_nested(torch.clone, inputs)
        recorder = _Recorder(recording, self._running, self._finished, tracker)
        if tracker is not None:
            tracker.start(own)
        with tracker or nullcontext(), recorder:
            recording.output = self.call(own)
        recording.eps = self._eps
        largest = max([self._bytes, *(call.n_bytes for _, call in recording.calls)])
        recording.input_bytes = -(-largest // n_rows(inputs))
        return recording


class _Recorder(DropoutInterceptor):
    def __init__(
        self,
        recording: Recording,
        running: list[str],
        finished: list[str],
        tracker: ShapeRecorder | RowTracker | None,
    ) -> None:
        super().__init__()
        self.recording = recording
        self.running = running
        self.finished = finished
        self.tracker = tracker

    def drop(self, call: DropoutCall) -> Tensor:
        if not self.recording.calls:
            self.recording.before_first = list(dict.fromkeys(self.finished))
        labels = None if self.tracker is None else self.tracker.labels(call.x)
        self.recording.calls.append((self._where(), SeenCall.of(call, labels)))
        return call.x

    def _where(self) -> str:
        return self.running[-1] if self.running else "forward"


def _n_bytes(values: object) -> int:
    tensors = (x for _, x in leaves(values) if isinstance(x, Tensor))
    return sum(x.nbytes for x in tensors if x.layout == torch.strided and not x.is_nested)


def probe_inputs(inputs: Nested) -> Nested:
    """Three different inputs: the first row of `inputs`, and twice the same with its elements shuffled.

    Where all elements are equal, shuffling would change nothing: they are halved instead.
    """
    order = np.random.Generator(np.random.Philox(0))

    def other(first: Tensor) -> Tensor:
        flat = first.reshape(-1)
        if flat.is_floating_point() and bool((flat == flat[:1]).all()):
            return first / 2
        shuffled = torch.as_tensor(order.permutation(first.numel()), device=first.device)
        return flat[shuffled].reshape(first.shape)

    def three(x: Tensor) -> Tensor:
        second = other(x[:1])
        return torch.cat([x[:1], second, other(second)])

    return map_nested(three, inputs)


@contextmanager
def training_flag(modules: tuple[nn.Module, ...]) -> Iterator[None]:
    """Set the training flag of these modules alone, not of their children."""
    flags = [module.training for module in modules]
    try:
        for module in modules:
            module.training = True
        yield
    finally:
        for module, flag in zip(modules, flags, strict=True):
            module.training = flag


def same_output(a: Nested, b: Nested) -> bool:
    """Whether the tensors in two outputs agree to float32 rounding; a dict may have another order."""
    first, second = (sorted(leaves(x), key=lambda item: item[0]) for x in (a, b))
    return [path for path, _ in first] == [path for path, _ in second] and all(
        _same_leaf(x, y) for (_, x), (_, y) in zip(first, second, strict=True)
    )


def _same_leaf(x: object, y: object) -> bool:
    if not (isinstance(x, Tensor) and isinstance(y, Tensor)):
        return type(x) is type(y)
    if x.layout != torch.strided or x.is_nested:
        return x.layout == y.layout
    return x.shape == y.shape and torch.allclose(x, y, rtol=1e-5, atol=1e-6, equal_nan=True)
