"""Operations over all positions, where windows end; their result is computed from the windows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kipoi_mcdropout.engine.incremental.costs import MOVED
from kipoi_mcdropout.engine.incremental.graph import Node
from kipoi_mcdropout.engine.incremental.layout import Layout, from_canonical, to_canonical
from kipoi_mcdropout.engine.incremental.rules.base import (
    Builder,
    Key,
    NoRule,
    dim_of,
    known_int,
)
from kipoi_mcdropout.engine.incremental.rules.linear import linear_weight
from kipoi_mcdropout.engine.incremental.windows import BlockContext, Window, clear_outside


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
    """Sum, mean, maximum or logsumexp over all positions.

    The maximum of a mutant is that of its window and of the reference's on either side of it, and so is
    its logsumexp.
    """

    label = "window against the rest of the reference"

    def __init__(self, node: Node, source: int, layout: Layout, kind: str) -> None:
        super().__init__(node, source, layout)
        self.kind = kind

    @property
    def on_values(self) -> bool:
        """Whether it takes values and looks at the reference beside the windows; else differences."""
        return self.kind in ("max", "logsumexp")

    def run(self, context: BlockContext, key: Key, window: Window, reference: Tensor) -> Tensor:
        """Result, shape=(draws, mutants, results).

        Parameters
        ----------
        reference : Tensor, shape=(draws, references, ...)
            The operation's result for the references.
        """
        if self.on_values:
            return self._around(context, key, window)
        total = context.delta(key, window).sum(dim=2)
        if self.kind == "mean":
            total = total / self.layout.n_positions
        owner = torch.from_numpy(context.owner).to(total.device)
        return reference.flatten(2)[:, owner] + total

    def _around(self, context: BlockContext, key: Key, window: Window) -> Tensor:
        """Of the values on the windows, and of the reference's before and after them."""
        running, join, within = _AROUND[self.kind]
        place = context.places[key]
        new, outside = context.new(key, window), place.outside(context.device)
        if len(outside):
            new = clear_outside(new.clone(), outside, -math.inf)
        full = context.reference(*key)
        edge = full.new_full((*full.shape[:2], 1, full.shape[3]), -math.inf)
        before = torch.cat([edge, running(full)], dim=2)
        after = torch.cat([edge, running(full.flip(2))], dim=2)
        owner = torch.from_numpy(context.owner).to(full.device)
        start = torch.from_numpy(place.start).to(full.device).clamp(0, place.length)
        end = torch.from_numpy(place.start + place.width).to(full.device).clamp(0, place.length)
        best = join(within(new), before[:, owner, start])
        best = join(best, after[:, owner, place.length - end])
        assert isinstance(best, Tensor)
        return best


class CropRows(Reduce):
    """Some positions as whole rows: the reference's with the windows put in.

    What follows takes these positions, which are few, and not all that the windows lie in.
    """

    label = "window put into the positions that are taken"

    def __init__(self, node: Node, source: int, layout: Layout, begin: int, after: Layout) -> None:
        super().__init__(node, source, layout, "crop")
        self.begin, self.after = begin, after  # first position; layout of the result

    def run(self, context: BlockContext, key: Key, window: Window, reference: Tensor) -> Tensor:
        """See Reduce."""
        place, n = context.places[key], self.after.n_positions
        delta = context.delta(key, window)
        draws, mutants, _, channels = delta.shape
        owner = torch.from_numpy(context.owner).to(delta.device)
        n_draws, n_references = reference.shape[:2]
        own = to_canonical(reference, self.after, n_draws * n_references)
        own = own.reshape(n_draws, n_references, n, channels)[:, owner]
        rows = own.expand(draws, *own.shape[1:]).clone().flatten(1, 2)
        at = place.positions() - self.begin
        inside = (at >= 0) & (at < n)
        target = (np.arange(mutants)[:, None] * n + at)[inside]
        source = np.flatnonzero(inside.ravel())
        picked = delta.flatten(1, 2).index_select(1, torch.from_numpy(source).to(delta.device))
        rows.index_add_(1, torch.from_numpy(target).to(delta.device), picked)
        whole = from_canonical(rows.reshape(draws * mutants, n, channels), self.after)
        return whole.reshape(draws, mutants, -1)

    def cost(self, width: float) -> float:
        """See Exit."""
        return MOVED * (width + self.after.n_positions) * self.layout.n_channels


def _cummax(x: Tensor) -> Tensor:
    return x.cummax(dim=2)[0]


def _logcumsumexp(x: Tensor) -> Tensor:
    return torch.logcumsumexp(x, dim=2)


# Of a reduction along the positions: its running results, two results joined, and the whole.
_AROUND: dict[str, tuple[Any, Any, Any]] = {
    "max": (_cummax, torch.maximum, lambda x: x.amax(dim=2)),
    "logsumexp": (_logcumsumexp, torch.logaddexp, lambda x: torch.logsumexp(x, dim=2)),
}
_REDUCTIONS = {"mean": "mean", "sum": "sum", "amax": "max", "logsumexp": "logsumexp"}


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
    if node.name in ("narrow", "slice"):
        return _crop(node, builder)
    raise NoRule("")


def _crop(node: Node, builder: Builder) -> Exit:
    source, arguments = builder.only_source(node), builder.arguments(node)
    layout = builder.layouts[source]
    dim = dim_of(arguments["dim"], layout)
    assert node.shape is not None
    if not layout.alone(dim, "position") or not layout.alone(0, "batch"):
        raise NoRule("")
    if node.name == "slice" and arguments["step"] != 1:
        raise NoRule("takes positions in steps")
    length, n = layout.n_positions, known_int(node.shape[dim])
    begin = known_int(arguments["start"] or 0)
    begin = max(begin + length, 0) if begin < 0 else min(begin, length)
    if n == 0:
        raise NoRule("takes no position")
    return CropRows(node, source, layout, begin, layout.with_positions(n))


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
