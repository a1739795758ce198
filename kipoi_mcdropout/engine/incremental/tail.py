"""Convolution, activation, pooling, dropout, flatten, linear in one: what the mask drops is left out.

Sorted by output position, all mutants changed there share the units that a draw keeps, so the weights
of the linear layer are reduced to the kept inputs, and those of the convolution to the kept outputs.
Where few numbers of its input differ, the convolution sums the weights of these, and its outputs are
reduced.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kipoi_mcdropout.dropout.locked_model import POINT
from kipoi_mcdropout.engine.incremental.cells import Cells, Convolved
from kipoi_mcdropout.engine.incremental.entries import Entries
from kipoi_mcdropout.engine.incremental.exits import FlatLinear
from kipoi_mcdropout.engine.incremental.few_channels import FewChannels, pays
from kipoi_mcdropout.engine.incremental.packed import Packed, PackedIndex, consecutive
from kipoi_mcdropout.engine.incremental.rules.convolution import Convolution, Sliding
from kipoi_mcdropout.engine.incremental.rules.pointwise import Affine, Identity, Pointwise
from kipoi_mcdropout.engine.incremental.rules.pooling import MaxPool
from kipoi_mcdropout.engine.incremental.rules.site import SiteRule
from kipoi_mcdropout.engine.incremental.windows import Ints
from kipoi_mcdropout.engine.incremental.zeros import any_not_zero, true_at

_LEAST_P = 0.2  # below, leaving out what is dropped saves too little
LEAST_POOLED = 2**20  # products of a mutant at a pooling; with fewer, windows by blocks are faster


@dataclass
class Drawn:
    """What a tail asks for of the draws at hand.

    Attributes
    ----------
    draws : list of int
    keep : callable
        draw -> mask, bool, (positions or 1, channels).
    reference : callable
        node -> activations of the references, (draws, references, positions, channels).
    owner : numpy.ndarray, shape=(mutants,)
        Reference of each mutant.
    gain : float
        Factor of a kept unit.
    """

    draws: list[int]
    keep: Callable[[int], Tensor]
    reference: Callable[[int], Tensor]
    owner: Ints
    gain: float


class Tail:
    """The chain of nodes from a convolution to the linear layer at its end.

    Parameters
    ----------
    convolved : Convolved
    chain : list of Pointwise or MaxPool
        What follows it, in order; at most one pooling.
    site : SiteRule
    linear : FlatLinear
    """

    def __init__(
        self,
        convolved: Convolved,
        chain: list[Pointwise | MaxPool],
        site: SiteRule,
        linear: FlatLinear,
    ) -> None:
        self.site, self.linear = site, linear
        pools = [i for i, rule in enumerate(chain) if isinstance(rule, MaxPool)]
        at = pools[0] if pools else len(chain)
        before, after = chain[:at], chain[at + 1 :]
        if pools and all(rule.node.name == "relu" for rule in before):  # the maximum first is the same
            before, after = [], before + after
        self.before = [rule for rule in before if isinstance(rule, Pointwise)]
        self.after = [rule for rule in after if isinstance(rule, Pointwise)]
        self.plain = not chain  # differences are multiplied as they are
        pool = chain[at].sliding if pools else Sliding(1)  # type: ignore[union-attr]
        self.cells = Cells(convolved, pool, linear.layout.n_positions)
        # The node whose windows enter; the last before the mask; both of the reference.
        self.source = convolved.convolution.sources[0]
        self.last = chain[-1].node.index if chain else convolved.node
        self.rows = convolved.taps.flatten(0, 1).t().contiguous()  # (out, kernel * in)

    @property
    def large(self) -> bool:
        """Whether products are so large that they may be done position by position."""
        taps = self.cells.pool.kernel
        return taps == 1 or taps * self.rows.numel() >= LEAST_POOLED

    def pays(self, entries: int, n_positions: int) -> bool:
        """Whether dropping saves more than picking the weights costs."""
        assert self.site.node.drop is not None
        taps = self.cells.pool.kernel
        if not self.large:
            return False
        per_entry = 2.0 * taps * self.rows.numel()
        picking = 8.0 * self.rows.numel() * n_positions * 10
        return self.site.node.drop.p * per_entry * entries > picking

    def few_differ(self, entries: Entries) -> bool:
        """Whether so few numbers differ that `run_entries` is faster."""
        share = len(entries.pair) / max(1, len(entries.first_of_rows()) * self.cells.n_in)
        outputs = self.cells.pool.kernel * len(self.rows)
        return pays(share, outputs) and bool(torch.isfinite(entries.values.sum()))

    def run(self, packed: Packed, outputs: PackedIndex, drawn: Drawn) -> Tensor:
        """Differences of the linear layer's outputs, (draws, mutants, outputs).

        Parameters
        ----------
        packed : Packed
            Windows that enter the convolution.
        outputs : PackedIndex
            Windows that leave the pooling.
        """
        values = packed.held()
        result = self._start(values, drawn)
        for d, draw in enumerate(drawn.draws):
            mask = None if draw == POINT else drawn.keep(draw)
            x = values[:, min(d, values.shape[1] - 1)]
            for position in range(len(outputs.bounds) - 1):
                a, b = outputs.at(position)
                if a == b:
                    continue
                kept, mutants = _kept(mask, position), outputs.rows[a:b]
                weight = self.rows if kept is None else self.rows.index_select(0, kept)
                seen, post = self._references(drawn, d, position, mutants)
                best: Tensor | None = None
                for tap in self.cells.taps_inside(position):
                    first = self.cells.first(position) + tap * self.cells.step
                    z = self._convolve(x, packed.index, mutants, first, weight)
                    best = self._larger(best, z, seen[:, tap], kept)
                assert best is not None
                self._multiply(result[d], best, post, kept, position, mutants, drawn.gain)
        return result

    def run_entries(self, entries: Entries, drawn: Drawn) -> Tensor:
        """As `run`, of the numbers that differ.

        Parameters
        ----------
        entries : Entries
            Before the convolution. By pair, then by position.
        """
        result = self._start(entries.values, drawn)
        n_mutants = len(drawn.owner)
        taps, edge = self.cells.padded(self.cells.taps())
        masks = [None if draw == POINT else drawn.keep(draw) for draw in drawn.draws]
        for cell in self.cells.under(entries, lambda pairs: pairs // n_mutants):
            d, mutants = int(cell.pairs[0] // n_mutants), cell.pairs % n_mutants
            seen, post = self._references(drawn, d, cell.position, mutants)
            best: Tensor | None = None
            for tap in self.cells.taps_inside(cell.position):
                z = self._of_few(cell.few, taps, edge - tap * self.cells.step * self.cells.n_in)
                best = self._larger(best, z, seen[:, tap], None)
            assert best is not None
            kept = _kept(masks[d], cell.position)
            if kept is not None:
                best = best.index_select(1, kept)
            self._multiply(result[d], best, post, kept, cell.position, mutants, drawn.gain, few=True)
        return result

    def _start(self, like: Tensor, drawn: Drawn) -> Tensor:
        return like.new_zeros(len(drawn.draws), len(drawn.owner), self.linear.weight.shape[2])

    def _references(self, drawn: Drawn, d: int, position: int, mutants: Ints) -> tuple[Tensor, Tensor]:
        """What a cell sees of the references, (mutants or 1, taps, units), and its own value."""
        pre, post = drawn.reference(self.cells.convolved.node), drawn.reference(self.last)
        one = slice(min(d, len(pre) - 1), min(d, len(pre) - 1) + 1)
        owner = None if pre.shape[1] == 1 else drawn.owner[mutants]
        own = post[one][0, :, position]
        own = own if owner is None else own.index_select(0, torch.from_numpy(owner).to(own.device))
        return self.cells.values(pre[one], position, owner)[0], own

    def _larger(self, best: Tensor | None, z: Tensor, pre: Tensor, kept: Tensor | None) -> Tensor:
        """The larger of the values found at earlier taps of the pooling and at this one.

        Parameters
        ----------
        z : Tensor, shape=(mutants, kept units)
            Differences; they are overwritten.
        pre : Tensor, shape=(mutants or 1, units)
            Values of the reference.
        """
        if self.plain:
            return z
        z += pre if kept is None else pre.index_select(1, kept)
        for rule in self.before:
            z = rule.apply(z)
        return z if best is None else torch.maximum(best, z, out=best)

    def _multiply(
        self,
        result: Tensor,
        value: Tensor,
        post: Tensor,
        kept: Tensor | None,
        position: int,
        mutants: Ints,
        gain: float,
        few: bool = False,
    ) -> None:
        """Add what the values of the kept units at a position change in the linear layer's outputs."""
        for rule in self.after:
            value = value.relu_() if rule.node.name == "relu" else rule.apply(value)
        if not self.plain:
            value -= post if kept is None else post.index_select(1, kept)
        weight = self.linear.weight[position]
        if kept is not None:
            value *= gain
            weight = weight.index_select(0, kept)
        if few:  # then nothing is left of many rows
            rows = true_at(any_not_zero(value))
            value, mutants = value.index_select(0, rows), mutants[rows.numpy()]
        target = consecutive(mutants)
        if isinstance(target, slice):
            result[target].addmm_(value, weight)
        elif len(target):
            result.index_add_(0, torch.from_numpy(target).to(value.device), value @ weight)

    def _convolve(self, x: Tensor, index: PackedIndex, rows: Ints, first: int, weight: Tensor) -> Tensor:
        """Differences of the convolution's output whose first tap is `first`, for the mutants `rows`."""
        s = self.cells.sliding
        n_in = x.shape[1]
        z = x.new_zeros(len(rows), len(weight))
        for tap in range(s.kernel):
            at = first + tap * s.dilation
            if not 0 <= at < len(index.bounds) - 1:
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

    def _of_few(self, few: FewChannels, taps: Tensor, begin: int) -> Tensor:
        """As `_convolve`, of all units, by the numbers that are not zero."""
        return FewChannels(few.column + begin, few.begin, few.values).times(taps)


def _kept(mask: Tensor | None, position: int) -> Tensor | None:
    """Units that a mask keeps at a position; None for all."""
    return None if mask is None else true_at(mask[position if len(mask) > 1 else 0])


def find_tail(steps: dict, linear: FlatLinear, users: Callable[[int], int]) -> Tail | None:  # type: ignore
    """The chain that ends in a linear layer over all positions, if it is one that pays."""
    chain: list[Pointwise | MaxPool] = []
    constants: list[Affine] = []
    site: SiteRule | None = None
    index = linear.source
    while True:
        rule = steps[index].rule
        if users(index) != 1 or rule is None:
            return None
        if isinstance(rule, Convolution):
            break
        pooled = any(isinstance(link, MaxPool) for link in chain)
        if isinstance(rule, SiteRule) and site is None and not chain:
            site = rule
        elif site is not None and type(rule) is Affine:
            constants.insert(0, rule)
        elif constants and not isinstance(rule, Identity):
            return None
        elif site is not None and (type(rule) is Pointwise or (type(rule) is MaxPool and not pooled)):
            chain.insert(0, rule)
        elif not isinstance(rule, Identity):
            return None
        index = rule.sources[0]
    drop = None if site is None else site.node.drop
    if site is None or drop is None or drop.p < _LEAST_P or rule.taps is None:
        return None
    convolved: Convolved | None = Convolved.of(rule)
    for constant in constants:
        convolved = None if convolved is None else convolved.then(constant)
    return None if convolved is None else Tail(convolved, chain, site, linear)
