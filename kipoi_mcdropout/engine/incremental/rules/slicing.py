"""Slices, pads, and parts of a tensor: some of the positions, channels or strands."""

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
    dim_of,
    known_int,
    rule_for,
)
from kipoi_mcdropout.engine.incremental.rules.combine import Lanes
from kipoi_mcdropout.engine.incremental.rules.flip import Flip
from kipoi_mcdropout.engine.incremental.rules.lookup import lookup
from kipoi_mcdropout.engine.incremental.rules.pointwise import Identity
from kipoi_mcdropout.engine.incremental.rules.shape import ChannelView, along_channel, pick_channels
from kipoi_mcdropout.engine.incremental.windows import BlockContext, Ints, Span, Window


class Crop(Rule):
    """Positions [begin, begin + length * step) in steps; also a pad, with a negative begin."""

    label = "window shifted"

    def __init__(self, node: Node, source: int, layout: Layout, begin: int, step: int) -> None:
        super().__init__(node, [source], layout)
        self.begin, self.step = begin, step

    def span(self, spans: list[Span]) -> Span:
        """See Rule."""
        start = -((self.begin - spans[0].start) // self.step)
        return Span(start, (spans[0].end - 1 - self.begin) // self.step + 1)

    def offsets(self, spans: list[Span], out: Span) -> list[Ints]:
        """Position of the first output in the window of the source."""
        return [out.start * self.step + self.begin - spans[0].start]

    def run(self, context: BlockContext, key: Key, sources: list[Key], windows: list[Window]) -> Window:
        """See Rule."""
        place = context.places[key]
        delta = context.delta(sources[0], windows[0])
        at = place.offsets[0]
        part = delta[:, :, at : at + (place.width - 1) * self.step + 1 : self.step]
        if part.shape[2] < place.width:  # nothing that changed is taken
            return Window(delta=delta.new_zeros(*delta.shape[:2], place.width, delta.shape[3]))
        if part.is_contiguous() and not context.may_overwrite(sources[0]):
            part = part.clone()  # what lies outside is cleared in place
        return Window(delta=part.contiguous())

    def flops(self, widths: list[float], width: int) -> float:
        """See Rule."""
        return 0.0


@rule_for("slice", "select", "narrow")
def _slice(node: Node, builder: Builder) -> Rule:
    source, arguments = builder.only_source(node), builder.arguments(node)
    layout = builder.layouts[source]
    dim = dim_of(arguments["dim"], layout)
    assert node.shape is not None
    if node.name == "slice":
        begin, step = arguments["start"] or 0, arguments["step"]
    elif node.name == "narrow":
        begin, step = arguments["start"], 1
    else:
        begin, step = arguments["index"], 1
    if layout.alone(dim, "batch"):
        return _lane_slice(node, builder, source, begin, step)
    if node.name == "select" and not layout.groups[dim]:  # an axis of size 1
        return Identity(node, [source], Layout((*layout.groups[:dim], *layout.groups[dim + 1 :])))
    size, begin = layout.size(dim), known_int(begin)
    begin = max(begin + size, 0) if begin < 0 else min(begin, size)
    if node.name == "slice" and (begin, step, node.shape[dim]) == (0, 1, size):
        return Identity(node, [source], layout)
    if node.name != "select" and layout.alone(dim, "position"):
        return Crop(node, source, layout.with_positions(known_int(node.shape[dim])), begin, step)
    if not layout.alone(dim, "channel"):
        raise NoRule("takes one position")
    if node.name == "select":
        after = Layout((*layout.groups[:dim], *layout.groups[dim + 1 :]))
        return ChannelView(
            node, source, after, along_channel(layout, dim, lambda x, a: x.select(a, begin))
        )
    n = known_int(node.shape[dim])
    indices = range(begin, begin + (n - 1) * step + 1, step)
    return pick_channels(node, source, layout, dim, list(indices))


class LaneSlice(Lanes):
    """One of the batches that stand one after the other."""

    label = "one strand of the batch"

    def __init__(self, node: Node, source: int, layout: Layout, lanes: range) -> None:
        super().__init__(node, [source], layout)
        self.lanes = lanes


def _lane_slice(node: Node, builder: Builder, source: int, begin: Any, step: int) -> Rule:
    assert node.shape is not None
    layout, lanes = builder.layouts[source], builder.lanes[source]
    size = node.shape[layout.dim_of("batch")]
    if node.name == "select" or step != 1 or not isinstance(size, Affine) or size.base:
        raise NoRule("takes some of the inputs of the batch")
    first = begin if isinstance(begin, Affine) else Affine(0, int(begin))
    if first.base or first.slope < 0:
        raise NoRule("takes some of the inputs of the batch")
    if size.slope + first.slope > lanes:
        raise NoRule("takes some of the inputs of the batch")
    return LaneSlice(node, source, layout, range(first.slope, first.slope + size.slope))


@rule_for("getitem")
def _getitem(node: Node, builder: Builder) -> Rule:
    whole = builder.nodes[node.args[0].index]
    if whole.name not in ("chunk", "split", "split_with_sizes", "tensor_split", "unbind"):
        raise NoRule("one of several results")
    arguments = builder.arguments(whole)
    ref = arguments["self"]
    layout = builder.layout(ref)
    dim, position = dim_of(arguments["dim"], layout), node.args[1]
    sizes = [
        builder.nodes[i].shape[dim]  # type: ignore[index]
        for i in sorted(builder.nodes)
        if builder.nodes[i].name == "getitem" and builder.nodes[i].args[0].index == whole.index
    ] if whole.name != "unbind" else []  # fmt: skip
    if whole.name == "unbind":
        raise NoRule("takes an axis apart")
    if layout.alone(dim, "batch"):
        lanes = builder.lanes[ref.index]
        if any(size != Affine(1, 0) for size in sizes) or lanes < 2:
            raise NoRule("takes some of the inputs of the batch")
        return LaneSlice(node, ref.index, layout, range(position, position + 1))
    begin = _part_begin(whole, arguments, layout.size(dim), position)
    assert node.shape is not None
    size = known_int(node.shape[dim])
    if layout.alone(dim, "position"):
        return Crop(node, ref.index, layout.with_positions(size), begin, 1)
    if not layout.alone(dim, "channel"):
        raise NoRule("splits the batch or the positions")
    return pick_channels(node, ref.index, layout, dim, list(range(begin, begin + size)))


def _part_begin(whole: Node, arguments: dict[str, Any], size: int, position: int) -> int:
    """Where a part of a split begins."""
    probe = torch.empty(size, device="meta")
    name = whole.name
    if name == "split_with_sizes":
        parts = list(arguments["split_sizes"])
        return int(sum(parts[:position]))
    if name == "chunk":
        lengths = [len(p) for p in probe.chunk(known_int(arguments["chunks"]))]
    elif name == "split":
        given = arguments.get("split_size", arguments.get("split_sizes"))
        lengths = [len(p) for p in probe.split(given)]
    else:
        raise NoRule("no rule for this kind of split")
    return sum(lengths[:position])


@rule_for("index_select", "index")
def _index(node: Node, builder: Builder) -> Rule:
    source, arguments = builder.only_source(node), builder.arguments(node)
    layout = builder.layouts[source]
    if node.name == "index" and isinstance(arguments["self"], Tensor):
        return lookup(node, builder, arguments["self"], arguments["indices"])
    if node.name == "index_select":
        dim, index = dim_of(arguments["dim"], layout), arguments["index"]
    else:
        given = [(i, x) for i, x in enumerate(arguments["indices"]) if x is not None]
        if len(given) != 1:
            raise NoRule("indexes several axes")
        dim, index = given[0]
    if not isinstance(index, Tensor) or index.dim() != 1 or index.dtype == torch.bool:
        raise NoRule("the index is not a constant list of numbers")
    size = layout.size(dim)
    numbers = [int(i) % size for i in index.tolist()]
    if layout.alone(dim, "position"):
        if numbers == list(range(size - 1, -1, -1)):
            return Flip(node, [source], layout)
        raise NoRule("reorders the positions")
    if not layout.alone(dim, "channel") or len(numbers) < 2:
        raise NoRule("reorders the batch")
    return pick_channels(node, source, layout, dim, numbers)


@rule_for("pad", "constant_pad_nd")
def _pad(node: Node, builder: Builder) -> Rule:
    source, arguments = builder.only_source(node), builder.arguments(node)
    layout = builder.layouts[source]
    if arguments.get("mode", "constant") != "constant":
        raise NoRule("pads with values of the sequence")
    pads = [known_int(p) for p in arguments["pad"]]
    last = len(layout.groups) - 1
    by_dim = {last - i: (pads[2 * i], pads[2 * i + 1]) for i in range(len(pads) // 2)}
    padded = [d for d, both in by_dim.items() if both != (0, 0)]
    if any(not layout.alone(d, "position") for d in padded):
        raise NoRule("pads another axis than the positions")
    if not padded:
        return Identity(node, [source], layout)
    left, right = by_dim[padded[0]]
    return Crop(node, source, layout.with_positions(layout.n_positions + left + right), -left, 1)
