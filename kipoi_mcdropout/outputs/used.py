"""Which of the arrays that a model returns can be reported, and why the others cannot.

Models of libraries return more than predictions: a loss, hidden states with the batch on another axis, a
cache, texts. What is used has the batch on the first axis, in every batch, and holds real numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kipoi_mcdropout.arrays.nested import Nested, entries, leaves, map_nested
from kipoi_mcdropout.errors import InputWarning, ModelError

_Key = tuple[str, int]  # path, and how often the path has come before: 1 and "1" are two keys of a dict
_SHOWN = 5


class OutputLeftOutWarning(InputWarning):
    """Something that the model returns is not reported, as it is no prediction for each input."""


@dataclass(frozen=True)
class UsedOutputs:
    """The leaves of a model's outputs that are reported.

    Attributes
    ----------
    keys : tuple of (path, number)
        Of those that are used, in the order of the model.
    left_out : dict of (path, number) to str
        The others, with the reason.
    """

    keys: tuple[_Key, ...]
    left_out: dict[_Key, str]

    def warning(self) -> str:
        """What is left out, in words; "" where all is used."""
        if not self.left_out:
            return ""
        words = [f"{_named(path)} ({why})" for (path, _), why in self.left_out.items()]
        more = f", and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
        return (
            f"outputs of the model are left out: {', '.join(words[:_SHOWN])}{more}. Only tensors of "
            "real numbers with the batch as first axis can be reported"
        )

    def prune(self, outputs: Nested) -> Nested:
        """The same structure, None in the place of what is left out; dicts in the order of `keys`."""
        came = _keys(outputs)
        if tuple(came) == self.keys:
            return outputs
        keys = iter(came)

        def kept(leaf: Any) -> Any:
            return None if next(keys) in self.left_out else leaf

        return self._in_order(map_nested(kept, outputs), "")

    def _in_order(self, outputs: Nested, path: str) -> Nested:
        items = entries(outputs)
        if items is None:
            return outputs
        found = {name: f"{path}/{name}" if path else str(name) for name, _ in items}
        values = {name: self._in_order(value, found[name]) for name, value in entries(outputs) or ()}
        if isinstance(outputs, Mapping):
            return {name: values[name] for name in sorted(values, key=lambda n: self._rank(found[n]))}
        if hasattr(outputs, "_fields"):
            return type(outputs)(*values.values())
        return list(values.values())

    def _rank(self, path: str) -> int:
        inside = [i for i, (key, _) in enumerate(self.keys) if f"{key}/".startswith(f"{path}/")]
        return inside[0] if inside else len(self.keys)

    def select(self, outputs: Nested) -> list[Any]:
        """The leaves that are used, in the order of `keys`, whatever the order of a dict is now.

        Raises
        ------
        ModelError
            If one of them is missing in these outputs, or another has come.
        """
        found = dict(zip(_keys(outputs), (leaf for _, leaf in leaves(outputs)), strict=True))
        came = [key for key in found if key not in self.left_out]
        if set(came) != set(self.keys):
            raise _changed(set(self.keys) ^ set(came))
        return [found[key] for key in self.keys]


def used_outputs(two: Nested, other: Nested, n_other: int) -> UsedOutputs:
    """Find what is used, from the outputs for a batch of two and for one of another size.

    Raises
    ------
    ModelError
        If nothing is, or if what could be used comes for one of the batches alone.
    """
    first, second = (dict(zip(_keys(x), (y for _, y in leaves(x)), strict=True)) for x in (two, other))
    reasons = {key: why_unusable(leaf, 2) for key, leaf in first.items()}
    for key, leaf in second.items():
        reasons[key] = reasons.get(key, "") or why_unusable(leaf, n_other)
    usable = [key for key, why in reasons.items() if not why]
    if only_one := [key for key in usable if (key in first) != (key in second)]:
        raise _changed(set(only_one))
    for key in usable:
        if first[key].shape[1:] != second[key].shape[1:]:
            shapes = f"{tuple(first[key].shape)} and {tuple(second[key].shape)}"
            reasons[key] = f"its shapes for batches of 2 and {n_other} are {shapes}"
    keys = tuple(key for key, why in reasons.items() if not why)
    left_out = {key: why for key, why in reasons.items() if why}
    if not keys:
        raise ModelError(_nothing(left_out))
    return UsedOutputs(keys, left_out)


def usable_keys(outputs: Nested, n: int) -> set[_Key]:
    """What the outputs for a batch of n alone do not speak against."""
    found = zip(_keys(outputs), leaves(outputs), strict=True)
    return {key for key, (_, leaf) in found if not why_unusable(leaf, n)}


def why_unusable(leaf: Any, n: int) -> str:
    """Why a leaf of the outputs for a batch of n cannot be reported; "" where it can."""
    if not isinstance(leaf, Tensor):
        return f"it is of type {type(leaf).__name__}, not a tensor"
    if leaf.is_nested or leaf.layout != torch.strided:
        return "it is a sparse or nested tensor"
    if leaf.is_complex():
        return f"its numbers are complex, {leaf.dtype}"
    if leaf.dim() == 0:
        return "it is one number for the whole batch"
    if leaf.shape[0] != n:
        return f"its shape is {tuple(leaf.shape)} for a batch of {n}"
    return ""


def _keys(outputs: Nested) -> list[_Key]:
    seen: Counter[str] = Counter()
    keys = []
    for path, _ in leaves(outputs):
        keys.append((path, seen[path]))
        seen[path] += 1
    return keys


def _named(path: str) -> str:
    return repr(path) if path else "the output"


def _changed(keys: set[_Key]) -> ModelError:
    names = ", ".join(_named(path) for path, _ in sorted(keys))
    return ModelError(
        f"the model must return the same outputs for all inputs; it returns {names} for some, and None "
        "or nothing for others. Wrap the model in a module that returns the same outputs every time"
    )


def _nothing(left_out: dict[_Key, str]) -> str:
    if not left_out:
        return "the model must return one or more tensors; it returned nothing"
    words = "; ".join(f"{_named(path)}: {why}" for (path, _), why in list(left_out.items())[:_SHOWN])
    return (
        "the model must return a tensor of real numbers with the batch as first axis; it returns none "
        f"({words}). Wrap the model in a module that returns such a tensor"
    )
