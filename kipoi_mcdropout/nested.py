"""Inputs and outputs of a model as Kipoi has them: an array, or a dict, list or tuple of arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Nested = Any  # an array or tensor, or a dict/list/tuple of Nested


def map_nested(function: Callable[[Any], Any], data: Nested) -> Nested:
    """Apply `function` to every leaf."""
    if isinstance(data, Mapping):
        return {key: map_nested(function, value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [map_nested(function, value) for value in data]
    return function(data)


def leaves(data: Nested, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (path, leaf): the path is the keys or positions joined by "/", "" for a lone leaf."""
    if isinstance(data, Mapping):
        items: Any = data.items()
    elif isinstance(data, (list, tuple)):
        items = enumerate(data)
    else:
        yield path, data
        return
    for key, value in items:
        yield from leaves(value, f"{path}/{key}" if path else str(key))


def n_rows(data: Nested) -> int:
    """Length of the batch axis of the first leaf."""
    return int(next(leaves(data))[1].shape[0])


def take(data: Nested, rows: Any) -> Nested:
    """Rows (a slice or an index array) of every leaf."""
    return map_nested(lambda leaf: leaf[rows], data)
