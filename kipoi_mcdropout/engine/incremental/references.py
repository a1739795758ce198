"""Activations of the references for some draws, in the shape in which windows are gathered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import torch
from torch import Tensor

from kipoi_mcdropout.engine.incremental.interpret import Masking, run_nodes
from kipoi_mcdropout.engine.incremental.layout import to_canonical
from kipoi_mcdropout.engine.incremental.plan import Plan
from kipoi_mcdropout.engine.incremental.reference_products import ReferenceProducts
from kipoi_mcdropout.engine.incremental.rules.base import Key

Values = dict[int, Tensor]


class NonFiniteReference(Exception):  # noqa: N818
    """An activation of a reference is infinite or NaN, so differences from it have no meaning."""


class References:
    """Runs the references through the whole model, draw by draw; what no mask changes only once.

    Parameters
    ----------
    plan : Plan
    values : dict of int to Tensor
        The model's inputs by node, each shape=(references, ...).
    n, count : int
        Rows of the inputs, and how many of them are references (a lone one may stand twice).
    wanted : collection of int
        Nodes whose activations are kept; for others the references are run again.
    paths : Counter
        See ReferenceProducts.
    """

    def __init__(
        self,
        plan: Plan,
        values: Values,
        n: int,
        count: int,
        masking: Masking,
        wanted: Collection[int],
        paths: Counter[str],
    ) -> None:
        self.plan, self.masking, self.wanted = plan, masking, set(wanted)
        self.n, self.count = n, count
        self._inputs = values
        self._still: Values = {}
        self._moving: list[Values] = []
        self._canonical: dict[Key, Tensor] = {}
        self.draws: list[int] = []
        nodes = plan.graph.nodes
        self._first = [n for n in nodes if not plan.steps[n.index].drawn]
        self._second = [n for n in nodes if plan.steps[n.index].drawn]
        self._outputs = set(plan.graph.output_indices())
        self.products = ReferenceProducts(plan, paths)

    def run(self, draws: list[int]) -> None:
        """Compute the activations for these draws."""
        self.draws = draws
        keep = self.wanted | self._outputs
        steps = self.plan.steps
        border = {i for node in self._second for i in node.inputs() if not steps[i].drawn}
        if not self._still:
            start = {**self.plan.fixed, **self._inputs}
            self._still = run_nodes(self._first, start, self.n, draws[0], self.masking, keep | border)
        self._canonical = {k: v for k, v in self._canonical.items() if not steps[k[0]].drawn}
        run = self.products.run_node
        self._moving = [
            run_nodes(self._second, dict(self._still), self.n, draw, self.masking, keep | border, run)
            for draw in draws
        ]

    def value(self, node: int, i: int) -> Tensor:
        """The node's own tensor for the i-th of the draws."""
        values = self._moving[i] if self._moving else self._still
        if node not in values:
            self.wanted.add(node)
            self._still = {}
            self.run(self.draws)
            values = self._moving[i]
        return values[node]

    def stacked(self, node: int) -> Tensor:
        """(draws, ...), one draw where no mask has been met."""
        n = len(self.draws) if self.plan.steps[node].drawn else 1
        return torch.stack([self.value(node, i) for i in range(n)])

    def canonical(self, node: int, lane: int = 0) -> Tensor:
        """(draws, references, positions, channels) of one lane."""
        if (node, lane) not in self._canonical:
            layout = self.plan.layouts[node]
            batch = layout.dim_of("batch")
            n = len(self.draws) if self.plan.steps[node].drawn else 1
            parts = []
            for i in range(n):
                value = self.value(node, i).narrow(batch, lane * self.n, self.n)
                parts.append(to_canonical(value, layout, self.n))
                if not torch.isfinite(parts[-1].sum()):  # differences from infinity are no numbers
                    raise NonFiniteReference
            self._canonical[node, lane] = torch.stack(parts) if n > 1 else parts[0][None]
        return self._canonical[node, lane]
