"""Convolution, activation, dropout, flatten, linear in one: nothing that the mask drops is computed.

Sorted by output position, all mutants changed there share the units that a draw keeps, so the weights
of the convolution are reduced to the kept outputs and those of the linear layer to the kept inputs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from kipoi_mcdropout.dropout.locked_model import POINT
from kipoi_mcdropout.engine.incremental.exits import FlatLinear
from kipoi_mcdropout.engine.incremental.packed import Packed, PackedIndex, consecutive
from kipoi_mcdropout.engine.incremental.rules.convolution import Convolution
from kipoi_mcdropout.engine.incremental.rules.pointwise import Identity, Pointwise
from kipoi_mcdropout.engine.incremental.rules.site import SiteRule

_LEAST_P = 0.2  # below, leaving out what is dropped saves too little


class Tail:
    """The chain of nodes from a convolution to the linear layer at its end."""

    def __init__(
        self, convolution: Convolution, chain: list[Pointwise], site: SiteRule, linear: FlatLinear
    ) -> None:
        self.convolution, self.chain, self.site, self.linear = convolution, chain, site, linear
        self.inside = {convolution.node.index}  # nodes that need no windows of their own
        weight = convolution.weight.permute(0, 2, 1)
        self.rows = weight.reshape(weight.shape[0], -1).contiguous()  # (out, kernel * in)

    @property
    def source(self) -> int:
        """Node whose windows enter."""
        return self.convolution.sources[0]

    def pays(self, entries: int, n_positions: int) -> bool:
        """Whether dropping saves more than picking the weights costs."""
        assert self.site.node.drop is not None
        per_entry = 2.0 * self.rows.numel()
        picking = 8.0 * self.rows.numel() * n_positions * 10
        return self.site.node.drop.p * per_entry * entries > picking

    def run(
        self,
        packed: Packed,
        outputs: PackedIndex,
        draws: list[int],
        keep: Callable[[int], Tensor],
        reference: Callable[[int], Tensor],
        owner: np.ndarray,
        gain: float,
    ) -> Tensor:
        """Differences of the linear layer's outputs, (mutants, draws, outputs).

        Parameters
        ----------
        packed : Packed
            Windows that enter the convolution.
        outputs : PackedIndex
            Windows that leave it.
        keep : callable
            draw -> mask, bool, (positions or 1, channels).
        reference : callable
            node -> activations of the references, (draws, references, positions, channels).
        owner : numpy.ndarray, shape=(mutants,)
        gain : float
            Factor of a kept unit.
        """
        values = packed.held()
        result = values.new_zeros(len(owner), len(draws), self.linear.weight.shape[2])
        first = self.chain[0].sources[0] if self.chain else -1
        last = self.chain[-1].node.index if self.chain else -1
        pre = reference(first) if self.chain else None
        post = reference(last) if self.chain else None
        single = len(pre[0]) == 1 if pre is not None else True
        for d, draw in enumerate(draws):
            mask = None if draw == POINT else keep(draw)
            x = values[:, min(d, values.shape[1] - 1)]
            for position in range(len(outputs.bounds) - 1):
                a, b = outputs.at(position)
                if a == b:
                    continue
                kept = None if mask is None else mask[position if len(mask) > 1 else 0].nonzero()[:, 0]
                z = self._convolve(x, packed.index, outputs.rows[a:b], position, kept)
                if pre is not None and post is not None:
                    rows = slice(0, 1) if single else torch.from_numpy(owner[outputs.rows[a:b]])
                    before = _at(pre, d, rows, position, kept)
                    z = self._activate(z, before, _at(post, d, rows, position, kept))
                weight = self.linear.weight[position]
                if kept is not None:
                    z *= gain
                    weight = weight.index_select(0, kept)
                target = outputs.row_slice(position)
                if isinstance(target, slice):
                    result[target, d].addmm_(z, weight)
                else:
                    result[:, d].index_add_(0, torch.from_numpy(target).to(z.device), z @ weight)
        return result

    def _convolve(
        self, x: Tensor, index: PackedIndex, rows: np.ndarray, position: int, kept: Tensor | None
    ) -> Tensor:
        """Differences at one output position for the mutants `rows`, kept channels only."""
        s = self.convolution.sliding
        n_in = x.shape[1]
        length = len(index.bounds) - 1
        weight = self.rows if kept is None else self.rows.index_select(0, kept)
        z = x.new_zeros(len(rows), len(weight))
        for tap in range(s.kernel):
            at = position * s.stride - s.left + tap * s.dilation
            if not 0 <= at < length:
                continue
            a, b = index.at(at)
            if a == b:
                continue
            part = weight[:, tap * n_in : (tap + 1) * n_in].t()
            where = consecutive(np.searchsorted(rows, index.rows[a:b]))
            if isinstance(where, slice):
                z[where].addmm_(x[a:b], part)
            else:
                z.index_add_(0, torch.from_numpy(where).to(z.device), x[a:b] @ part)
        return z

    def _activate(self, z: Tensor, pre: Tensor, post: Tensor) -> Tensor:
        z += pre
        for rule in self.chain:
            if rule.node.name == "relu":
                z.relu_()
                continue
            z = rule.apply(z)
        z -= post
        return z


def _at(reference: Tensor, d: int, rows: slice | Tensor, position: int, kept: Tensor | None) -> Tensor:
    """Reference activations at one position, (rows, kept channels)."""
    x = reference[min(d, len(reference) - 1), :, position][rows]
    return x if kept is None else x.index_select(1, kept)


def find_tail(steps: dict, linear: FlatLinear, users: Callable[[int], int]) -> Tail | None:  # type: ignore
    """The chain that ends in a linear layer over all positions, if it is one that pays."""
    chain: list[Pointwise] = []
    inside: set[int] = set()
    site: SiteRule | None = None
    index = linear.source
    while True:
        rule = steps[index].rule
        if users(index) != 1 or rule is None:
            return None
        inside.add(index)
        if isinstance(rule, Convolution):
            break
        if isinstance(rule, SiteRule) and site is None and not chain:
            site = rule
        elif type(rule) is Pointwise and site is not None:
            chain.insert(0, rule)
        elif not isinstance(rule, Identity):
            return None
        index = rule.sources[0]
    drop = None if site is None else site.node.drop
    if site is None or drop is None or drop.p < _LEAST_P or rule.groups > 1:
        return None
    tail = Tail(rule, chain, site, linear)
    tail.inside = inside
    return tail
