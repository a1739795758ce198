"""Load the members of a model one after the other; large ones are kept out of memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from torch import nn

from kipoi_mcdropout.dropout.named_parts import plain_module
from kipoi_mcdropout.dropout.stored_weights import store_weights, weights_bytes
from kipoi_mcdropout.engine.full import DEFAULT_MEMORY_BYTES
from kipoi_mcdropout.model.identity import torch_module

_SHARE = 0.5  # of the memory, for the weights of all members

Source = TypeVar("Source")


def load_members(
    sources: Sequence[Source],
    load: Callable[[int, Source], Any],
    memory_bytes: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[Any]:
    """The members, of which one at a time needs to be in memory.

    As soon as the weights of several members are larger than half of `memory_bytes`, those of each are
    moved into a temporary file (`stored_weights`). Results are the same, bit for bit.

    Parameters
    ----------
    sources : sequence
        Where each comes from.
    load : callable
        Loads one, given its number, from 0, and its source.
    memory_bytes : int, optional
        As of a run; 1 GB by default.
    say : callable
        Takes what there is to say.
    """
    limit = _SHARE * (DEFAULT_MEMORY_BYTES if memory_bytes is None else memory_bytes)
    loaded: list[Any] = []
    total = 0
    stores = len(sources) > 1
    for number, source in enumerate(sources):
        loaded.append(load(number, source))
        total += sum(map(weights_bytes, _modules(loaded[-1:])))
        if stores and total > limit:
            stores = _store(loaded, say)
    return loaded


def _store(loaded: Sequence[Any], say: Callable[[str], None]) -> bool:
    """Move weights into files, where that can be done; False where there is no room."""
    try:
        for module in _modules(loaded):
            store_weights(module)
    except OSError as error:
        say(
            "the weights of all members stay in memory: they cannot be written to the folder of "
            f"temporary files, {tempfile.gettempdir()} ({error.strerror or error}). Set TMPDIR to a "
            "folder with more room"
        )
        return False
    return True


def _modules(loaded: Sequence[Any]) -> list[nn.Module]:
    """The networks; a model that has none is refused later."""
    found = [torch_module(model) for model in loaded]
    return [plain_module(module) for module in found if module is not None]
