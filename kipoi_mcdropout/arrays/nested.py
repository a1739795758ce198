"""Inputs and outputs of a model: an array, or a dict, list, tuple or dataclass of arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

Nested = Any  # an array or tensor; a dict, list, (named) tuple or dataclass of Nested; or None


def entries(data: Nested) -> Iterable[tuple[Any, Any]] | None:
    """Names and values of what `data` holds; None where it is an array, or nothing.

    Names are the keys of a dict, the fields of a named tuple or dataclass, else positions.
    """
    if isinstance(data, Mapping):
        return data.items()
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return zip(data._fields, data, strict=True)
    if isinstance(data, (list, tuple)):
        return enumerate(data)
    if dataclasses.is_dataclass(data) and not isinstance(data, type):
        return [(field.name, getattr(data, field.name)) for field in dataclasses.fields(data)]
    return None


def is_named(data: Nested) -> bool:
    """Whether what `data` holds has names, not only positions."""
    return entries(data) is not None and (
        not isinstance(data, (list, tuple)) or hasattr(data, "_fields")
    )


def map_nested(function: Callable[[Any], Any], data: Nested) -> Nested:
    """Apply `function` to every leaf. Dicts and dataclasses become dicts, tuples without names lists."""
    items = entries(data)
    if items is None:
        return None if data is None else function(data)
    mapped = {name: map_nested(function, value) for name, value in items}
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*mapped.values())
    return list(mapped.values()) if isinstance(data, (list, tuple)) else mapped


def leaves(data: Nested, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (path, leaf): the path is the names or positions joined by "/", "" for a lone leaf.

    None is left out: models return it in place of what they have not computed.
    """
    items = entries(data)
    if items is None:
        if data is not None:
            yield path, data
        return
    for name, value in items:
        yield from leaves(value, f"{path}/{name}" if path else str(name))


def n_rows(data: Nested) -> int:
    """Length of the batch axis of the first leaf."""
    return int(next(leaves(data))[1].shape[0])


def take(data: Nested, rows: Any) -> Nested:
    """Rows (a slice or an index array) of every leaf."""
    return map_nested(lambda leaf: leaf[rows], data)


def concatenate(parts: Sequence[Nested]) -> Nested:
    """The rows of several batches of numpy arrays, all of one structure, in one."""
    items = entries(parts[0])
    if items is None:
        return np.concatenate(parts)
    columns = {
        name: concatenate([dict(entries(part) or ())[name] for part in parts]) for name, _ in items
    }
    return list(columns.values()) if isinstance(parts[0], (list, tuple)) else columns
