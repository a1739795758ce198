"""The submodules of a model by name: what `ignore` refers to, and which of them failed."""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import FrameType

import torch
from torch import nn

from kipoi_mcdropout.dropout.keras_network import as_module
from kipoi_mcdropout.errors import InputError, ModelError, ModelForwardError

_TORCH = str(Path(torch.__file__).parent)
_KERAS = str(Path("keras", "src", ""))
_OURS = str(Path(__file__).parents[1])  # the whole package
IN_FORWARD = ", in the model's forward pass: "
_NEAR = 5  # names that an error lists


_WRAPPERS = (
    nn.DataParallel,
    nn.parallel.DistributedDataParallel,
    torch.optim.swa_utils.AveragedModel,
)


def plain_module(module: nn.Module) -> nn.Module:
    """The user's own module inside what torch.compile, DataParallel and its like wrap around it.

    A Keras model becomes a `KerasNetwork`.
    """
    while True:
        if isinstance(module, _WRAPPERS):
            module = module.module
        elif isinstance(getattr(module, "_orig_mod", None), nn.Module):
            module = module._orig_mod  # type: ignore[assignment]
        else:
            network: nn.Module = as_module(module)
            return network


def named_parts(module: nn.Module) -> dict[str, nn.Module]:
    """Every submodule by its name; the model itself by the name of its class."""
    return {name or type(module).__name__: part for name, part in module.named_modules()}


def known_names(module: nn.Module, names: Sequence[str]) -> tuple[str, ...]:
    """Names given as `ignore`, as `named_parts` has them.

    A module that is part of the model in two places has one name there, the first.

    Raises
    ------
    InputError
        If the model has no submodule of a name.
    """
    parts = named_parts(module)
    first = {id(part): name for name, part in parts.items()}
    aliases = {
        name or type(module).__name__: first[id(part)]
        for name, part in module.named_modules(remove_duplicate=False)
    }
    for name in names:
        if name not in aliases:
            near = difflib.get_close_matches(name, aliases, _NEAR, 0.4) or list(aliases)[:_NEAR]
            raise InputError(
                "ignore must name modules of the model, as named_modules() does; the model has no "
                f"{name!r}. Similar names: {', '.join(map(repr, near))}"
            )
    return tuple(dict.fromkeys(aliases[name] for name in names))


def is_ignored(name: str, ignore: Sequence[str]) -> bool:
    """Whether a module, or one that contains it, is named in `ignore`.

    The name of the model's class stands for the code of its own forward pass alone.
    """
    return any(name == top or name.startswith(f"{top}.") for top in ignore)


def refuse_uninitialised(module: nn.Module) -> None:
    """Refuse lazy modules that have no weights yet, and tensors without data (on the device "meta").

    Raises
    ------
    ModelError
        Naming them.
    """
    empty = [
        name
        for name, value in (*module.named_parameters(), *module.named_buffers())
        if value.device.type == "meta"
    ]
    if empty:
        more = f" and {len(empty) - 1} more" if len(empty) > 1 else ""
        raise ModelError(
            f"tensor {empty[0]!r}{more} of the model has no data (its device is 'meta'), so the model "
            "cannot be run: it was loaded only in part. Load it so that all its weights and buffers are "
            "filled, with a version of its package that fits that of transformers if it comes from there"
        )
    lazy = [
        name
        for name, part in named_parts(module).items()
        if isinstance(part, nn.modules.lazy.LazyModuleMixin) and part.has_uninitialized_params()
    ]
    if lazy:
        raise ModelError(
            f"module {', '.join(map(repr, lazy))} is lazy and has no weights yet: run the model once on "
            "an input, then load its trained weights"
        )


def refuse_sharded(module: nn.Module) -> None:
    """Refuse modules whose weights are spread over several processes.

    Raises
    ------
    ModelError
        Naming them.
    """
    names = [
        name
        for name, part in named_parts(module).items()
        if any(kind.__module__.startswith("torch.distributed.fsdp") for kind in type(part).__mro__)
    ]
    if names:
        raise ModelError(
            f"module {', '.join(map(repr, names))} is sharded over several processes (FSDP), so none of "
            "them has all of its weights. Save the full state dict, and load it into the plain module"
        )


def explained(module: nn.Module, error: BaseException) -> ModelForwardError:
    """An error of the user's forward pass in one line, with the module and the line of code."""
    text = str(error).strip().split("\n")[0].rstrip(".")
    what = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if isinstance(error, SystemExit):
        what = f"sys.exit({'' if error.code is None else repr(error.code)})"
    name = module_at_fault(module, error)
    kind = type(named_parts(module)[name]).__name__
    line = user_line(traceback.walk_tb(error.__traceback__))
    return ModelForwardError(f"{what}{IN_FORWARD}module {name!r} ({kind}){line}")


def module_at_fault(module: nn.Module, error: BaseException) -> str:
    """Name of the innermost module that was running when an error was raised."""
    names = {id(part): name for name, part in named_parts(module).items()}
    label = type(module).__name__
    for frame, _ in traceback.walk_tb(error.__traceback__):
        label = names.get(id(frame.f_locals.get("self")), label)
    return label


def user_line(frames: Iterable[tuple[FrameType, int]]) -> str:
    """The user's innermost line of code as ", net.py line 12"; "" if there is none.

    `frames` are ordered as in a traceback, the innermost last.
    """
    line = ""
    for frame, number in frames:
        file = frame.f_code.co_filename
        if not file.startswith((_TORCH, _OURS, "<")) and _KERAS not in file:
            line = f", {Path(file).name} line {number}"
    return line
