"""A checksum of Python values: the same in every process for equal values."""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import inspect
import sys
import types
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kipoi_mcdropout.dropout.keras_network import KerasNetwork, is_keras, keras_settings

_PLAIN = (type(None), bool, int, float, complex, str, bytes, range, slice, np.generic, torch.dtype)
_FUNCTIONS = (types.FunctionType, types.MethodType, functools.partial)
# What every module has and what says nothing of its results; hooks are looked at by name.
_BOOKKEEPING = frozenset(vars(nn.Module())) | {"_initializing", "_c", "_concrete_type"}
# What Lightning keeps in its modules and what training or another device changes.
_LIGHTNING = frozenset(
    {
        "_trainer", "_fabric", "_fabric_optimizers", "_example_input_array", "_automatic_optimization",
        "_param_requires_grad_state", "_metric_attributes", "_compiler_ctx", "_current_fx_name",
        "_dtype", "_device", "_device_mesh", "_strict_loading", "_jit_is_scripting",
        "_log_hyperparams", "_hparams_name", "_hparams_initial", "prepare_data_per_node",
        "allow_zero_length_dataloader_with_multiple_devices",
    }
)  # fmt: skip
_OF_LIGHTNING = ("lightning", "pytorch_lightning", "lightning_fabric")
LIBRARIES = ("torch", "keras", "kipoi", "kipoi_mcdropout", "numpy", "builtins", *_OF_LIGHTNING)
_HOOKS = ("_forward_pre_hooks", "_forward_hooks")


class ValueDigest:
    """SHA-256 over values, each with its type.

    It covers plain values, tensors, arrays, collections, functions, modules, and objects with
    attributes. Of other objects only the type counts. Memory addresses and devices never count.

    Parameters
    ----------
    seen : dict, optional
        Checksums of the objects that were met before, by id, each with its object. It is shared between
        the digests of one value, so that an object that holds itself has a checksum too.
    """

    def __init__(self, seen: dict[int, tuple[str, Any]] | None = None) -> None:
        self._hash = hashlib.sha256()
        self._seen = {} if seen is None else seen  # with the objects, so that no id is used again

    def hexdigest(self) -> str:
        """The checksum, 64 hexadecimal digits."""
        return self._hash.hexdigest()

    def add(self, value: Any) -> ValueDigest:
        """Add a value; returns the digest itself."""
        if isinstance(value, enum.Enum):
            self._text("enum", type(value).__qualname__, value.name)
        elif isinstance(value, (*_PLAIN, PurePath)):
            self._text(type(value).__name__, repr(value))
        else:
            if id(value) not in self._seen:
                self._seen[id(value)] = ("cycle", value)
                inner = ValueDigest(self._seen)
                inner._add_object(value)
                self._seen[id(value)] = (inner.hexdigest(), value)
            self._text(self._seen[id(value)][0])
        return self

    def _add_object(self, value: Any) -> None:
        if isinstance(value, Tensor):
            self._add_tensor(value)
        elif isinstance(value, np.ndarray):
            self._add_array(value)
        elif isinstance(value, Mapping):
            self._add_all("mapping", [x for item in value.items() for x in item])
        elif isinstance(value, (list, tuple)):
            self._add_all("sequence", value)
        elif isinstance(value, Set):
            self._text("set", *sorted(ValueDigest().add(x).hexdigest() for x in value))
        elif isinstance(value, _FUNCTIONS):
            self._add_function(value)
        elif isinstance(value, type):
            self._text("class", value.__module__, value.__qualname__)
        elif isinstance(value, torch.ScriptObject):
            self._add_script_object(value)
        else:
            self._text("object", type(value).__module__, type(value).__qualname__)
            self._add_all("attributes", [x for item in attributes_of(value) for x in item])

    def _add_all(self, what: str, values: Iterable[Any]) -> None:
        """Add several values between two words, so that [1, [2]] and [[1], 2] differ."""
        self._text(what)
        for value in values:
            self.add(value)
        self._text("end")

    def _add_array(self, array: np.ndarray) -> None:
        """Add an array of any shape and dtype: both count, the layout in memory does not."""
        if array.dtype.hasobject:
            self._add_all(f"objects {array.shape}", array.ravel().tolist())
        else:
            self._text("array", array.dtype.str, repr(array.shape))
            self._bytes(np.ascontiguousarray(array).reshape(-1).view(np.uint8))

    def _add_tensor(self, tensor: Tensor) -> None:
        """Add a tensor of any shape, dtype and layout (dense, sparse, quantized)."""
        tensor = tensor.detach()
        self._text("tensor", str(tensor.dtype), repr(tuple(tensor.shape)))
        if hasattr(tensor, "__tensor_flatten__"):  # packed weights of libraries such as torchao
            names, context = tensor.__tensor_flatten__()
            self.add(context)
            self._add_all("parts", [getattr(tensor, name) for name in names])
        elif tensor.is_quantized:
            self._add_all("quantized", [*_quantizer(tensor), tensor.int_repr()])
        elif tensor.numel():
            dense = tensor.to_dense() if tensor.layout != torch.strided else tensor
            plain = dense.cpu().resolve_conj().resolve_neg().contiguous()
            self._bytes(plain.reshape(-1).view(torch.uint8).numpy())

    def _add_function(self, function: Any) -> None:
        """Add a function's name and what it holds; its code is in `identity.code_checksum`."""
        if isinstance(function, functools.partial):
            self._add_all("partial", [function.func, function.args, function.keywords])
        elif isinstance(function, types.MethodType):
            self._add_all("method", [function.__func__, function.__self__])
        else:
            self._text("function", function.__module__ or "", function.__qualname__)
            if is_library(function):
                return
            defaults = (function.__defaults__, function.__kwdefaults__)
            self._add_all("held", [*defaults, *_closure(function)])

    def _add_script_object(self, value: Any) -> None:
        """Add the saved state of an object of TorchScript, such as packed weights."""
        state = value.__getstate__() if hasattr(value, "__getstate__") else None
        self._add_all("script object", [state])

    def _bytes(self, array: np.ndarray) -> None:
        self._hash.update(array.data)

    def _text(self, *words: str) -> None:
        """Add texts, each with its length in bytes, so that ("ab", "c") and ("a", "bc") differ."""
        for word in words:
            data = word.encode("utf-8", "surrogatepass")
            self._hash.update(len(data).to_bytes(8, "little") + data)


def attributes_of(value: Any) -> Iterator[tuple[str, Any]]:
    """Name and value of the attributes of an object; none for objects of torch or of Python itself."""
    if isinstance(value, nn.Module):
        yield from module_attributes(value)
        yield from value.named_children()
        yield from value.named_parameters(recurse=False)
        yield from value.named_buffers(recurse=False)
    elif dataclasses.is_dataclass(value) or isinstance(value, types.SimpleNamespace):
        names = [f.name for f in dataclasses.fields(value)] if dataclasses.is_dataclass(value) else []
        slots = {name: getattr(value, name, None) for name in names}
        yield from {**slots, **getattr(value, "__dict__", {})}.items()
    elif not is_library(type(value)):
        yield from getattr(value, "__dict__", {}).items()


def module_attributes(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Name and value of what a module holds beside its parameters, buffers and parts; and its hooks.

    Of a layer of Keras, `keras_settings` in place of the attributes.
    """
    packages = {kind.__module__.partition(".")[0] for kind in type(module).__mro__}
    is_lightning = not packages.isdisjoint(_OF_LIGHTNING)
    bookkeeping = _BOOKKEEPING | _LIGHTNING if is_lightning else _BOOKKEEPING
    of_keras = is_keras(module) or isinstance(module, KerasNetwork)
    for name, value in keras_settings(module) if of_keras else vars(module).items():
        if name not in bookkeeping and not (
            isinstance(module, torch.jit.ScriptModule) and callable(value)
        ):
            yield name, value
    for name in _HOOKS:
        yield from ((name, hook) for hook in getattr(module, name, {}).values())


def is_library(item: Any) -> bool:
    """Whether a class or function belongs to Python or to a package whose version is recorded."""
    top = str(getattr(item, "__module__", "") or "").partition(".")[0]
    return top in LIBRARIES or (top in sys.stdlib_module_names and top != "__main__")


def _quantizer(tensor: Tensor) -> list[Any]:
    """Scale and zero point of a quantized tensor: of the whole, or of each channel with their axis."""
    if tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        return [tensor.q_scale(), tensor.q_zero_point()]
    return [
        tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points(), tensor.q_per_channel_axis(),
    ]  # fmt: skip


def _closure(function: types.FunctionType) -> list[Any]:
    """Variables that a function uses but does not define, by name: enclosing ones, global constants."""
    try:
        names = inspect.getclosurevars(function)
    except (TypeError, ValueError):  # a cell that is not filled yet
        return []
    constants = {k: v for k, v in names.globals.items() if isinstance(v, (*_PLAIN, Tensor, np.ndarray))}
    return [dict(sorted(names.nonlocals.items())), dict(sorted(constants.items()))]
