"""Probing passes: run a model on two or three inputs and record its dropout calls, dropping nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from kipoi_mcdropout.dropout_call import DropoutCall
from kipoi_mcdropout.dropout_calls import DropoutInterceptor
from kipoi_mcdropout.nested import Nested, leaves, map_nested

Call = Callable[[Nested], Nested]  # tensors in, tensors out; batch first


@dataclass
class Recording:
    """What one pass did. Each call is named by the module that made it."""

    calls: list[tuple[str, DropoutCall]] = field(default_factory=list)
    before_first: list[str] = field(default_factory=list)  # leaf modules done before any dropout
    output: Nested = None


class Probe:
    """Runs `call` with hooks on `module` that tell which submodule is running; use as a context."""

    def __init__(self, module: nn.Module, call: Call) -> None:
        self.module = module
        self.call = call
        self.parts = {name or type(module).__name__: part for name, part in module.named_modules()}
        self._running: list[str] = []
        self._finished: list[str] = []
        self._handles: list[torch.utils.hooks.RemovableHandle] = []

    def __enter__(self) -> Probe:
        for label, part in self.parts.items():
            if isinstance(part, torch.jit.ScriptModule):  # takes no hooks
                continue

            def enter(_: nn.Module, __: object, label: str = label) -> None:
                self._running.append(label)

            def leave(part: nn.Module, _: object, __: object, label: str = label) -> None:
                self._running.pop()
                if next(part.children(), None) is None:
                    self._finished.append(label)

            self._handles.append(part.register_forward_pre_hook(enter))
            self._handles.append(part.register_forward_hook(leave, always_call=True))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def record(self, inputs: Nested) -> Recording:
        """Run the model once; the inputs are copied first, for models that write into them."""
        self._running.clear()
        self._finished.clear()
        recording = Recording()
        with _Recorder(recording, self._running, self._finished):
            recording.output = self.call(map_nested(torch.clone, inputs))
        return recording


class _Recorder(DropoutInterceptor):
    def __init__(self, recording: Recording, running: list[str], finished: list[str]) -> None:
        super().__init__()
        self.recording = recording
        self.running = running
        self.finished = finished

    def drop(self, call: DropoutCall) -> Tensor:
        if not self.recording.calls:
            self.recording.before_first = list(dict.fromkeys(self.finished))
        self.recording.calls.append((self._where(), call))
        return call.x

    def _where(self) -> str:
        return self.running[-1] if self.running else "forward"


def probe_pair(inputs: Nested) -> Nested:
    """Two different inputs: the first row of `inputs`, and the same with its elements shuffled."""
    order = np.random.Generator(np.random.Philox(0))

    def pair(x: Tensor) -> Tensor:
        first = x[:1]
        shuffled = torch.as_tensor(order.permutation(first.numel()), device=x.device)
        return torch.cat([first, first.reshape(-1)[shuffled].reshape(first.shape)])

    return map_nested(pair, inputs)


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
    """Whether two outputs agree to float32 rounding."""
    return all(
        x.shape == y.shape and torch.allclose(x, y, rtol=1e-5, atol=1e-6, equal_nan=True)
        for (_, x), (_, y) in zip(leaves(a), leaves(b), strict=True)
    )
