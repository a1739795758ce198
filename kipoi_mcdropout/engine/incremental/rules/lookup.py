"""Rows of a table by whole numbers: an embedding of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from kipoi_mcdropout.engine.incremental.graph import Node
from kipoi_mcdropout.engine.incremental.layout import Axis, Layout
from kipoi_mcdropout.engine.incremental.rules.base import Builder, Key, NoRule, Rule, rule_for
from kipoi_mcdropout.engine.incremental.windows import BlockContext, Window


class Lookup(Rule):
    """The row of the mutant's token less the row of the reference's."""

    label = "difference of table rows"
    looks_around = True

    def __init__(self, node: Node, source: int, layout: Layout, table: Tensor) -> None:
        super().__init__(node, [source], layout)
        self.table = table
        self.whole = not table.is_floating_point()

    def run(self, context: BlockContext, key: Key, sources: list[Key], windows: list[Window]) -> Window:
        """See Rule."""
        old = context.reference_window(sources[0])
        new = context.new(sources[0], windows[0])
        delta = self.table[new[..., 0]] - self.table[old[..., 0]]
        return Window(delta=delta.flatten(3) if delta.dim() > 3 else delta[..., None])


@rule_for("embedding")
def _embedding(node: Node, builder: Builder) -> Rule:
    arguments = builder.arguments(node)
    if not isinstance(arguments["weight"], Tensor):
        raise NoRule("the table is not a constant")
    return lookup(node, builder, arguments["weight"], [arguments["indices"]])


def lookup(node: Node, builder: Builder, table: Tensor, places: Sequence[Any]) -> Rule:
    """Rule of table[places]; NoRule unless the places are local whole numbers, one a position."""
    source = builder.only_source(node)
    before = builder.layouts[source]
    if len(places) != 1 or source not in builder.whole:
        raise NoRule("takes several places, or a mask")
    if before.channels:
        raise NoRule("takes several tokens a position")
    rows = tuple((Axis("channel", size),) if size != 1 else () for size in table.shape[1:])
    return Lookup(node, source, Layout((*before.groups, *rows)), table)
