"""Dropping differences that have become exactly zero, where many have.

ReLU, max pooling and masks make most of the differences of a trained network zero. At the first cut
of the route (see route.py) the first block is counted. Where enough is zero, only pairs of a draw and
a mutant with a difference left go on, in windows as narrow as they can be, in blocks of their own;
at every further cut the same is done again. A pair that is gone has exactly the reference's output.
The zero test has no tolerance, and the choice follows from the mutants and draws at hand alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from kipoi_mcdropout.engine.incremental.blocks import Block
from kipoi_mcdropout.engine.incremental.differences import Differences, not_zero
from kipoi_mcdropout.engine.incremental.plan import Plan
from kipoi_mcdropout.engine.incremental.references import References
from kipoi_mcdropout.engine.incremental.route import Route
from kipoi_mcdropout.engine.incremental.rules.base import Key
from kipoi_mcdropout.engine.incremental.steps import take_step
from kipoi_mcdropout.engine.incremental.windows import BlockContext, Ints, Window, gather

LEAST_ZERO = 0.5  # of the positions in the windows; below, sorting costs more than it saves
_HELD_BYTES = 64 * 2**20  # rows that are collected before they go on


class End(Protocol):
    """Where the windows go; see `Leaving`."""

    plan: Plan
    references: References
    owner: Ints
    paths: Counter[str]

    def begin_pairs(self) -> None:
        """All mutants are as their references, but for those that follow."""

    def take_pairs(self, context: PairContext, block: Block, windows: dict[Key, Window]) -> None:
        """Windows of pairs at all targets."""


class PairContext(BlockContext):
    """A block whose rows are pairs of a draw and a mutant, all of them as if in one draw."""

    def __init__(
        self, pairs: Ints, owner: Ints, block: Block, references: References, masks: Callable, shared: set[Key]
    ) -> None:
        self.draw, self.mutant = np.divmod(pairs, len(owner))
        super().__init__(
            self.draw * references.n + owner[self.mutant],
            block.places,
            lambda *key: references.canonical(*key).flatten(0, 1)[None],
            masks,
            shared,
            references.masking.device,
        )

    def position_window(self, key: Key, source: Tensor) -> Tensor:
        """See BlockContext."""
        if source.shape[0] == 1:
            return super().position_window(key, source)
        place = self.places[key]
        index = place.index(self.device, self.draw, of="draws")
        shape = (self.n_mutants, place.width, source.shape[2])
        return gather(source.flatten(0, 1)[None], index, shape)

    def everywhere(self, source: Tensor) -> Tensor:
        """See BlockContext."""
        if source.shape[0] == 1:
            return super().everywhere(source)
        return source[torch.from_numpy(self.draw).to(self.device), 0][None, :, None]


class Thinning:
    """Takes over the windows of a run at the first cut; `take` block after block, then `finish`.

    Parameters
    ----------
    end : Leaving
        Where the windows go. Its `paths` count: "thinned" the blocks that were taken, "pairs" theirs,
        "pairs left" those that went on from a cut.
    masks : callable
        See BlockContext.
    shared : set of (node, lane)
        See BlockContext.
    most : int
        Pairs in a block.
    """

    def __init__(
        self, route: Route, end: End, masks: Callable, shared: set[Key], most: int
    ) -> None:  # fmt: skip
        self.route, self.end, self.plan = route, end, end.plan
        self.masks, self.shared, self.most = masks, shared, most
        self.pays: bool | None = None  # not known before the first block
        self._parts: list[Differences] = []
        self._held = 0

    @property
    def first(self) -> Key:
        """Where windows are taken."""
        return self.route.cuts[0]

    def take(self, context: BlockContext, block: Block, windows: dict[Key, Window]) -> bool:
        """Whether the block is taken from here; if not, its windows go on as they are."""
        if self.pays is False:
            return False
        delta = context.delta(self.first, windows[self.first])
        alive = not_zero(delta)
        if self.pays is None:
            self.pays = alive.sum().item() <= (1 - LEAST_ZERO) * alive.numel()
            if not self.pays:
                return False
            self.end.begin_pairs()
        pairs = np.arange(len(delta))[:, None] * len(self.end.owner) + block.mutants
        self.end.paths["thinned"] += 1
        self.end.paths["pairs"] += pairs.size
        self._add(Differences.of(delta, alive, pairs, block.places[self.first]))
        if self._held > _HELD_BYTES:
            self.finish()
        return True

    def _add(self, part: Differences) -> None:
        if len(part.pair):
            self._parts.append(part)
            self._held += part.values.nbytes

    def finish(self) -> None:
        """Propagate what was taken from cut to cut, and to the targets."""
        order, cuts = self.route.order, self.route.cuts
        for number, cut in enumerate(cuts):
            parts, self._parts, self._held = self._parts, [], 0
            if not parts:
                return
            rows = Differences.joined(parts)
            begin = order.index(cut)
            following = cuts[number + 1] if number + 1 < len(cuts) else None
            end = len(order) if following is None else order.index(following) + 1
            for block, delta in rows.blocks(self.plan, order[begin:end], self.most):
                self._run(block, delta, order[begin:end], following)

    def _run(self, block: Block, delta: Tensor, keys: list[Key], following: Key | None) -> None:
        pairs = block.mutants
        self.end.paths["pairs left"] += len(pairs)
        context = PairContext(pairs, self.end.owner, block, self.end.references, self.masks, self.shared)
        windows = {keys[0]: Window(delta=delta, clean=True)}
        for key in keys[1:]:
            take_step(self.plan, self.route, context, key, windows)
        if following is None:
            self.end.take_pairs(context, block, windows)
            return
        delta = context.delta(following, windows[following])
        place = block.places[following]
        self._add(Differences.of(delta, not_zero(delta), pairs, place))
