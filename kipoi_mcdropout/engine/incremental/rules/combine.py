"""Operations on several local tensors: residual adds, gates, concatenation."""

from __future__ import annotations

import torch
from torch import Tensor

from kipoi_mcdropout.engine.incremental.graph import Node, Ref
from kipoi_mcdropout.engine.incremental.layout import Axis, Layout
from kipoi_mcdropout.engine.incremental.rules.base import (
    Builder,
    Key,
    NoRule,
    Rule,
    channel_shape,
    dim_of,
    rule_for,
)
from kipoi_mcdropout.engine.incremental.windows import BlockContext, Window, embed


class Sum(Rule):
    """a + alpha * b: the differences are added on the window that covers both."""

    label = "differences added"

    def __init__(self, node: Node, sources: list[int], layout: Layout, alpha: float) -> None:
        super().__init__(node, sources, layout)
        self.alpha = alpha

    def run(self, context: BlockContext, key: Key, sources: list[Key], windows: list[Window]) -> Window:
        """See Rule."""
        place = context.places[key]
        a, b = (context.delta(k, w) for k, w in zip(sources, windows, strict=True))
        a_at, b_at = place.offsets
        if sources[0] != sources[1]:
            if b.shape[2] == place.width and self.alpha == 1:
                a, b, a_at, b_at, sources = b, a, b_at, a_at, sources[::-1]
            wide = a.shape[2] == place.width and a.shape[3] >= b.shape[3]
            if wide and context.may_overwrite(sources[0]) and a.shape[0] >= b.shape[0]:
                a[:, :, b_at : b_at + b.shape[2]].add_(b, alpha=self.alpha)
                return Window(delta=a, clean=True)
        total = embed(a, a_at, place.width)
        return Window(delta=torch.add(total, embed(b, b_at, place.width), alpha=self.alpha), clean=True)


class Pair(Rule):
    """An operation of two local tensors that is not linear, e.g. a gate: values on the window."""

    label = "values on the window"
    on_values = True
    looks_around = True

    def run(self, context: BlockContext, key: Key, sources: list[Key], windows: list[Window]) -> Window:
        """See Rule."""
        place = context.places[key]
        values = []
        for source, window, at in zip(sources, windows, place.offsets, strict=True):
            value = context.new(source, window)
            if at or value.shape[2] != place.width:
                whole = context.reference_window(source, -at, place.width)
                if whole.shape[0] < value.shape[0]:
                    whole = whole.repeat(value.shape[0], 1, 1, 1)
                value = embed(value, at, place.width, out=whole)
            values.append(value)
        assert self.node.target is not None
        return Window(new=self.node.target(*values, *self.node.args[2:], **self.node.kwargs))


def combine_two(node: Node, builder: Builder, a: Ref, b: Ref) -> Rule:
    """Rule of an operation with two local tensors."""
    layout = _common(builder.layouts[a.index], builder.layouts[b.index])
    if builder.lanes[a.index] != builder.lanes[b.index]:
        raise NoRule("combines batches of different size")
    sources = [a.index, b.index]
    if node.name in ("add", "sub"):
        alpha = builder.arguments(node).get("alpha", 1)
        return Sum(node, sources, layout, float(-alpha if node.name == "sub" else alpha))
    return Pair(node, sources, layout)


def _common(a: Layout, b: Layout) -> Layout:
    """Layout of two tensors that are equal but for channel axes of size 1 in one of them."""
    if a == b:
        return a
    small, large = (a, b) if a.n_channels == 1 else (b, a)
    if len(a.groups) == len(b.groups) and small.n_channels == 1:
        where = [(small.dim_of(kind), large.dim_of(kind)) for kind in ("batch", "position")]
        if all(i == j for i, j in where) and small.n_positions == large.n_positions:
            return large
    raise NoRule("combines tensors of different layout")


class Concatenation(Rule):
    """Channels of several local tensors one after the other, on the window that covers all."""

    label = "differences side by side"

    def run(self, context: BlockContext, key: Key, sources: list[Key], windows: list[Window]) -> Window:
        """See Rule."""
        return Window(delta=torch.cat(self._parts(context, key, sources, windows), dim=3), clean=True)

    def _parts(
        self, context: BlockContext, key: Key, sources: list[Key], windows: list[Window]
    ) -> list[Tensor]:
        """Differences on the same window, for the same draws."""
        place = context.places[key]
        parts = [
            embed(context.delta(k, w), at, place.width)
            for k, w, at in zip(sources, windows, place.offsets, strict=True)
        ]
        draws = max(part.shape[0] for part in parts)
        return [part.expand(draws, *part.shape[1:]) for part in parts]


class Stack(Concatenation):
    """Tensors of the same layout along a new channel axis."""

    def __init__(self, node: Node, sources: list[int], before: Layout, layout: Layout, dim: int) -> None:
        super().__init__(node, sources, layout)
        self.before, self.axis = before, 3 + layout.channel_index(dim)

    def run(self, context: BlockContext, key: Key, sources: list[Key], windows: list[Window]) -> Window:
        """See Rule."""
        parts = self._parts(context, key, sources, windows)
        stacked = torch.stack([channel_shape(self.before, part) for part in parts], dim=self.axis)
        return Window(delta=stacked.reshape(*parts[0].shape[:3], -1), clean=True)


class Lanes(Rule):
    """Batches one after the other: each keeps its own windows."""

    label = "batch doubled: windows kept apart"
    passes_on = True
    aliases = True

    def run(self, context: BlockContext, key: Key, sources: list[Key], windows: list[Window]) -> Window:
        """See Rule."""
        return windows[0].copy()


@rule_for("cat", "concat", "concatenate")
def _cat(node: Node, builder: Builder) -> Rule:
    arguments = builder.arguments(node)
    refs = arguments["tensors"]
    if not all(builder.is_local(ref) for ref in refs):
        raise NoRule("concatenates with something that is not local")
    layouts = [builder.layouts[ref.index] for ref in refs]
    sources = [ref.index for ref in refs]
    dim = dim_of(arguments["dim"], layouts[0])
    if layouts[0].alone(dim, "batch"):
        if any(layout != layouts[0] for layout in layouts):
            raise NoRule("concatenates tensors of different layout")
        return Lanes(node, sources, layouts[0])
    if len({builder.lanes[s] for s in sources}) > 1:
        raise NoRule("concatenates batches of different size")
    rest = [Layout((*x.groups[:dim], *x.groups[dim + 1 :])) for x in layouts]
    if any(r != rest[0] for r in rest) or rest[0].channels:
        raise NoRule("concatenates along the positions or one of several channel axes")
    if any([a.kind for a in x.groups[dim]] not in ([], ["channel"]) for x in layouts):
        raise NoRule("concatenates along the positions")
    total = sum(layout.size(dim) for layout in layouts)
    groups = list(layouts[0].groups)
    groups[dim] = (Axis("channel", total),)
    return Concatenation(node, sources, Layout(tuple(groups)))


@rule_for("stack")
def _stack(node: Node, builder: Builder) -> Rule:
    arguments = builder.arguments(node)
    refs = arguments["tensors"]
    if not all(builder.is_local(ref) for ref in refs):
        raise NoRule("stacks something that is not local")
    sources = [ref.index for ref in refs]
    before = builder.layouts[sources[0]]
    if any(builder.layouts[source] != before for source in sources):
        raise NoRule("stacks tensors of different layout")
    if len({builder.lanes[source] for source in sources}) > 1:
        raise NoRule("stacks batches of different size")
    dim = arguments["dim"] % (len(before.groups) + 1)
    groups = list(before.groups)
    groups.insert(dim, (Axis("channel", len(refs)),) if len(refs) > 1 else ())
    layout = Layout(tuple(groups))
    return Stack(node, sources, before, layout, dim)
