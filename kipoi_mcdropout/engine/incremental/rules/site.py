"""Dropout sites: the difference is multiplied by the draw's mask."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kipoi_mcdropout.dropout.call import DropoutCall
from kipoi_mcdropout.dropout.locked_model import POINT
from kipoi_mcdropout.engine.incremental.graph import Node
from kipoi_mcdropout.engine.incremental.interpret import Masking
from kipoi_mcdropout.engine.incremental.layout import Layout, to_canonical
from kipoi_mcdropout.engine.incremental.masked import Masked
from kipoi_mcdropout.engine.incremental.rules.base import Builder, Key, NoRule, Rule, broadcast, rule_for
from kipoi_mcdropout.engine.incremental.windows import BlockContext, Window


class SiteRule(Rule):
    """delta * keep / (1 - p); for alpha dropout with its own factor."""

    label = "difference times the mask"
    extinguishes = True

    def run(self, context: BlockContext, key: Key, sources: list[Key], windows: list[Window]) -> Window:
        """See Rule."""
        delta = context.delta(sources[0], windows[0])
        factor = broadcast(context, key, context.masks(self.node))
        if delta.shape[0] < factor.shape[0]:
            return Window(clean=True, masked=Masked(delta, factor, windows[0].products))
        if context.may_overwrite(sources[0]):
            return Window(delta=delta.mul_(factor), clean=True)
        if factor.shape[1] > 1 and factor.shape == delta.shape:
            return Window(delta=factor.mul_(delta), clean=True)
        return Window(delta=delta * factor, clean=True)


@rule_for("site")
def _site(node: Node, builder: Builder) -> Rule:
    source = builder.only_source(node)
    return SiteRule(node, [source], builder.layouts[source])


def check_site(masking: Masking, node: Node, layout: Layout) -> None:
    """NoRule if the mask does not lie over the batch as the rule needs it."""
    assert node.drop is not None
    site = masking.site(node.drop)
    batch = layout.dim_of("batch")
    if site.batch_axis != batch or site.shape[batch] != 1 or len(layout.groups[batch]) != 1:
        raise NoRule("each row of an input has its own mask")


def keep_canonical(masking: Masking, node: Node, layout: Layout, draw: int) -> Tensor:
    """Mask of a draw, bool, (positions or 1, channels)."""
    assert node.drop is not None
    keep = masking.keep(node.drop, draw)
    batch, position = layout.dim_of("batch"), layout.dim_of("position")
    sizes = [1 if i == batch else layout.size(i) for i in range(keep.dim())]
    canonical = to_canonical(keep.expand(sizes), layout, 1)[0]
    return canonical[:1] if keep.shape[position] == 1 else canonical


def multipliers(
    masking: Masking, node: Node, layout: Layout, draws: list[int], dtype: torch.dtype
) -> Tensor:
    """What differences are multiplied by, (draws, positions or 1, channels)."""
    assert node.drop is not None
    scale = gain(node)
    rows: list[Tensor | None] = []
    for draw in draws:
        if draw == POINT:
            rows.append(None)
        else:
            rows.append(keep_canonical(masking, node, layout, draw).to(dtype) * scale)
    like = next((row for row in rows if row is not None), None)
    if like is None:
        like = torch.ones(1, layout.n_channels, dtype=dtype, device=masking.device)
    return torch.stack([torch.ones_like(like) if row is None else row for row in rows])


def gain(node: Node) -> float:
    """Factor of a kept unit."""
    assert node.drop is not None
    p = node.drop.p
    if not node.drop.alpha:
        return 1.0 / (1.0 - p)
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    keep = torch.ones(1, dtype=torch.bool)
    ends = [
        DropoutCall(node.drop.kind, p, x, node.drop.by_channel, True).apply(keep).item()
        for x in (one, zero)
    ]
    assert all(math.isfinite(end) for end in ends)
    return ends[0] - ends[1]
