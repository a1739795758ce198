"""A model's forward pass as a list of operations, valid for a batch of any size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kipoi_mcdropout.dropout.call import MASK_KINDS, NOISE_KINDS


@dataclass(frozen=True)
class Ref:
    """An argument that is the result of another node."""

    index: int


class Affine(NamedTuple):
    """An integer that depends on the number n of inputs: slope * n + base."""

    slope: int
    base: int

    def at(self, n: int) -> int:
        """Value for a batch of n."""
        return self.slope * n + self.base


@dataclass(frozen=True)
class Drop:
    """A dropout call: what `DropoutCall` needs beside the tensor."""

    site: int
    kind: str
    p: float
    by_channel: bool
    alpha: bool

    @property
    def own(self) -> bool:
        """Whether the model's own code makes the random numbers; they depend on no input."""
        return self.kind in (*MASK_KINDS, *NOISE_KINDS)


@dataclass(eq=False)
class Node:
    """One operation.

    `target` is an ATen operator; None for an input of the model (`path` tells which) and for a
    dropout site (`drop`), whose only argument is what units are dropped from: the result of a node, or a
    tensor of the model that does not come from the inputs (weights, a position code).
    """

    index: int
    name: str  # of the operation, e.g. "conv1d", or "input", "site"
    target: Callable[..., Any] | None
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    shape: tuple[int | Affine, ...] | None  # None where the result is several tensors
    module: str = ""  # that made the call
    path: str = ""
    drop: Drop | None = None
    users: list[int] = field(default_factory=list)

    def inputs(self) -> list[int]:
        """Indices of the nodes whose results this one takes, in order, with repeats."""
        return [ref.index for ref in walk((self.args, self.kwargs)) if isinstance(ref, Ref)]


@dataclass(eq=False)
class Graph:
    """Nodes in the order of execution, and the nested result of the model made of `Ref`s.

    `reads_weights` says whether the model's code looks at the values of its weights, so that another
    network of the same code may have another graph.
    """

    nodes: list[Node]
    output: Any
    input_paths: dict[str, int]
    reads_weights: bool = False

    def output_indices(self) -> list[int]:
        """Nodes that are outputs of the model, in the order of `outputs.flatten_outputs`."""
        return [ref.index for ref in walk(self.output) if isinstance(ref, Ref)]


def walk(data: Any) -> Iterator[Any]:
    """All leaves of nested lists, tuples and dicts; `Ref` and `Affine` are leaves."""
    if isinstance(data, (list, tuple)) and not isinstance(data, Affine):
        for value in data:
            yield from walk(value)
    elif isinstance(data, dict):
        for value in data.values():
            yield from walk(value)
    else:
        yield data


def map_leaves(function: Callable[[Any], Any], data: Any) -> Any:
    """Apply `function` to all leaves of nested lists, tuples and dicts."""
    if isinstance(data, Affine):
        return function(data)
    if isinstance(data, list):
        return [map_leaves(function, value) for value in data]
    if isinstance(data, tuple):
        return tuple(map_leaves(function, value) for value in data)
    if isinstance(data, dict):
        return {key: map_leaves(function, value) for key, value in data.items()}
    return function(data)


def resolve(data: Any, n: int, values: dict[int, Any]) -> Any:
    """Arguments of a node for a batch of n, with the results of the nodes before it put in."""

    def leaf(value: Any) -> Any:
        if isinstance(value, Ref):
            return values[value.index]
        return value.at(n) if isinstance(value, Affine) else value

    return map_leaves(leaf, data)


def link_users(nodes: list[Node], outputs: list[int]) -> list[Node]:
    """Fill in `users`, leaving out nodes that no output needs. Returns the nodes that stay."""
    needed = set(outputs)
    for node in reversed(nodes):
        if node.index in needed:
            needed.update(node.inputs())
    kept = [node for node in nodes if node.index in needed or node.target is None]
    by_index = {node.index: node for node in kept}
    for node in kept:
        node.users.clear()
    for node in kept:
        if node.index in needed:
            for index in dict.fromkeys(node.inputs()):
                by_index[index].users.append(node.index)
    return kept
