"""Rows of a table by whole numbers: an embedding of tokens, or one-hot vectors made of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from kipoi_mcdropout.engine.incremental.graph import Node
from kipoi_mcdropout.engine.incremental.layout import Axis, Layout
from kipoi_mcdropout.engine.incremental.rules.base import (
    Builder,
    Key,
    NoRule,
    Rule,
    known_int,
    rule_for,
)
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
        table = self.table.to(new.device)
        delta = table[new[..., 0]] - table[old[..., 0]]
        return Window(delta=delta.flatten(3) if delta.dim() > 3 else delta[..., None])


@rule_for("embedding")
def _embedding(node: Node, builder: Builder) -> Rule:
    arguments = builder.arguments(node)
    if not isinstance(arguments["weight"], Tensor):
        raise NoRule("the table is not a constant")
    return lookup(node, builder, arguments["weight"], [arguments["indices"]])


@rule_for("one_hot")
def _one_hot(node: Node, builder: Builder) -> Rule:
    arguments = builder.arguments(node)
    table = torch.eye(known_int(arguments["num_classes"]), dtype=torch.int64)
    return lookup(node, builder, table, [arguments["self"]])


class AsFloat(Rule):
    """Whole numbers as floating-point ones, which hold them exactly."""

    label = "difference in another type"
    whole = False

    def __init__(self, node: Node, source: int, layout: Layout, dtype: torch.dtype) -> None:
        super().__init__(node, [source], layout)
        self.dtype = dtype

    def run(self, context: BlockContext, key: Key, sources: list[Key], windows: list[Window]) -> Window:
        """See Rule."""
        return Window(delta=context.delta(sources[0], windows[0]).to(self.dtype), clean=True)


def as_float(node: Node, builder: Builder, source: int) -> Rule | None:
    """Rule of a cast of whole numbers to float32 or float64; None of another one."""
    dtype = builder.arguments(node).get("dtype")
    if source not in builder.whole or dtype not in (torch.float32, torch.float64):
        return None
    return AsFloat(node, source, builder.layouts[source], dtype)


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
