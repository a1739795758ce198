"""Linear layers at each position."""

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
    rule_for,
)
from kipoi_mcdropout.engine.incremental.windows import BlockContext, Window


class LinearPerPosition(Rule):
    """delta @ weight along the last channel axis; weight, shape=(in, out)."""

    label = "difference x weights"

    def __init__(self, node: Node, source: int, before: Layout, layout: Layout, weight: Tensor) -> None:
        super().__init__(node, [source], layout)
        self.before, self.weight = before, weight.contiguous()

    def run(self, context: BlockContext, key: Key, sources: list[Key], windows: list[Window]) -> Window:
        """See Rule."""
        delta = channel_shape(self.before, context.delta(sources[0], windows[0]))
        rows = delta.reshape(-1, delta.shape[-1])
        few = context.few_channels(rows, self.weight.shape[1])
        result = delta @ self.weight if few is None else few.times(self.weight)
        return Window(delta=result.reshape(*delta.shape[:3], -1), clean=True)

    def flops(self, widths: list[float], width: int) -> float:
        """See Rule."""
        return 2.0 * width * self.before.n_channels * self.weight.shape[1]


@rule_for("linear", "matmul")
def _linear(node: Node, builder: Builder) -> Rule:
    source = builder.only_source(node)
    weight = linear_weight(node, builder)
    layout = builder.layouts[source]
    last = len(layout.groups) - 1
    if not layout.alone(last, "channel"):
        raise NoRule("works along the positions")
    return LinearPerPosition(node, source, layout, layout.with_channels(last, weight.shape[1]), weight)


def linear_weight(node: Node, builder: Builder) -> Tensor:
    """Weights of a linear operation, shape=(in, out), perhaps transposed; NoRule if it is none."""
    arguments = builder.arguments(node)
    if node.name == "linear":
        x, weight = arguments["input"], arguments["weight"]
        weight = weight.t() if isinstance(weight, Tensor) and weight.dim() == 2 else None
    elif node.name == "addmm":
        x, weight = arguments["mat1"], arguments["mat2"]
        if (arguments["beta"], arguments["alpha"]) != (1, 1):
            raise NoRule("scaled addmm")
    elif node.name in ("mm", "matmul"):
        x, weight = arguments["self"], arguments.get("mat2", arguments.get("other"))
    else:
        raise NoRule("is not linear")
    if not builder.is_local(x) or not isinstance(weight, Tensor) or weight.dim() != 2:
        raise NoRule("the weights are not a constant matrix")
    return weight
