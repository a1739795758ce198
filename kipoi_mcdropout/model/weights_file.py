"""Read the weights of a network from a file, without running code that is in the file."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kipoi_mcdropout.errors import InputError

# Where training frameworks keep the weights in a checkpoint, in the order in which they are looked for.
INNER_KEYS = ("state_dict", "model_state_dict", "model")
_SHOWN = 5


@dataclass(frozen=True)
class Weights:
    """The state of a network by name.

    Attributes
    ----------
    state : mapping of str to torch.Tensor
        As `nn.Module.state_dict` gives it.
    notes : tuple of str
        What was decided in reading it.
    """

    state: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def read_weights(path: Path, trust_pickle: bool = False) -> Weights:
    """Weights from a .safetensors file, or from what `torch.save` has written.

    Parameters
    ----------
    path : Path
        A state_dict, or a checkpoint (a dict that holds one under `state_dict`, `model_state_dict` or
        `model`, as Lightning writes it).
    trust_pickle : bool
        Also read files that can run code of their own as they are read.

    Raises
    ------
    InputError
        If it is no such file, or to read it would run code that is in it.
    """
    check_is_file(path)
    if path.suffix == ".safetensors":
        return Weights(_safetensors(path))
    value = read_torch_file(path, trust_pickle)
    if isinstance(value, nn.Module):
        return Weights(value.state_dict(), (f"{path} is a whole network; its weights are used",))
    if not isinstance(value, Mapping):
        raise InputError(
            f"{path} must be a state_dict, which is a dict of tensors; it is a {type(value).__name__}. "
            "Save torch.save(model.state_dict(), FILE)"
        )
    if _is_state(value):
        return Weights(value)
    return _inner(path, value)


def check_is_file(path: Path) -> None:
    """Raise InputError unless there is such a file."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise InputError(f"the file of weights {path} {what}; check the path")


def read_torch_file(path: Path, trust_pickle: bool = False) -> Any:
    """What `torch.load` gives, on the CPU.

    Raises
    ------
    InputError
        See `read_weights`.
    """
    if is_torchscript(path):
        raise InputError(
            f"{path} is TorchScript, a compiled network in which dropouts cannot be found. Give the "
            "network's Python code, file.py:NAME, and its state_dict"
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not trust_pickle:
            raise InputError(_why_refused(path, error)) from error
    except (RuntimeError, EOFError, ValueError, OSError) as error:
        raise InputError(_unreadable(path, error)) from error
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except (AttributeError, ImportError) as error:
        raise InputError(
            f"{path} names a Python class that is not found here: {error}. Run in the folder of its "
            "code; better, give file.py:NAME as MODEL and save the state_dict alone"
        ) from error
    except Exception as error:  # a pickle can raise anything
        raise InputError(_unreadable(path, error)) from error


def is_torchscript(path: Path) -> bool:
    """Whether a file is an archive of torch.jit."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        names = [name.partition("/")[2] for name in archive.namelist()]
    return "constants.pkl" in names and any(name.startswith("code/") for name in names)


def code_in(path: Path) -> list[str]:
    """Names of the classes and functions that a pickle calls, beside those of plain weights.

    Empty where the format does not let them be listed.
    """
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except (ValueError, RuntimeError, pickle.UnpicklingError):  # a format of before torch 1.6
        return []


def _why_refused(path: Path, error: Exception) -> str:
    named = code_in(path)
    if not named and not _names_code(error):
        return _unreadable(path, error)
    what = f" (it calls {', '.join(named[:_SHOWN])}{', ...' if len(named) > _SHOWN else ''})"
    return (
        f"{path} holds Python objects, not only weights{what if named else ''}: reading it runs code "
        "that is in the file, which can do anything. If you trust its author, add --trust_pickle "
        "(trust_pickle=True). Or save only the weights, torch.save(model.state_dict(), FILE), and give "
        "file.py:NAME as MODEL"
    )


def _names_code(error: Exception) -> bool:
    return "GLOBAL" in str(error) or "global" in str(error)


def _unreadable(path: Path, error: BaseException) -> str:
    text = " ".join(str(error).split())
    return (
        f"{path} cannot be read as weights: it must be a state_dict that torch.save has written, or "
        f"named .safetensors ({type(error).__name__}: {text[:200]})"
    )


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path, device="cpu")
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} cannot be read as .safetensors: {error}") from error


def _is_state(value: Any) -> bool:
    """Whether it looks like a state_dict: names with tensors, maybe with modules' extra state."""
    if not isinstance(value, Mapping) or not value or not all(isinstance(name, str) for name in value):
        return False
    tensors = [name for name, item in value.items() if isinstance(item, Tensor)]
    others = [name for name in value if name not in tensors]
    return bool(tensors) and all(name.endswith("_extra_state") for name in others)


def _inner(path: Path, checkpoint: Mapping[Any, Any]) -> Weights:
    found = [key for key in INNER_KEYS if _is_state(checkpoint.get(key))]
    if found:
        rest = [str(key) for key in checkpoint if key != found[0]]
        more = f"; not used: {', '.join(rest[:_SHOWN])}{', ...' if len(rest) > _SHOWN else ''}"
        note = f"the weights are those under {found[0]!r} of {path}{more if rest else ''}"
        return Weights(checkpoint[found[0]], (note,))
    if isinstance(checkpoint.get("model"), nn.Module):
        note = f"the weights are those of the network under 'model' of {path}"
        return Weights(checkpoint["model"].state_dict(), (note,))
    keys = [str(key) for key in checkpoint]
    raise InputError(
        f"{path} must be a state_dict (names with tensors), or a dict that has one under "
        f"{', '.join(INNER_KEYS)}; it has {', '.join(keys[:_SHOWN]) or 'nothing'}"
        f"{', ...' if len(keys) > _SHOWN else ''}. Save torch.save(model.state_dict(), FILE)"
    )
