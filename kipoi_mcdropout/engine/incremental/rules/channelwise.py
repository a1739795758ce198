"""Operations that look at all channels of one position: softmax, layer norm, GLU, sums."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kipoi_mcdropout.engine.incremental.graph import Node
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
from kipoi_mcdropout.engine.incremental.windows import BlockContext, Window


class AlongChannels(Rule):
    """The operation itself, on the values of the window, along one of the channel axes."""

    label = "values on the window"
    on_values = True

    def __init__(self, node: Node, source: int, before: Layout, layout: Layout, dim: int) -> None:
        super().__init__(node, [source], layout)
        self.before = before
        self.axis = 3 + before.channel_index(dim)

    def run(self, context: BlockContext, key: Key, sources: list[Key], windows: list[Window]) -> Window:
        """See Rule."""
        value = channel_shape(self.before, context.new(sources[0], windows[0]))
        dim: Any = [self.axis] if self.node.name in ("sum", "mean", "amax", "amin") else self.axis
        assert self.node.target is not None
        result = self.node.target(value, dim, *self.node.args[2:], **self.node.kwargs)
        return Window(new=result.reshape(*value.shape[:3], -1))


@rule_for("softmax", "_softmax", "log_softmax", "_log_softmax", "cumsum")
def _softmax(node: Node, builder: Builder) -> Rule:
    source, layout, dim = _channel_dim(node, builder, "dim")
    if isinstance(builder.arguments(node).get("dtype"), torch.dtype):
        raise NoRule("changes the dtype")
    return AlongChannels(node, source, layout, layout, dim)


@rule_for("glu")
def _glu(node: Node, builder: Builder) -> Rule:
    source, layout, dim = _channel_dim(node, builder, "dim")
    halved = layout.with_channels(dim, layout.size(dim) // 2)
    return AlongChannels(node, source, layout, halved, dim)


@rule_for("sum", "mean", "amax", "amin")
def _reduce(node: Node, builder: Builder) -> Rule:
    arguments = builder.arguments(node)
    dims = arguments.get("dim")
    if isinstance(arguments.get("dtype"), torch.dtype):
        raise NoRule("changes the dtype")
    if not isinstance(dims, (list, tuple)) or len(dims) != 1:
        raise NoRule("reduces several axes")
    source, layout, dim = _channel_dim(node, builder, "dim")
    groups = list(layout.groups)
    if arguments.get("keepdim"):
        groups[dim] = ()
    else:
        del groups[dim]
    return AlongChannels(node, source, layout, Layout(tuple(groups)), dim)


def _channel_dim(node: Node, builder: Builder, name: str) -> tuple[int, Layout, int]:
    source = builder.only_source(node)
    layout = builder.layouts[source]
    dim = builder.arguments(node)[name]
    dim = dim_of(dim[0] if isinstance(dim, (list, tuple)) else dim, layout)
    if not layout.alone(dim, "channel"):
        raise NoRule("works along the positions or the batch")
    return source, layout, dim


class LayerNorm(Rule):
    """Layer norm over all channels of a position."""

    label = "values on the window"
    on_values = True

    def __init__(
        self, node: Node, source: int, layout: Layout, weight: Tensor | None, bias: Tensor | None,
        eps: float,
    ) -> None:  # fmt: skip
        super().__init__(node, [source], layout)
        self.weight, self.bias, self.eps = weight, bias, eps

    def run(self, context: BlockContext, key: Key, sources: list[Key], windows: list[Window]) -> Window:
        """See Rule."""
        value = context.new(sources[0], windows[0])
        shape = [value.shape[-1]]
        return Window(new=F.layer_norm(value, shape, self.weight, self.bias, self.eps))


@rule_for("layer_norm")
def _layer_norm(node: Node, builder: Builder) -> Rule:
    arguments, source = builder.arguments(node), builder.only_source(node)
    layout = builder.layouts[source]
    last = layout.groups[len(layout.groups) - len(arguments["normalized_shape"]) :]
    axes: list[Axis] = [axis for group in last for axis in group]
    if [a.size for a in axes] != list(layout.channels) or any(a.kind != "channel" for a in axes):
        raise NoRule("normalises over positions")

    def flat(x: Tensor | None) -> Tensor | None:
        return None if x is None else x.reshape(-1)

    return LayerNorm(
        node, source, layout, flat(arguments["weight"]), flat(arguments["bias"]), arguments["eps"]
    )


@rule_for("group_norm", "instance_norm")
def _group_norm(_node: Node, _builder: Builder) -> Rule:
    raise NoRule("normalises over positions")
