"""Operations over all positions, where windows end; their result is computed from the windows."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kipoi_mcdropout.engine.incremental.costs import MOVED
from kipoi_mcdropout.engine.incremental.graph import Node
from kipoi_mcdropout.engine.incremental.layout import Layout
from kipoi_mcdropout.engine.incremental.rules.base import Builder, Key, NoRule, dim_of
from kipoi_mcdropout.engine.incremental.rules.linear import linear_weight
from kipoi_mcdropout.engine.incremental.windows import BlockContext, Window


class Exit:
    """Turns the windows of one node into whole results, one row per mutant."""

    label = ""

    def __init__(self, node: Node, source: int, layout: Layout) -> None:
        self.node, self.source, self.layout = node, source, layout

    def cost(self, width: float) -> float:
        """Work per mutant and draw, as in costs.py."""
        return MOVED * width * self.layout.n_channels


class FlatLinear(Exit):
    """A linear layer over all positions and channels: only the changed inputs are multiplied.

    `weight`, shape=(positions, channels, outputs).
    """

    label = "changed inputs x weights"

    def __init__(self, node: Node, source: int, layout: Layout, weight: Tensor) -> None:
        super().__init__(node, source, layout)
        axes = layout.groups[-1]
        split = weight.reshape(*[axis.size for axis in axes], weight.shape[1])
        at = next(i for i, axis in enumerate(axes) if axis.kind == "position")
        moved = split.movedim(at, 0)
        self.weight = moved.reshape(layout.n_positions, layout.n_channels, -1).contiguous()

    def cost(self, width: float) -> float:
        """See Exit."""
        per_position = self.layout.n_channels
        return 2.0 * width * per_position * self.weight.shape[2] + MOVED * width * per_position


class Reduce(Exit):
    """Sum, mean or maximum over all positions.

    The maximum of a mutant is that of its window and of the reference's on either side of it.
    """

    label = "window against the rest of the reference"

    def __init__(self, node: Node, source: int, layout: Layout, kind: str) -> None:
        super().__init__(node, source, layout)
        self.kind = kind

    def run(self, context: BlockContext, key: Key, window: Window, reference: Tensor) -> Tensor:
        """Result, shape=(draws, mutants, channels).

        Parameters
        ----------
        reference : Tensor, shape=(draws, references, ...)
            The operation's result for the references.
        """
        if self.kind == "max":
            return self._maximum(context, key, window)
        total = context.delta(key, window).sum(dim=2)
        if self.kind == "mean":
            total = total / self.layout.n_positions
        owner = torch.from_numpy(context.owner).to(total.device)
        return reference.flatten(2)[:, owner] + total

    def _maximum(self, context: BlockContext, key: Key, window: Window) -> Tensor:
        place = context.places[key]
        new, outside = context.new(key, window), place.outside(context.device)
        if len(outside):
            new = new.clone()
            new.view(new.shape[0], -1, new.shape[3]).index_fill_(1, outside, -math.inf)
        full = context.reference(*key)
        best = new.amax(dim=2)
        edge = full.new_full((*full.shape[:2], 1, full.shape[3]), -math.inf)
        before = torch.cat([edge, full.cummax(dim=2)[0]], dim=2)
        after = torch.cat([edge, full.flip(2).cummax(dim=2)[0]], dim=2)
        owner = torch.from_numpy(context.owner).to(full.device)
        start = torch.from_numpy(place.start).to(full.device).clamp(0, place.length)
        end = torch.from_numpy(place.start + place.width).to(full.device).clamp(0, place.length)
        best = torch.maximum(best, before[:, owner, start])
        return torch.maximum(best, after[:, owner, place.length - end])


_REDUCTIONS = {"mean": "mean", "sum": "sum", "amax": "max"}


def exit_for(node: Node, builder: Builder) -> Exit:
    """The exit at a node, or NoRule."""
    if node.name in ("linear", "mm", "matmul", "addmm"):
        return _flat_linear(node, builder)
    if node.name in _REDUCTIONS or node.name.startswith("adaptive_avg_pool"):
        return _reduction(node, node, builder)
    if node.name == "getitem" and node.args[1] == 0:
        whole = builder.nodes[node.args[0].index]
        if whole.name == "max" or whole.name.startswith("adaptive_max_pool"):
            return _reduction(node, whole, builder)
    raise NoRule("")


def _flat_linear(node: Node, builder: Builder) -> Exit:
    source = builder.only_source(node)
    weight = linear_weight(node, builder)
    layout = builder.layouts[source]
    if len(layout.groups) < 2 or not layout.alone(0, "batch") or any(layout.groups[1:-1]):
        raise NoRule("some positions are not multiplied")
    if layout.dim_of("position") != len(layout.groups) - 1:
        raise NoRule("some positions are not multiplied")
    return FlatLinear(node, source, layout, weight)


def _reduction(node: Node, whole: Node, builder: Builder) -> Exit:
    source = builder.only_source(whole)
    arguments = builder.arguments(whole)
    layout = builder.layouts[source]
    if not layout.alone(0, "batch"):
        raise NoRule("the batch is not the first axis")
    position = layout.dim_of("position")
    if not layout.alone(position, "position"):
        raise NoRule("positions and channels are one axis")
    kind = _REDUCTIONS.get(whole.name, "max" if "max" in whole.name else "mean")
    if whole.name.startswith("adaptive"):
        assert node.shape is not None
        if node.shape[position] != 1:
            raise NoRule("windows of unequal size")
        return Reduce(node, source, layout, kind)
    dims = arguments.get("dim")
    dims = [dims] if isinstance(dims, int) else dims
    if not dims or isinstance(arguments.get("dtype"), torch.dtype):
        raise NoRule("reduces everything, or changes the dtype")
    reduced = {dim_of(d, layout) for d in dims}
    others = reduced - {position}
    if position not in reduced or any(layout.groups[d] for d in others):
        raise NoRule("reduces positions together with other axes")
    return Reduce(node, source, layout, kind)
