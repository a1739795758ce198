"""Put weights into a network: every name and every shape must be the network's."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kipoi_mcdropout.dropout.named_parts import plain_module
from kipoi_mcdropout.errors import InputError

# What DataParallel, Lightning, torch.compile and others put before each name.
PREFIXES = ("module.", "model.", "_orig_mod.", "net.")
_NESTED = 3  # prefixes one after the other
_SHOWN = 3


def put_weights(network: nn.Module, state: Mapping[str, Any], path: Path) -> list[str]:
    """Load a state_dict into a network; a prefix before all names is taken off.

    Returns what there is to say: the prefix, entries outside it, another type of numbers.

    Raises
    ------
    InputError
        If names lack, are not known, or have another shape.
    """
    network = plain_module(network)
    wanted = network.state_dict()
    prefix = _prefix(state, wanted, path)
    inside, outside = _without(state, prefix)
    _check_shapes(inside, wanted, path)
    try:
        result = network.load_state_dict(inside, strict=False)
    except (RuntimeError, KeyError, AttributeError) as error:
        text = " ".join(str(error).split())
        raise InputError(f"the weights {path} do not fit {_kind(network)}: {text[:400]}") from error
    missing = [name for name in result.missing_keys if not _is_tied(name, wanted, inside)]
    _check_names(missing, result.unexpected_keys, network, path)
    return [*_words(prefix, outside, path), *_types(inside, network.state_dict(), path)]


def _prefix(state: Mapping[str, Any], wanted: Mapping[str, Any], path: Path) -> str:
    """What stands before the network's names in the file, "" for nothing."""
    fits = {
        prefix: sum(prefix + name in state for name in wanted) for prefix in ("", *_candidates(state))
    }
    best = max(fits.values())
    found = [prefix for prefix, n in fits.items() if n == best]
    if len(found) > 1 and best == len(wanted) > 0:
        raise InputError(
            f"the weights {path} fit the network in several ways, under "
            f"{' and '.join(repr(prefix) for prefix in found)}. Save one state_dict alone"
        )
    return found[0]


def _candidates(state: Mapping[str, Any]) -> Iterator[str]:
    """The prefixes, also one after the other, that names of the file have."""
    found = [""]
    for _ in range(_NESTED):
        found = [
            prefix + more
            for prefix in found
            for more in PREFIXES
            if any(name.startswith(prefix + more) for name in state)
        ]
        yield from found


def _without(state: Mapping[str, Any], prefix: str) -> tuple[OrderedDict[str, Any], list[str]]:
    """The entries under a prefix by their names without it, and the names of the others."""
    inside = OrderedDict((k[len(prefix) :], v) for k, v in state.items() if k.startswith(prefix))
    metadata = getattr(state, "_metadata", None)
    if metadata is not None:  # versions of the modules, which old files need
        start = prefix.rstrip(".")
        inside._metadata = {  # type: ignore[attr-defined]
            k[len(prefix) :]: v for k, v in metadata.items() if k == start or k.startswith(prefix)
        }
    return inside, [name for name in state if not name.startswith(prefix)]


def _check_shapes(state: Mapping[str, Any], wanted: Mapping[str, Any], path: Path) -> None:
    wrong = [
        f"{name!r} has shape {tuple(value.shape)} in the file and {tuple(wanted[name].shape)} in the "
        "network"
        for name, value in state.items()
        if isinstance(value, Tensor)
        and isinstance(wanted.get(name), Tensor)
        and not nn.parameter.is_lazy(wanted[name])
        and value.shape != wanted[name].shape
    ]
    if wrong:
        raise InputError(
            f"the weights {path} are of another architecture: {'; '.join(wrong[:_SHOWN])}"
            f"{_more(wrong)}. Give the arguments of the network that was trained (--model_kwargs), or "
            "other weights"
        )


def _is_tied(name: str, wanted: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    """Whether an entry is the same memory as one that was given; .safetensors keeps one of them."""
    tensor = wanted[name]
    if not isinstance(tensor, Tensor) or nn.parameter.is_lazy(tensor) or tensor.numel() == 0:
        return False
    return any(
        isinstance(wanted.get(other), Tensor)
        and not nn.parameter.is_lazy(wanted[other])
        and wanted[other].data_ptr() == tensor.data_ptr()
        and wanted[other].shape == tensor.shape
        for other in given
    )


def _check_names(
    missing: Sequence[str], unexpected: Sequence[str], network: nn.Module, path: Path
) -> None:
    problems = []
    if missing:
        problems.append(f"{len(missing)} of the network's are missing in the file: {_named(missing)}")
    if unexpected:
        problems.append(f"{len(unexpected)} in the file are unknown to it: {_named(unexpected)}")
    if problems:
        raise InputError(
            f"the weights {path} must be those of {_kind(network)}, name by name; "
            f"{'; '.join(problems)}. Give the class that was trained and its arguments "
            "(--model_kwargs), or other weights"
        )


def _words(prefix: str, outside: Sequence[str], path: Path) -> Iterator[str]:
    if prefix:
        yield f"the names in {path} begin with {prefix!r}, which is taken off"
    if outside:
        yield f"{len(outside)} entries of {path} without {prefix!r} are not used: {_named(outside)}"


def _types(given: Mapping[str, Any], held: Mapping[str, Any], path: Path) -> Iterator[str]:
    """Types of floating numbers that the network does not keep as they are in the file."""
    pairs = {
        (value.dtype, held[name].dtype)
        for name, value in given.items()
        if isinstance(value, Tensor) and isinstance(held.get(name), Tensor) and value.is_floating_point()
    }
    for one, other in sorted(pairs, key=str):
        if one != other:
            yield f"weights that are {_short(one)} in {path} are {_short(other)} in the network"


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _kind(network: nn.Module) -> str:
    return f"the network {type(network).__name__}"


def _named(names: Sequence[str]) -> str:
    return f"{', '.join(map(repr, names[:_SHOWN]))}{_more(names)}"


def _more(names: Sequence[str]) -> str:
    return f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
