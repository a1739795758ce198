"""Masks and noise of the model's own code: differences are multiplied by the draw's numbers."""

from __future__ import annotations

from typing import Any

from kipoi_mcdropout.engine.incremental.graph import Affine as BatchSize
from kipoi_mcdropout.engine.incremental.graph import Node
from kipoi_mcdropout.engine.incremental.layout import Layout
from kipoi_mcdropout.engine.incremental.rules.base import Builder, NoRule
from kipoi_mcdropout.engine.incremental.rules.site import SiteRule


class MaskedScale(SiteRule):
    """value * numbers, or value / numbers, where the numbers depend on the masks alone."""

    label = "difference times the mask of the model"

    def __init__(self, node: Node, source: int, layout: Layout, factor: int) -> None:
        super().__init__(node, [source], layout)
        self.factor = factor


def scaled_by_masks(node: Node, builder: Builder, a: Any, b: Any) -> MaskedScale | None:
    """Rule of x * m, m * x and x / m, where m depends on the masks alone; None for others."""
    swapped = node.name == "mul" and builder.is_masked(a)
    local, factor = (b, a) if swapped else (a, b)
    if not builder.is_local(local) or not builder.is_masked(factor):
        return None
    if builder.arguments(node).get("rounding_mode") is not None:
        return None
    layout = builder.layouts[local.index]
    if node.shape != builder.nodes[local.index].shape:
        raise NoRule("is broadcast to more axes")
    _check_shape(builder.nodes[factor.index].shape, layout)
    return MaskedScale(node, local.index, layout, factor.index)


def _check_shape(shape: tuple[Any, ...] | None, layout: Layout) -> None:
    """NoRule unless the numbers lie over the axes of a layout, one row for each input, or for all."""
    batch = layout.dim_of("batch")
    if shape is None or len(layout.groups[batch]) != 1:
        raise NoRule("the batch is not an axis of its own")
    first = len(layout.groups) - len(shape)
    for i, size in enumerate(shape):
        if isinstance(size, BatchSize) != (first + i == batch) and size != 1:
            raise NoRule("a mask lies across the batch")
