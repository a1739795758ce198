"""Views and permutations: the positions stay, the channels may be rearranged."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kipoi_mcdropout.engine.incremental.graph import Affine, Node
from kipoi_mcdropout.engine.incremental.layout import Layout
from kipoi_mcdropout.engine.incremental.rules.base import (
    Builder,
    Key,
    NoRule,
    Rule,
    channel_shape,
    rule_for,
)
from kipoi_mcdropout.engine.incremental.rules.pointwise import Identity
from kipoi_mcdropout.engine.incremental.windows import BlockContext, Window


class ChannelView(Rule):
    """Windows whose channels are taken apart, reordered, selected: `function` of the window."""

    label = "channels rearranged"
    passes_on = True
    aliases = True

    def __init__(self, node: Node, source: int, layout: Layout, function: Any) -> None:
        super().__init__(node, [source], layout)
        self.function = function

    def run(self, context: BlockContext, key: Key, sources: list[Key], windows: list[Window]) -> Window:
        """See Rule."""
        window = windows[0]
        if window.delta is not None:
            return Window(delta=self.function(window.delta).contiguous(), clean=window.clean)
        assert window.new is not None
        return Window(new=self.function(window.new).contiguous())

    def flops(self, widths: list[float], width: int) -> float:
        """See Rule."""
        return 0.0


@rule_for("view", "reshape", "flatten", "squeeze", "unsqueeze", "unflatten", "_unsafe_view", "expand")
def _reshape(node: Node, builder: Builder) -> Rule:
    source = builder.only_source(node)
    layout = builder.layouts[source]
    assert node.shape is not None
    if node.name == "unsqueeze":
        dim = builder.arguments(node)["dim"] % len(node.shape)
        groups = list(layout.groups)
        groups.insert(dim, ())
        return Identity(node, [source], Layout(tuple(groups)))
    shape: list[int | None] = []
    for size in node.shape:
        if isinstance(size, Affine):
            if size != Affine(builder.lanes[source], 0):
                raise NoRule("mixes the batch with another axis")
            shape.append(None)
        else:
            shape.append(size)
    after = layout.reshape(shape)
    if after is None or after.n_channels != layout.n_channels:
        raise NoRule("splits the batch or the positions")
    return Identity(node, [source], after)


@rule_for("permute", "transpose", "t", "numpy_T", "swapaxes", "movedim")
def _permute(node: Node, builder: Builder) -> Rule:
    source, arguments = builder.only_source(node), builder.arguments(node)
    layout = builder.layouts[source]
    n = len(layout.groups)
    order = list(range(n))
    if node.name == "permute":
        order = [d % n for d in arguments["dims"]]
    elif node.name in ("transpose", "swapaxes"):
        names = ("dim0", "dim1") if "dim0" in arguments else ("axis0", "axis1")
        i, j = (arguments[name] % n for name in names)
        order[i], order[j] = order[j], order[i]
    elif node.name in ("t", "numpy_T"):
        order = order[::-1]
    else:
        moved_axes = torch.empty(list(range(1, n + 1)), device="meta")
        moved_axes = moved_axes.movedim(arguments["source"], arguments["destination"])
        order = [size - 1 for size in moved_axes.shape]
    after = layout.permute(order)
    numbers = _channel_numbers(layout)
    moved = [c for d in order for c in numbers[d]]
    if moved == sorted(moved):
        return Identity(node, [source], after)

    def reorder(x: Tensor) -> Tensor:
        split = channel_shape(layout, x).permute(0, 1, 2, *[3 + c for c in moved])
        return split.reshape(*x.shape[:3], -1)

    return ChannelView(node, source, after, reorder)


def _channel_numbers(layout: Layout) -> list[list[int]]:
    """For each logical axis the numbers of its channel axes."""
    numbers, count = [], 0
    for group in layout.groups:
        own = [a for a in group if a.kind == "channel"]
        numbers.append(list(range(count, count + len(own))))
        count += len(own)
    return numbers


def along_channel(layout: Layout, dim: int, function: Any) -> Any:
    """`function(x, axis)` of windows along the channel axis at a logical axis."""
    axis = 3 + layout.channel_index(dim)

    def apply(x: Tensor) -> Tensor:
        joined: Tensor = function(channel_shape(layout, x), axis).reshape(*x.shape[:3], -1)
        return joined

    return apply


def pick_channels(node: Node, source: int, layout: Layout, dim: int, indices: list[int]) -> Rule:
    """Some of the channels, by number, along the channel axis at a logical axis."""
    index = torch.tensor(indices, dtype=torch.int64)

    def pick(x: Tensor, axis: int) -> Tensor:
        return x.index_select(axis, index.to(x.device))

    after = layout.with_channels(dim, len(indices))
    return ChannelView(node, source, after, along_channel(layout, dim, pick))
