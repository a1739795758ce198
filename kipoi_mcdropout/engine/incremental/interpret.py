"""Run a captured graph on whole inputs under the masks of one draw."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from kipoi_mcdropout.dropout.call import DropoutCall
from kipoi_mcdropout.dropout.locked_model import POINT
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.dropout.sites import Site, SitePlan
from kipoi_mcdropout.engine.incremental.graph import Drop, Node, Ref, resolve


class Masking:
    """Applies the locked masks of a run to any batch, as `LockedModel` does."""

    def __init__(self, plan: SitePlan, masks: MaskBank, scope: int, device: torch.device) -> None:
        self.plan, self.masks, self.scope, self.device = plan, masks, scope, device

    def of(self, scope: int) -> Masking:
        """The same with the masks of another scope."""
        return Masking(self.plan, self.masks, scope, self.device)

    def site(self, drop: Drop) -> Site:
        """Where the mask lies."""
        return self.plan.sites[drop.site]

    def keep(self, drop: Drop, draw: int) -> Tensor:
        """Mask of a site, bool, shape=site.shape."""
        return self.masks.keep(self.site(drop), draw, self.scope, self.device)

    def apply(self, drop: Drop, x: Tensor, draw: int, n: int) -> Tensor:
        """Drop units of `x`, the whole tensor for a batch of n."""
        if draw == POINT:
            return x
        call, site = DropoutCall(drop.kind, drop.p, x, drop.by_channel, drop.alpha), self.site(drop)
        if site.is_noise:
            numbers = self.masks.numbers(site, draw, self.scope, self.device, x.dtype)
            numbers = site.over_batch(numbers, n)
            return call.apply(numbers if call.is_noise else numbers >= call.p)
        return call.apply(site.over_batch(self.keep(drop, draw), n))


def run_node(
    node: Node, values: dict[int, Tensor], n: int, draw: int, masking: Masking | None
) -> Tensor:
    """Result of one node from those of the nodes before it, for a batch of n."""
    if node.drop is not None:
        given = node.args[0]  # a tensor where what is dropped does not come from the inputs
        x = values[given.index] if isinstance(given, Ref) else given
        return x if masking is None else masking.apply(node.drop, x, draw, n)
    assert node.target is not None
    args, kwargs = resolve((node.args, node.kwargs), n, values)
    if node.name == "view" and isinstance(args[1], (list, tuple)):
        reshaped: Tensor = args[0].reshape(args[1])  # strides may differ from those that were observed
        return reshaped
    result: Tensor = node.target(*args, **kwargs)
    return result


def run_nodes(
    nodes: Iterable[Node],
    values: dict[int, Tensor],
    n: int,
    draw: int,
    masking: Masking | None,
    keep: set[int] | None = None,
    run: Callable[..., Tensor] = run_node,
) -> dict[int, Tensor]:
    """Run nodes in order and return `values` with their results in it.

    With `keep` given, a result that is not in it is let go once its last user has run. `run` computes a
    node as `run_node` does.
    """
    nodes = list(nodes)
    last: dict[int, int] = {}
    if keep is not None:
        for position, node in enumerate(nodes):
            for index in node.inputs():
                last[index] = position
    for position, node in enumerate(nodes):
        if node.index in values:
            continue
        values[node.index] = run(node, values, n, draw, masking)
        if keep is not None:
            for index in node.inputs():
                if last[index] == position and index not in keep:
                    values.pop(index, None)
    return values
