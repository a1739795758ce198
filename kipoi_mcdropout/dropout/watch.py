"""Watches a forward pass for random numbers that are not replaced by locked dropout.

torch function modes see what the user's Python code calls in one thread. What they can't see (numpy,
Python's random, scripted functions, custom operators, other threads) moves the state of a random number
generator. The states are compared whenever a submodule begins or ends, so that the module is known.
Generators of the model's own can't be seen: two passes then differ (`RandomnessWatch.same_outputs`).
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from kipoi_mcdropout.arrays.nested import Nested, leaves, map_nested
from kipoi_mcdropout.dropout.borrow import cuda_devices, preserved_random_state, random_states
from kipoi_mcdropout.dropout.call import DropoutCall
from kipoi_mcdropout.dropout.calls import DropoutInterceptor
from kipoi_mcdropout.dropout.named_parts import named_parts
from kipoi_mcdropout.dropout.probe import Call, training_flag

_OWN_NAMESPACES = ("aten", "prims", "prim")
_GENERATORS = {
    "numpy": "numpy's random numbers",
    "python": "Python's random numbers",
    "torch": "random numbers of torch",
}
_WIDE = torch.float64
_ROUNDING = 1e-4  # relative, of the sums that stand for a module's output


@dataclass
class Observation:
    """What one forward pass did."""

    sites: Counter[str] = field(default_factory=Counter)  # dropout calls by module
    noise: dict[str, str] = field(default_factory=dict)  # module: random numbers that can't be locked
    no_mean: dict[str, str] = field(default_factory=dict)  # module: random numbers without a mean
    moved: dict[str, str] = field(default_factory=dict)  # module: whose generator's state changed
    sums: list[tuple[str, tuple[float, ...]]] = field(default_factory=list)  # of `summed`, in order
    in_threads: set[str] = field(default_factory=set)  # modules that ran in another thread
    output: Nested = None


class RandomnessWatch:
    """Runs a model and observes its randomness; use as a context.

    Parameters
    ----------
    module : nn.Module
        The model, borrowed.
    call : callable
        Runs it on nested tensors.
    summed : callable
        Whether the outputs of a module are summed up: of a large model this costs as much as its pass.
    """

    def __init__(
        self, module: nn.Module, call: Call, summed: Callable[[nn.Module], bool] = lambda _: False
    ) -> None:
        self.module, self.call = module, call
        self._summed = summed
        self.parts, self._devices = named_parts(module), cuda_devices(module)
        self._seen = Observation()
        self._stacks: dict[int, list[str]] = {}
        self._thread = 0
        self._states: dict[str, Any] = {}
        self._handles: list[Any] = []
        self._lock = threading.RLock()  # hooks may run in the model's own threads

    def __enter__(self) -> RandomnessWatch:
        random_states.acquire()
        for label, part in self.parts.items():
            if not isinstance(part, torch.jit.ScriptModule):  # takes no hooks
                self._follow(label, part)
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        random_states.release()

    def observe(
        self,
        inputs: Nested,
        training: tuple[nn.Module, ...] = (),
        mask: float | None = None,
        shift: int = 0,
    ) -> Observation:
        """Run the model once with nothing dropped. Random states and buffers are as before afterwards.

        Parameters
        ----------
        inputs : nested tensors, batch first
        training : modules
            Their training flags are on.
        mask : float, optional
            In place of each number of a random mask; by default its mean.
        shift : int
            Random numbers to be skipped first. Passes with different shifts see different numbers.
        """
        seen = self._once(inputs, training, mask, shift)
        if _GENERATORS["torch"] in seen.moved.values():
            namer = _Namer(self)
            with suppress(Exception), namer:  # a model that does not run so gets no name
                self._once(inputs, training, mask, shift)
            for label, operator in namer.found.items():
                if seen.moved.get(label) == _GENERATORS["torch"]:
                    seen.moved[label] += f" by {operator}"
        return seen

    def where(self) -> str:
        """The module that is running in this thread."""
        stack = self._stacks.get(threading.get_ident())
        return stack[-1] if stack else type(self.module).__name__

    def first_difference(self, inputs: Nested, training: tuple[nn.Module, ...] = ()) -> str:
        """The first module whose output differs between two passes, the innermost.

        The passes are run here. See `observe` for the arguments.
        """
        usual, self._summed = self._summed, lambda _: True
        try:
            first, second = self.observe(inputs, training), self.observe(inputs, training, shift=1)
        finally:
            self._summed = usual
        for (label, x), (_, y) in zip(first.sums, second.sums, strict=False):
            if len(x) != len(y) or not np.allclose(x, y, _ROUNDING, 1e-12, equal_nan=True):
                return label
        return type(self.module).__name__

    def _once(
        self, inputs: Nested, training: tuple[nn.Module, ...], mask: float | None, shift: int
    ) -> Observation:
        self._seen, self._stacks, self._thread = Observation(), {}, threading.get_ident()
        with preserved_random_state(self.module), _kept_buffers(self.module), training_flag(training):
            for _ in range(shift):
                torch.rand(1), np.random.random(), random.random()
            self._states = self._read_states()
            with _Observer(self, self._seen, mask):
                self._seen.output = self.call(map_nested(torch.clone, inputs))
            self._compare_states(self.where())
        return self._seen

    def _follow(self, label: str, part: nn.Module) -> None:
        def enter(*_: object) -> None:
            with self._lock:
                self._compare_states(self.where())
                self._stacks.setdefault(threading.get_ident(), []).append(label)
                if threading.get_ident() != self._thread:
                    self._seen.in_threads.add(label)

        def leave(_: nn.Module, __: object, output: object) -> None:
            with self._lock:
                self._compare_states(label)
                self._stacks[threading.get_ident()].pop()
                if self._summed(part):
                    self._seen.sums.append((label, _sums(output)))

        self._handles.append(part.register_forward_pre_hook(enter))
        self._handles.append(part.register_forward_hook(leave, always_call=True))

    def _compare_states(self, label: str) -> None:
        states = self._read_states()
        for generator, state in states.items():
            if state != self._states[generator]:
                self._seen.moved.setdefault(label, _GENERATORS[generator])
        self._states = states

    def _read_states(self) -> dict[str, Any]:
        numpy_state: Any = np.random.get_state()
        cuda = [bytes(torch.cuda.get_rng_state(i).numpy()) for i in self._devices]
        return {
            "torch": [bytes(torch.get_rng_state().numpy()), *cuda],
            "numpy": (numpy_state[1].tobytes(), *numpy_state[2:]),
            "python": random.getstate(),
        }


class _Observer(DropoutInterceptor):
    """Drops nothing and takes note."""

    def __init__(self, watch: RandomnessWatch, seen: Observation, mask: float | None) -> None:
        super().__init__()
        self.watch, self.seen, self.value = watch, seen, mask

    def drop(self, call: DropoutCall) -> Tensor:
        self.seen.sites[self.watch.where()] += 1
        if call.is_mask and self.value is not None:
            return torch.full_like(call.x, self.value)
        return call.x

    def random_call(self, what: str) -> None:
        self.seen.noise.setdefault(self.watch.where(), what)

    def no_mean(self, what: str) -> None:
        self.seen.no_mean.setdefault(self.watch.where(), what)


class _Namer(TorchDispatchMode):
    """Finds the operators that consume random numbers, by module."""

    def __init__(self, watch: RandomnessWatch) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.watch = watch
        self.found: dict[str, str] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        before = torch.get_rng_state().numpy().tobytes()
        result = func(*args, **(kwargs or {}))
        if torch.get_rng_state().numpy().tobytes() != before:
            custom = "" if func.namespace in _OWN_NAMESPACES else "the custom operator "
            self.found.setdefault(self.watch.where(), custom + func._schema.name)
        return result


@contextmanager
def _kept_buffers(module: nn.Module) -> Iterator[None]:
    """A pass in training mode may move statistics that are kept in buffers."""
    buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]
    try:
        yield
    finally:
        for buffer, saved in buffers:
            buffer.copy_(saved)


def _sums(output: object) -> tuple[float, ...]:
    """Two numbers for each tensor of a module's output, to tell outputs apart without keeping them."""
    tensors = [x for _, x in leaves(output) if isinstance(x, Tensor) and x.is_floating_point()]
    with torch._C.DisableTorchFunction():  # these are no calls of the model
        return tuple(
            value
            for x in tensors
            if x.layout == torch.strided and not x.is_nested
            for value in (x.sum(dtype=_WIDE).item(), torch.linalg.vector_norm(x, dtype=_WIDE).item())
        )
