"""Convolutions of whole references in which few numbers are not zero, or of which a mask drops few.

In a trained network most units are silent, for the reference too. A convolution of what a mask has left
is done once for all draws, and what each draw drops is taken away again (see masked.py).
"""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor

from kipoi_mcdropout.dropout.locked_model import POINT
from kipoi_mcdropout.engine.incremental.few_channels import FewChannels, pays
from kipoi_mcdropout.engine.incremental.graph import Node, Ref
from kipoi_mcdropout.engine.incremental.interpret import Masking, run_node
from kipoi_mcdropout.engine.incremental.layout import from_canonical, to_canonical
from kipoi_mcdropout.engine.incremental.plan import Plan
from kipoi_mcdropout.engine.incremental.rules.convolution import Convolution
from kipoi_mcdropout.engine.incremental.rules.site import gain

Values = dict[int, Tensor]

SMALL = 2**24  # products of a convolution; with fewer, it takes less time than to look for zeros
_RESULT_BYTES = 2**20  # of a convolution at a time: taps are added up in the cache


class ReferenceProducts:
    """Runs the nodes of a plan on references, convolutions by the shortest way.

    `paths` counts, as "sparse references", convolutions that were not computed densely.
    """

    def __init__(self, plan: Plan, paths: Counter[str]) -> None:
        self.plan, self.paths = plan, paths
        self._nodes = {node.index: node for node in plan.graph.nodes}
        self._bases: Values = {}  # products without a mask

    def run_node(
        self, node: Node, values: Values, n: int, draw: int, masking: Masking | None
    ) -> Tensor:
        """As `interpret.run_node`."""
        rule = self.plan.steps[node.index].rule
        if isinstance(rule, Convolution) and rule.shifts_rows and masking is not None:
            found = self._less_dropped(node, rule, values, n, draw, masking)
            if found is None:
                found = self._of_few(rule, values)
            if found is not None:
                self.paths["sparse references"] += 1
                return from_canonical(found, self.plan.layouts[node.index])
        return run_node(node, values, n, draw, masking)

    def _of_few(self, rule: Convolution, values: Values) -> Tensor | None:
        """The convolution of a source with few numbers; None where it has many."""
        product = self._product(rule, values[rule.sources[0]])
        return product if product is None or rule.bias is None else product.add_(rule.bias)

    def _product(self, rule: Convolution, x: Tensor) -> Tensor | None:
        """Without the bias, (rows, positions, channels); None where a dense convolution is faster."""
        outputs = rule.sliding.kernel * rule.weight.shape[0]
        if x.device.type != "cpu" or x.numel() * outputs < SMALL:
            return None
        if not pays(int(torch.count_nonzero(x)) / x.numel(), outputs):
            return None
        layout = self.plan.layouts[rule.sources[0]]
        whole = to_canonical(x, layout, x.shape[layout.dim_of("batch")])
        at_once = max(1, _RESULT_BYTES // (4 * rule.layout.n_positions * rule.layout.n_channels))
        parts = []
        for part in whole.split(at_once):
            rows = part.flatten(0, 1)
            parts.append(rule.of_rows(FewChannels.at(rows, rows != 0), *part.shape[:2]))
        return torch.cat(parts)

    def _less_dropped(
        self, node: Node, rule: Convolution, values: Values, n: int, draw: int, masking: Masking
    ) -> Tensor | None:
        """By the product without a mask; None where there is no mask, or it drops too much."""
        site = self._nodes[rule.sources[0]]
        given = site.args[0] if site.args else None
        if site.drop is None or site.drop.alpha or not isinstance(given, Ref):
            return None
        if self.plan.steps[given.index].drawn or given.index not in values:
            return None
        if draw == POINT or masking.site(site.drop).is_noise:
            return None
        before, scale = values[given.index], gain(site)
        keep = masking.site(site.drop).over_batch(masking.keep(site.drop, draw), n)
        product = self._product(rule, (before * scale).masked_fill_(keep, 0.0))
        if product is None:
            return None
        if node.index not in self._bases:
            dense = run_node(node, {**values, site.index: before}, n, draw, masking)
            layout = self.plan.layouts[node.index]
            whole = to_canonical(dense, layout, dense.shape[layout.dim_of("batch")])
            self._bases[node.index] = whole if rule.bias is None else whole - rule.bias
        result = (self._bases[node.index] * scale).sub_(product)
        return result if rule.bias is None else result.add_(rule.bias)
