"""Positions and channels in reverse order."""

from __future__ import annotations

from torch import Tensor

from kipoi_mcdropout.engine.incremental.graph import Node
from kipoi_mcdropout.engine.incremental.layout import Layout
from kipoi_mcdropout.engine.incremental.rules.base import (
    Builder,
    Key,
    NoRule,
    Rule,
    channel_shape,
    dim_of,
    rule_for,
)
from kipoi_mcdropout.engine.incremental.rules.shape import ChannelView
from kipoi_mcdropout.engine.incremental.windows import BlockContext, Ints, Span, Window


class Flip(Rule):
    """Positions in reverse order."""

    label = "window mirrored"
    passes_on = True

    def span(self, spans: list[Span]) -> Span:
        """See Rule."""
        length = self.layout.n_positions
        return Span(length - spans[0].end, length - spans[0].start)

    def offsets(self, spans: list[Span], out: Span) -> list[Ints]:
        """The window is the same, mirrored."""
        return [out.start * 0]

    def run(self, context: BlockContext, key: Key, sources: list[Key], windows: list[Window]) -> Window:
        """See Rule."""
        window = windows[0]
        if window.delta is not None:
            return Window(delta=window.delta.flip(2), clean=window.clean)
        assert window.new is not None
        return Window(new=window.new.flip(2))


class FlipBoth(Flip):
    """Positions and channels in reverse order: the reverse complement of one-hot DNA."""

    def __init__(self, node: Node, source: int, layout: Layout, dims: list[int]) -> None:
        super().__init__(node, [source], layout)
        axes = [3 + layout.channel_index(d) for d in dims]

        def flip(x: Tensor) -> Tensor:
            return channel_shape(layout, x).flip([2, *axes]).reshape(x.shape)

        self.flip = flip

    def run(self, context: BlockContext, key: Key, sources: list[Key], windows: list[Window]) -> Window:
        """See Rule."""
        window = windows[0]
        if window.delta is not None:
            return Window(delta=self.flip(window.delta), clean=window.clean)
        assert window.new is not None
        return Window(new=self.flip(window.new))


@rule_for("flip")
def _flip(node: Node, builder: Builder) -> Rule:
    source = builder.only_source(node)
    layout = builder.layouts[source]
    dims = [dim_of(d, layout) for d in builder.arguments(node)["dims"]]
    channels = [d for d in dims if layout.alone(d, "channel")]
    positions = [d for d in dims if layout.alone(d, "position")]
    empty = [d for d in dims if not layout.groups[d]]
    if len(channels) + len(positions) + len(empty) != len(dims):
        raise NoRule("flips the batch")
    if positions:
        if channels:
            return FlipBoth(node, source, layout, channels)
        return Flip(node, [source], layout)
    axes = [3 + layout.channel_index(d) for d in channels]

    def flip(x: Tensor) -> Tensor:
        return channel_shape(layout, x).flip(axes).reshape(x.shape)

    return ChannelView(node, source, layout, flip)
