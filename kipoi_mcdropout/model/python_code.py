"""A network from Python code: `path/to/file.py:NAME` or `package.module:NAME`."""

from __future__ import annotations

import copy
import difflib
import importlib
import importlib.util
import inspect
import random
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from kipoi_mcdropout.dropout.borrow import random_states
from kipoi_mcdropout.dropout.named_parts import user_line
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.model.sibling_code import importable

_FILE = re.compile(r"(?P<where>.+\.py)(?::(?P<name>.*))?", re.DOTALL)
_MODULE = re.compile(r"(?P<where>[^\W\d]\w*(?:\.[^\W\d]\w*)*):(?P<name>.*)", re.DOTALL)
_SHOWN = 8


@dataclass(frozen=True)
class CodeName:
    """Where the code of a network is.

    Attributes
    ----------
    where : str
        Path of a Python file, or dotted name of a module.
    name : str
        A class, function or network in it; dots are attributes, as in Net.from_config.
    """

    where: str
    name: str

    @classmethod
    def parse(cls, text: str) -> CodeName | None:
        """What a text such as `net.py:Net` or `package.module:Net` names; None if it has another form.

        >>> CodeName.parse("models/net.py:Net")
        CodeName(where='models/net.py', name='Net')
        >>> CodeName.parse("DeepSEA/predict") is None
        True
        """
        match = _FILE.fullmatch(text) or _MODULE.fullmatch(text)
        return None if match is None else cls(match["where"], match["name"] or "")

    @property
    def is_file(self) -> bool:
        """Whether the code is a file, and not a module by its name."""
        return self.where.endswith(".py")

    def __str__(self) -> str:
        return f"{self.where}:{self.name}"

    def network(self, kwargs: Mapping[str, Any], seed: int = 0) -> nn.Module:
        """Run the code and make the network; random weights depend on `seed` alone.

        Parameters
        ----------
        kwargs : mapping
            Arguments of the class or function.

        Raises
        ------
        InputError
            If there is no such file, module or name, the code fails, or what it gives is no nn.Module.
        """
        with _seeded(seed):
            return _made(self, _found(self, _imported(self)), kwargs)

    def is_network(self) -> bool:
        """Whether the name is a network, and not a class or function that makes one."""
        with _seeded(0):
            return isinstance(_found(self, _imported(self)), nn.Module)


def _imported(code: CodeName) -> ModuleType:
    """The module that holds the code; a file is run anew each time."""
    if code.is_file and not Path(code.where).is_file():
        raise InputError(
            f"there is no file {code.where}; MODEL must be path/to/file.py:NAME with a file that exists"
        )
    file = Path(code.where) if code.is_file else None
    with importable(file) as name, _said_of(code, f"{code.where} cannot be imported"):
        return importlib.import_module(code.where) if file is None else _run_file(file, name)


def _run_file(path: Path, name: str) -> ModuleType:
    if "." in name:  # a file of a package, which may import its neighbours as `from .layers import X`
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _found(code: CodeName, module: ModuleType) -> Any:
    """The object of the name."""
    found: Any = module
    for part in code.name.split(".") if code.name else ():
        found = getattr(found, part, _found)
        if found is _found:
            break
    if found is not _found and found is not module:
        return found
    what = f"{code.where} has no {code.name!r}" if code.name else f"{code.where} is Python code"
    raise InputError(
        f"{what}; MODEL must be {code.where}:NAME with a class or function that gives an nn.Module. "
        f"{_there(code, module)}"
    )


def _there(code: CodeName, module: ModuleType) -> str:
    """What a module offers as NAME, networks first, the most similar names before others."""
    own = {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (isinstance(value, nn.Module) or getattr(value, "__module__", None) == module.__name__)
    }
    networks = [name for name, value in own.items() if _is_network(value)]
    others = [name for name, v in own.items() if inspect.isfunction(v) and name not in networks]
    names = networks + others
    if not names:
        return "It defines no class that is an nn.Module, and no function"
    near = difflib.get_close_matches(code.name, names, 1)
    hint = f" Is it {near[0]!r}?" if near else ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"It defines {', '.join(names[:_SHOWN])}{more}.{hint}"


def _is_network(value: Any) -> bool:
    return isinstance(value, nn.Module) or (inspect.isclass(value) and issubclass(value, nn.Module))


def _made(code: CodeName, found: Any, kwargs: Mapping[str, Any]) -> nn.Module:
    if isinstance(found, nn.Module):
        if kwargs:
            raise InputError(
                f"{code} is a network already, so it takes no model_kwargs (--model_kwargs); got "
                f"{', '.join(kwargs)}. Give its class or a function in place of it"
            )
        return copy.deepcopy(found)  # a module that others have imported is not ours to change
    if inspect.isclass(found) and not issubclass(found, nn.Module):
        raise InputError(
            f"{code} must be a class or function that gives an nn.Module; it is a class that is not "
            "one. Make it inherit from torch.nn.Module"
        )
    if not callable(found):
        raise InputError(
            f"{code} must be a class or function that gives an nn.Module; it is a "
            f"{type(found).__name__}"
        )
    _check_arguments(code, found, kwargs)
    with _said_of(code, f"{code} cannot be made with model_kwargs {dict(kwargs)}"):
        network = found(**kwargs)
    if not isinstance(network, nn.Module):
        raise InputError(
            f"{code} must give an nn.Module; it gave a {type(network).__name__}. Name a function that "
            "returns the network itself"
        )
    return network


def _check_arguments(code: CodeName, maker: Callable[..., Any], kwargs: Mapping[str, Any]) -> None:
    """Raise InputError where arguments lack or are not known."""
    try:
        parameters = inspect.signature(maker).parameters.values()
    except (TypeError, ValueError):  # it has no signature to look at
        return
    by_name = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    names = [p.name for p in by_name]
    unknown = [] if takes_any else [name for name in kwargs if name not in names]
    if unknown:
        near = difflib.get_close_matches(unknown[0], names, 1)
        raise InputError(
            f"{code} takes no argument {unknown[0]!r} (--model_kwargs)"
            + (f"; is it {near[0]!r}?" if near else f"; it takes {', '.join(names) or 'none'}")
        )
    missing = [p.name for p in by_name if p.default is p.empty and p.name not in kwargs]
    missing += [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY and p.default is p.empty]
    if missing:
        example = ", ".join(f'"{name}": ...' for name in missing[:3])
        raise InputError(
            f"{code} needs {', '.join(missing)}: give model_kwargs, as --model_kwargs '{{{example}}}'"
        )


@contextmanager
def _said_of(code: CodeName, what: str) -> Iterator[None]:
    """Turn errors of the user's code into ours, with `what` in front and the line of code."""
    try:
        yield
    except (KeyboardInterrupt, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        text = " ".join(str(error).split()) or "it says nothing more"
        line = user_line(traceback.walk_tb(error.__traceback__))
        if isinstance(error, SyntaxError) and error.filename:
            line = f", {Path(error.filename).name} line {error.lineno}"
        hint = ""
        if isinstance(error, ModuleNotFoundError) and error.name and not code.is_file:
            hint = ". Install the package, or run in the folder that has it"
        raise InputError(f"{what}: {type(error).__name__}: {text}{line}{hint}") from error


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Random numbers that are the same in each process; the generators are restored afterwards."""
    with random_states, torch.random.fork_rng(devices=[]):
        numpy_state, python_state = np.random.get_state(), random.getstate()
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)
            random.setstate(python_state)
