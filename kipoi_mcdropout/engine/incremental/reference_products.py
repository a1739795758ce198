"""Convolutions of whole references in which few numbers are not zero, or of which a mask drops few.

In a trained network most units are silent, for the reference too. A convolution of what a mask has left
is done once for all draws, and what each draw drops is taken away again (see masked.py).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor

from kipoi_mcdropout.dropout.locked_model import POINT
from kipoi_mcdropout.engine.incremental.few_channels import FewChannels, pays
from kipoi_mcdropout.engine.incremental.graph import Node, Ref
from kipoi_mcdropout.engine.incremental.interpret import Masking, run_node
from kipoi_mcdropout.engine.incremental.layout import from_canonical, to_canonical
from kipoi_mcdropout.engine.incremental.plan import Plan
from kipoi_mcdropout.engine.incremental.rules.convolution import Convolution
from kipoi_mcdropout.engine.incremental.rules.pooling import MaxPool
from kipoi_mcdropout.engine.incremental.rules.site import SiteRule, gain, keep_canonical
from kipoi_mcdropout.engine.incremental.zeros import count_true

Values = dict[int, Tensor]

SMALL = 2**24  # products of a convolution; with fewer, it takes less time than to look for zeros
_RESULT_BYTES = 2**20  # of a convolution at a time: taps are added up in the cache


@dataclass
class Unmasked:
    """A convolution before the mask of its source, times the gain; of references, in canonical shape.

    Attributes
    ----------
    source : Tensor, shape=(rows, positions, channels)
    product : Tensor, shape=(rows, positions, channels)
        With the bias.
    """

    source: Tensor
    product: Tensor


class ReferenceProducts:
    """Runs the nodes of a plan on references, convolutions by the shortest way.

    `paths` counts, as "sparse references", convolutions that were not computed densely. Their results
    lie with the channels last, and maxima are taken as they lie: "pooled references".
    """

    def __init__(self, plan: Plan, paths: Counter[str]) -> None:
        self.plan, self.paths = plan, paths
        self._nodes = {node.index: node for node in plan.graph.nodes}
        self._unmasked: dict[int, Unmasked | None] = {}  # None where a mask drops too much

    def run_node(
        self, node: Node, values: Values, n: int, draw: int, masking: Masking | None
    ) -> Tensor:
        """As `interpret.run_node`."""
        rule = self.plan.steps[node.index].rule
        if isinstance(rule, Convolution) and rule.shifts_rows and masking is not None:
            found = self._less_dropped(node, rule, values, n, draw, masking)
            if found is None:
                found = self._of_few(rule, values[rule.sources[0]])
            if found is not None:
                self.paths["sparse references"] += 1
                return from_canonical(found, self.plan.layouts[node.index])
        if isinstance(rule, MaxPool) and not values[rule.sources[0]].is_contiguous():
            self.paths["pooled references"] += 1
            source = self._canonical(values[rule.sources[0]], rule.sources[0])
            return from_canonical(rule.of_rows(source), self.plan.layouts[node.index])
        return run_node(node, values, n, draw, masking)

    def _of_few(self, rule: Convolution, x: Tensor) -> Tensor | None:
        """The convolution of a source with few numbers; None where it has many."""
        if not _pays(rule, x, 1.0):
            return None
        whole = self._canonical(x, rule.sources[0])
        result = whole.new_empty(len(whole), rule.layout.n_positions, rule.layout.n_channels)
        for rows in _rows(result):
            result[rows] = _of_rows(rule, whole[rows])
        return result if rule.bias is None else result.add_(rule.bias)

    def _less_dropped(
        self, node: Node, rule: Convolution, values: Values, n: int, draw: int, masking: Masking
    ) -> Tensor | None:
        """By the product without a mask; None where there is no mask, or it drops too much."""
        site = self._nodes[rule.sources[0]]
        if draw == POINT or not isinstance(self.plan.steps[site.index].rule, SiteRule):
            return None
        if node.index not in self._unmasked:
            self._unmasked[node.index] = self._without_mask(node, rule, site, values, n, masking)
        unmasked = self._unmasked[node.index]
        if unmasked is None:
            return None
        dropped = ~keep_canonical(masking, site, self.plan.layouts[site.index], draw)
        dropped = dropped.to(unmasked.source.dtype)
        result = torch.empty_like(unmasked.product)
        for rows in _rows(result):
            missing = _of_rows(rule, unmasked.source[rows] * dropped)
            torch.sub(unmasked.product[rows], missing, out=result[rows])
        return result

    def _without_mask(
        self, node: Node, rule: Convolution, site: Node, values: Values, n: int, masking: Masking
    ) -> Unmasked | None:
        given = site.args[0]
        if site.drop is None or site.drop.alpha or masking.site(site.drop).is_noise:
            return None
        if not isinstance(given, Ref):
            return None
        if self.plan.steps[given.index].drawn or not _pays(rule, values[given.index], site.drop.p):
            return None
        before = values[given.index]
        dense = run_node(node, {**values, site.index: before}, n, POINT, masking)
        product, scale = self._canonical(dense, node.index), gain(site)
        if rule.bias is not None:
            product = product - rule.bias * (1 - 1 / scale)
        return Unmasked(self._canonical(before, site.index) * scale, product * scale)

    def _canonical(self, x: Tensor, node: int) -> Tensor:
        layout = self.plan.layouts[node]
        return to_canonical(x, layout, x.shape[layout.dim_of("batch")])


def _pays(rule: Convolution, x: Tensor, share: float) -> bool:
    """Whether to convolve about this share of the numbers that are not zero by themselves is faster."""
    outputs = rule.sliding.kernel * rule.weight.shape[0]
    if x.device.type != "cpu" or x.numel() * outputs < SMALL or not torch.isfinite(x.sum()):
        return False
    return pays(share * count_true(x != 0) / x.numel(), outputs)


def _rows(result: Tensor) -> list[slice]:
    """Some references at a time."""
    at_once = max(1, _RESULT_BYTES // (4 * result[0].numel()))
    return [slice(begin, begin + at_once) for begin in range(0, len(result), at_once)]


def _of_rows(rule: Convolution, source: Tensor) -> Tensor:
    rows = source.flatten(0, 1)
    return rule.of_rows(FewChannels.at(rows, rows != 0), *source.shape[:2])
