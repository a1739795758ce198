"""Where a model computes: the CPU or a GPU, by the word that a user says."""

from __future__ import annotations

import re

import torch
from torch import nn

from kipoi_mcdropout.dropout.keras_network import is_keras
from kipoi_mcdropout.errors import InputError

WORDS = "auto, cpu, cuda, cuda:N or mps"
# Of a GPU's memory: the rest is for weights, for what others hold, and for torch's own reserve.
_SHARE = 0.4


def check_device(word: str) -> str:
    """The word; InputError if it names no device. Whether there is one is asked by `find_device`."""
    if not isinstance(word, str) or not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", word):
        raise InputError(f"device must be {WORDS}; got {word!r}")
    return word


def find_device(word: str) -> torch.device:
    """The device that a word names; "auto" is the first GPU of CUDA where there is one, else the CPU.

    Raises
    ------
    InputError
        If this machine, or this build of torch, does not have it.
    """
    kind, _, number = check_device(word).partition(":")
    if kind == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if kind == "cuda" and int(number or 0) >= (count := torch.cuda.device_count()):
        raise InputError(
            f"device {word} (--device): torch {torch.__version__} finds {count or 'no'} GPU"
            f"{'s' if count > 1 else ''} of CUDA here. Give --device cpu, or auto"
        )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise InputError(
            f"device mps (--device): torch {torch.__version__} finds no GPU of Apple here. Give "
            "--device cpu, or auto"
        )
    return torch.device(word)


def place(module: nn.Module, word: str, by_itself: bool = False) -> None:
    """Move the weights of a module to a device, unless they are there.

    With "auto", a model that chooses its device by itself (Keras, `by_itself`) is left as it is.

    Raises
    ------
    InputError
        If there is no such device, or the model chooses its device.
    """
    device, here = find_device(word), device_of(module)
    if here.type == device.type and device.index in (None, here.index):
        return
    if not (by_itself or is_keras(module)):
        module.to(device)
    elif word != "auto":
        why = "has a predict_on_batch of its own" if by_itself else "is one of Keras"
        raise InputError(
            f"device {word} (--device) is for a model that runs by its torch module; this one {why}, "
            f"which chose {here}. Leave device out"
        )


def device_of(module: nn.Module) -> torch.device:
    """Where the weights of a module are; the CPU for a module without weights."""
    first = next(module.parameters(), None)
    return torch.device("cpu") if first is None else first.device


def describe_device(device: torch.device) -> str:
    """For the record of a run: "cpu", or a GPU with its name, as two kinds of them round differently."""
    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


def memory_of(device: torch.device) -> int | None:
    """Bytes for activations by default: a share of a GPU's memory, whatever is free just now.

    So every run on the same card has the same sizes. None for other devices.
    """
    if device.type != "cuda":
        return None
    return int(_SHARE * torch.cuda.get_device_properties(device).total_memory)


def free_unused(device: torch.device) -> None:
    """Give back what torch holds in reserve on a GPU, once its memory has run out."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
