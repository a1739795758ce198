"""Checksums of a model's weights, code and settings: equal where two runs have the same model."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kipoi_mcdropout.arrays.nested import leaves
from kipoi_mcdropout.dropout.keras_network import as_module
from kipoi_mcdropout.dropout.named_parts import plain_module
from kipoi_mcdropout.errors import ModelError
from kipoi_mcdropout.model.value_digest import ValueDigest, is_library, module_attributes

# Of a Kipoi model's arguments and attributes: paths of files, which are in the other checksums.
_NOT_SETTINGS = ("weights", "module_file", "arch")
_INSTALLED = frozenset({"site-packages", "dist-packages"})
# What kipoi.get_model adds to a model; of it only the arguments and the schema change the results.
_OF_KIPOI = (
    "type", "args", "info", "schema", "dependencies", "test", "default_dataloader", "name", "source",
    "source_name", "source_dir", "writers", "pipeline", "model", "use_cuda", "grad_hooks",
    "mcdropout_source",
)  # fmt: skip


def torch_module(model: Any) -> nn.Module | None:
    """The torch module of a model, None if there is none."""
    for candidate in (model, getattr(model, "model", None)):
        candidate = as_module(candidate)
        if isinstance(candidate, nn.Module):
            return candidate
    return None


def model_identity(model: Any) -> dict[str, str]:
    """Checksums (SHA-256) that differ where two models could give different numbers.

    Parameters
    ----------
    model : kipoi model or nn.Module
        As it was loaded. If a forward pass stores values in attributes of the modules, the checksums
        are others after it.

    Returns
    -------
    dict of str to str
        `weights_sha256`: see `weights_checksum`. `code_sha256`: see `code_checksum`.
        `settings_sha256`: attributes of all modules (numbers, tensors that are no buffers, functions,
        hooks), and the arguments and attributes of a Kipoi model.

    Raises
    ------
    ModelError
        If the model holds no torch module.
    """
    return {"weights_sha256": weights_checksum(_inner_module(model)), **made_of(model)}


def made_of(model: Any) -> dict[str, str]:
    """The checksums of the code and of the settings: `model_identity` without `weights_sha256`."""
    return {"code_sha256": code_checksum(model), "settings_sha256": _settings_checksum(model)}


def weights_checksum(module: nn.Module) -> str:
    """SHA-256 over the state of a module, by name, as 64 hexadecimal digits.

    It covers all parameters, all buffers (also those that are not saved), packed parameters of quantized
    layers, and what modules save in addition (`get_extra_state`). A parameter without values yet (of a
    lazy module) counts as empty.
    """
    module = as_module(module)
    state = {name: value for name, value in module.state_dict().items()}
    state |= dict(module.named_buffers(remove_duplicate=False))
    state |= dict(module.named_parameters(remove_duplicate=False))
    digest = ValueDigest()
    for name in sorted(state):
        value = state[name]
        digest.add(name).add("empty" if nn.parameter.is_lazy(value) else value)
    return digest.hexdigest()


def code_checksum(model: Any) -> str:
    """SHA-256 over the code that a model runs, as 64 hexadecimal digits.

    It covers the Python files that define the classes of its modules, its hooks and its functions; the
    files in the same folders that these import, but for installed packages; and the code of TorchScript
    and of traced modules. For a model from a folder of Kipoi it covers all Python files of the folder.
    Where there is no file (in a notebook) it covers the compiled code. It does not cover code of torch,
    Kipoi and numpy, whose versions are recorded.
    """
    files: set[Path] = set(_folder_files(getattr(model, "source_dir", None)))
    texts: set[str] = set()
    for item in _code_objects(model):
        _collect(item, files, texts)
    digests = {f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files}
    return ValueDigest().add(digests | texts).hexdigest()


def function_checksum(function: Any) -> str:
    """SHA-256 over the code of a function, its default arguments, enclosing variables and object.

    Returns
    -------
    str of 64 hexadecimal digits
    """
    files: set[Path] = set()
    texts: set[str] = set()
    for item in (function, getattr(function, "func", None), type(function)):
        _collect(item, files, texts)
    digests = {f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files}
    return ValueDigest().add(digests | texts).add(function).hexdigest()


def required_module(model: Any) -> nn.Module:
    """The torch module of a model; ModelError if there is none."""
    module = torch_module(model)
    if isinstance(model, torch.export.ExportedProgram):
        raise ModelError(
            "a PyTorch module is required; got an ExportedProgram. Give its .module(), or the module "
            "that was exported"
        )
    if module is None:
        raise ModelError(
            "a PyTorch model is required, because dropout is controlled inside the torch module; got "
            f"{type(model).__name__}. Models of TensorFlow or scikit-learn are not supported; those of "
            "Keras are, on torch (KERAS_BACKEND=torch)"
        )
    return module


def _inner_module(model: Any) -> nn.Module:
    """The module without what torch.compile, DataParallel and their like put around it."""
    return plain_module(required_module(model))


def _settings_checksum(model: Any) -> str:
    """SHA-256 over the attributes of all modules, and over what `_wrapper_settings` gives."""
    module = _inner_module(model)
    digest = ValueDigest()
    for name, part in module.named_modules():
        digest.add(name).add(type(part).__qualname__)
        for item in module_attributes(part):
            digest.add(item)
        for method in _own_functions(type(part)):
            digest.add(method)
    if not isinstance(model, nn.Module):
        digest.add(type(model).__qualname__).add(dict(_wrapper_settings(model)))
    return digest.hexdigest()


def _wrapper_settings(model: Any) -> Iterator[tuple[str, Any]]:
    """Arguments of a Kipoi model, and the attributes that its own class adds."""
    arguments = getattr(model, "args", None)
    for name, value in arguments.items() if isinstance(arguments, dict) else ():
        if name not in _NOT_SETTINGS:
            yield f"args/{name}", value
    schema = getattr(model, "schema", None)
    for name in ("inputs", "targets"):
        for path, array in leaves(getattr(schema, name, None)):
            said = [getattr(array, field, None) for field in ("name", "shape", "column_labels")]
            yield f"schema/{name}/{path}", said
    other = (*_OF_KIPOI, *_NOT_SETTINGS)
    yield from ((name, value) for name, value in vars(model).items() if name not in other)


def _code_objects(model: Any) -> Iterator[Any]:
    """Classes and functions that a model is made of."""
    if not isinstance(model, nn.Module):
        yield from type(model).__mro__
    for part in _inner_module(model).modules():
        if isinstance(part, (torch.jit.ScriptModule, torch.fx.GraphModule)):
            yield part
        else:
            yield from type(part).__mro__
        for _, value in module_attributes(part):
            yield value if isinstance(value, (type, types.FunctionType)) else type(value)


def _collect(item: Any, files: set[Path], texts: set[str]) -> None:
    """Add the files in which a class or function is written, else its code as text."""
    if isinstance(item, torch.jit.ScriptModule):
        texts.add(_script_checksum(item))
        return
    if isinstance(item, torch.fx.GraphModule):
        texts.add(item.code)
        return
    if is_library(item):
        return
    for function in [item] if isinstance(item, types.FunctionType) else _own_functions(item):
        path = Path(function.__code__.co_filename)
        if path.is_absolute() and path.is_file():  # Kipoi's own loader gives relative paths
            _add_file(path.resolve(), function.__globals__, files)
        else:
            texts.add(_compiled(function.__code__))


def _add_file(path: Path, namespace: dict[str, Any], files: set[Path]) -> None:
    """A file, and those beside it that it imports."""
    if path in files:
        return
    files.add(path)
    for value in list(namespace.values()):
        module = value if isinstance(value, types.ModuleType) else _module_of(value)
        file = getattr(module, "__file__", None)
        other = None if file is None else Path(file).resolve()
        if other is None or other.suffix != ".py" or not other.is_file():
            continue
        if _is_below(other, path.parent):
            _add_file(other, vars(module), files)


def _is_below(file: Path, folder: Path) -> bool:
    """Whether a file belongs to a folder: not what is installed in an environment inside it."""
    if folder.name in _INSTALLED or not file.is_relative_to(folder):
        return False
    return _INSTALLED.isdisjoint(file.relative_to(folder).parts)


def _module_of(value: Any) -> Any:
    """The loaded Python module in which a class or function is defined; None for other values."""
    known = isinstance(value, (type, types.FunctionType))
    return sys.modules.get(value.__module__ or "") if known else None


def _own_functions(item: Any) -> list[types.FunctionType]:
    """Functions, methods and properties that a class defines itself; none for a class of a library."""
    if not isinstance(item, type) or is_library(item):
        return []
    members = [getattr(member, "__func__", member) for member in vars(item).values()]
    members += [member.fget for member in vars(item).values() if isinstance(member, property)]
    return [member for member in members if isinstance(member, types.FunctionType)]


def _script_checksum(module: torch.jit.ScriptModule) -> str:
    """SHA-256 over the code of all methods of TorchScript, its constants and the attributes it reads."""
    digest = ValueDigest()
    for name in sorted(module._c._method_names()):
        code, constants = module._c._get_method(name).code_with_constants
        digest.add(code).add(dict(constants))
        for attribute in sorted(set(re.findall(r"\.(\w+)", code))):
            value = getattr(module, attribute, None)
            digest.add(attribute).add("a part" if callable(value) else value)
    return digest.hexdigest()


def _compiled(code: types.CodeType) -> str:
    """SHA-256 over compiled code: its name, instructions, names, constants, and functions in it."""
    inner = [_compiled(c) for c in code.co_consts if isinstance(c, types.CodeType)]
    constants = [c for c in code.co_consts if not isinstance(c, types.CodeType)]
    digest = ValueDigest().add([code.co_name, code.co_code, code.co_names, constants, inner])
    return digest.hexdigest()


def _folder_files(folder: Any) -> Iterable[Path]:
    """Python files of a Kipoi model's folder, and of the folders below that have any."""
    if not isinstance(folder, (str, os.PathLike)) or not Path(folder).is_dir():
        return
    for path in sorted(Path(folder).resolve().iterdir()):
        hidden = path.name.startswith((".", "__pycache__"))
        if path.is_dir() and not hidden and any(path.glob("*.py")):
            yield from _folder_files(path)
        elif path.suffix == ".py" and path.is_file():
            yield path
