"""Use a user's PyTorch module in evaluation mode, and restore it exactly afterwards."""

from __future__ import annotations

import contextlib
import random
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from kipoi_mcdropout.arrays.nested import Nested
from kipoi_mcdropout.dropout.arithmetic import float32_products
from kipoi_mcdropout.dropout.keras_network import KerasNetwork
from kipoi_mcdropout.dropout.process_settings import WhileUsed
from kipoi_mcdropout.dropout.stored_weights import let_go

_REGISTRIES = ("_parameters", "_buffers", "_modules")
# A lazy module whose weights were loaded becomes one of another class in its first pass.
_HOOKS_OF_LAZY = ("_forward_pre_hooks", "_load_state_dict_pre_hooks")
_CONTAINERS = (dict, list, set)  # where a forward pass may keep what it has computed

_locks: weakref.WeakKeyDictionary[nn.Module, threading.RLock] = weakref.WeakKeyDictionary()
_locks_lock = threading.Lock()
random_states = threading.RLock()  # held by who moves the generators, which are the whole process's


@contextmanager
def borrowed(module: nn.Module, allow_tf32: bool = False) -> Iterator[nn.Module]:
    """Put `module` in evaluation mode without gradients; restore all of it on the way out.

    Restored, also after an exception: every submodule's own training flag, every buffer, the attributes
    that the forward pass sets, and the states of the random number generators of torch (CPU and the
    module's GPUs), numpy and Python. Threads that borrow the same module wait for each other; a thread
    may borrow a module that it holds already. Stored weights (stored_weights.py) leave memory. Products
    of float32 numbers are those of float32, or of TF32 where it is allowed.
    """
    try:
        with _lock_of(module), preserved_random_state(module), _no_compilation(), _restored(module):
            for part in module.modules():
                part.training = False
            with torch.inference_mode(), float32_products(allow_tf32):
                yield module
    finally:
        let_go(module)


@contextmanager
def user_code() -> Iterator[None]:
    """Run the user's forward pass without gradients, and without tensors that refuse them later.

    A tensor made in torch's inference mode can never take part in training. A model that keeps one (a
    table of positions, for example) could not be trained afterwards.
    """
    with torch.inference_mode(False), torch.no_grad():
        yield


def call_module(module: nn.Module) -> Callable[[Nested], Nested]:
    """Call a module as Kipoi does: a dict as keyword arguments, a list as positional ones."""

    def call(inputs: Nested) -> Nested:
        if isinstance(inputs, dict):
            return module(**inputs)
        if isinstance(inputs, (list, tuple)):
            return module(*inputs)
        return module(inputs)

    return call


@contextmanager
def preserved_random_state(module: nn.Module) -> Iterator[None]:
    """Leave the random number generators of torch, numpy and Python as they were."""
    devices = cuda_devices(module)
    with random_states:
        torch_state, numpy_state, python_state = (
            torch.get_rng_state(), np.random.get_state(), random.getstate()
        )  # fmt: skip
        cuda_states = [torch.cuda.get_rng_state(device) for device in devices]
    try:
        yield
    finally:
        with random_states:
            torch.set_rng_state(torch_state)
            np.random.set_state(numpy_state)
            random.setstate(python_state)
            for device, state in zip(devices, cuda_states, strict=True):
                torch.cuda.set_rng_state(state, device)


def cuda_devices(module: nn.Module) -> list[int]:
    """Numbers of the GPUs that hold the module's weights."""
    return sorted({p.device.index or 0 for p in module.parameters() if p.device.type == "cuda"})


@contextmanager
def _restored(module: nn.Module) -> Iterator[None]:
    """Flags, buffers and attributes of every submodule as they were, also after an exception."""
    parts = list(module.modules())
    flags = [part.training for part in parts]
    buffers = [(buffer, buffer.detach().clone()) for part in parts for buffer in _tensors(part._buffers)]
    buffers += [(state, state.detach().clone()) for state in _random_states(module)]
    attributes = [_Attributes(part) for part in parts if not isinstance(part, torch.jit.ScriptModule)]
    try:
        yield
    finally:
        for saved in attributes:
            saved.restore()
        for part, flag in zip(parts, flags, strict=True):
            part.training = flag
        with torch.no_grad():
            for buffer, value in buffers:
                if not torch.equal(buffer, value):
                    buffer.copy_(value)


class _Attributes:
    """The attributes of one module, and what its dicts, lists and sets hold."""

    def __init__(self, part: nn.Module) -> None:
        is_lazy = isinstance(part, nn.modules.lazy.LazyModuleMixin)
        self.part, self.kind, self.own = part, type(part), part.__dict__
        self.values = dict(self.own)
        self.contents = [
            (value, value.copy())
            for name, value in self.values.items()
            if type(value) in _CONTAINERS
            or name in _REGISTRIES
            or (is_lazy and name in _HOOKS_OF_LAZY)
        ]

    def restore(self) -> None:
        """Put back what was replaced, and remove what was added."""
        if type(self.part) is not self.kind:
            self.part.__class__ = self.kind
        for name in self.own.keys() - self.values.keys():
            del self.own[name]
        for name, value in self.values.items():
            if self.own.get(name, self) is not value:
                self.own[name] = value
        for container, content in self.contents:
            if not _same_items(container, content):
                container.clear()
                container.extend(content) if isinstance(container, list) else container.update(content)


def _same_items(a: Any, b: Any) -> bool:
    """Whether two containers hold the same objects in the same order."""
    if len(a) != len(b):
        return False
    if isinstance(a, dict):
        return all(x is y and a[x] is b[y] for x, y in zip(a, b, strict=True))
    return isinstance(a, set) or all(x is y for x, y in zip(a, b, strict=True))


def _tensors(buffers: dict[str, torch.Tensor | None]) -> list[torch.Tensor]:
    return [buffer for buffer in buffers.values() if buffer is not None]


def _random_states(module: nn.Module) -> list[torch.Tensor]:
    """Of a Keras model, the states of its random seeds."""
    return module.random_states() if isinstance(module, KerasNetwork) else []


def _lock_of(module: nn.Module) -> threading.RLock:
    with _locks_lock:
        return _locks.setdefault(getattr(module, "keras_model", module), threading.RLock())


def _no_compilation() -> AbstractContextManager[None]:
    """Run what torch.compile has wrapped as plain Python: compiled code hides its dropout calls."""
    if "torch._dynamo" not in sys.modules:  # nothing is compiled
        return contextlib.nullcontext()
    return _eager.holding(_set_eager())


@contextmanager
def _set_eager() -> Iterator[None]:
    with torch.compiler.set_stance("force_eager"):
        yield


_eager = WhileUsed()
