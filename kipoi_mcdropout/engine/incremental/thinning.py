"""Dropping differences that have become exactly zero, where many have.

ReLU, max pooling and masks make most of the differences of a trained network zero. At the cuts of the
route (see route.py) the first block is counted. From the first cut at which enough is zero, only pairs
of a draw and a mutant with a difference left go on, in windows as narrow as they can be, in blocks of
their own; at every further cut the same is done again. A pair that is gone has exactly the reference's
output. From a first cut before the masks, the draws may go on by a stage (see screened.py).
The zero test has no tolerance, and the choice follows from the mutants and draws at hand alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from kipoi_mcdropout.engine.incremental.blocks import Block
from kipoi_mcdropout.engine.incremental.differences import Differences
from kipoi_mcdropout.engine.incremental.entries import Entries
from kipoi_mcdropout.engine.incremental.few_channels import FewChannels
from kipoi_mcdropout.engine.incremental.graph import Node
from kipoi_mcdropout.engine.incremental.plan import Plan
from kipoi_mcdropout.engine.incremental.references import References
from kipoi_mcdropout.engine.incremental.route import Route
from kipoi_mcdropout.engine.incremental.rules.base import Key
from kipoi_mcdropout.engine.incremental.screened import WORTH, Screened
from kipoi_mcdropout.engine.incremental.stages import Stage
from kipoi_mcdropout.engine.incremental.steps import take_step
from kipoi_mcdropout.engine.incremental.windows import BlockContext, Ints, Window, gather
from kipoi_mcdropout.engine.incremental.zeros import any_not_zero, count_true

LEAST_ZERO = 0.5  # of the positions in the windows; below, sorting costs more than it saves
_HELD_BYTES = 64 * 2**20  # rows that are collected before they go on


class End(Protocol):
    """Where the windows go; see `Leaving`."""

    plan: Plan
    references: References
    owner: Ints
    draws: list[int]
    paths: Counter[str]

    def begin_pairs(self) -> None:
        """All mutants are as their references, but for those that follow."""

    def take_pairs(self, context: PairContext, block: Block, windows: dict[Key, Window]) -> None:
        """Windows of pairs at all targets."""

    def take_rows(self, key: Key, rows: Differences) -> None:
        """Rows of pairs at the only target, where it is the last cut."""

    def take_entries(self, key: Key, entries: Entries) -> None:
        """The same, number by number."""


class PairContext(BlockContext):
    """A block whose rows are pairs of a draw and a mutant, all of them as if in one draw."""

    def __init__(
        self,
        pairs: Ints,
        owner: Ints,
        block: Block,
        references: References,
        masks: Callable[[Node], Tensor],
        shared: set[Key],
        paths: Counter[str],
    ) -> None:
        self.draw, self.mutant = np.divmod(pairs, len(owner))
        super().__init__(
            self.draw * references.n + owner[self.mutant],
            block.places,
            lambda *key: references.canonical(*key).flatten(0, 1)[None],
            masks,
            shared,
            references.masking.device,
            paths,
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

    def few_channels(self, rows: Tensor, outputs: int, dense: float = 1.0) -> FewChannels | None:
        """See BlockContext."""
        few = FewChannels.of(rows, outputs, dense)
        self.paths["whole products" if few is None else "sparse products"] += 1
        return few


class Thinning:
    """Takes over the windows of a run at a cut; `take` block after block, then `finish`.

    Parameters
    ----------
    end : Leaving
        Where the windows go. Its `paths` count: "thinned" the blocks that were taken, "pairs" those of
        a draw and a mutant that would have gone on from each cut, "pairs left" those that did; "sparse
        products" and "whole products" those of their windows.
    masks : callable
        See BlockContext.
    shared : set of (node, lane)
        See BlockContext.
    most : int
        Pairs in a block.
    stages : dict of (node, lane) to Stage
        By what enters them; see screened.py.
    """

    def __init__(
        self,
        route: Route,
        end: End,
        masks: Callable[[Node], Tensor],
        shared: set[Key],
        most: int,
        stages: dict[Key, Stage],
    ) -> None:
        self.route, self.end, self.plan = route, end, end.plan
        self.masks, self.shared, self.most, self.stages = masks, shared, most, stages
        self._stage: Stage | None = None  # by which the draws begin, if it pays
        self._screened: Screened | None = None
        self.drawn = self.plan.steps[route.order[-1][0]].drawn
        self.number = self._least = 0  # of the cut; those before the least do not pay in any draw
        self.pays: bool | None = None  # not known before the first block
        self._parts: list[Differences] = []
        self._held = 0
        self._kept: list[tuple[Block, Tensor]] | None = None  # at a first cut before the masks

    @property
    def cut(self) -> Key:
        """Where windows are taken."""
        return self.route.cuts[self.number]

    @property
    def still(self) -> bool:
        """Whether this is before the masks."""
        return not self.plan.steps[self.cut[0]].drawn

    @property
    def settled(self) -> bool:
        """Whether no further windows are needed, in whatever draws."""
        return self._kept is not None or self._screened is not None

    def begin(self) -> None:
        """Start with other draws."""
        if self.settled and self.drawn:
            self.end.begin_pairs()
        elif not self.settled and self._least < len(self.route.cuts):
            self.number, self.pays = self._least, None

    def take(self, context: BlockContext, block: Block, windows: dict[Key, Window]) -> bool:
        """Whether the block is taken from here; if not, its windows go on as they are."""
        if self.pays is False:
            return False
        cut = self.cut
        delta = context.delta(cut, windows[cut])
        alive = any_not_zero(delta)
        pairs = np.arange(len(delta))[:, None] * len(self.end.owner) + block.mutants
        rows = partial(Differences.of, delta, alive, pairs, block.places[cut])
        if self.pays is None:
            self._stage = self._worth_screening(rows)
            if self._stage is None and count_true(alive) > (1 - LEAST_ZERO) * alive.numel():
                self._try_next()
                return False
            self.pays = True
            self.end.begin_pairs()
        self.end.paths["thinned"] += 1
        self._add(rows())
        if not self.still and self._held > _HELD_BYTES:
            self._pass_on(self.number)
        return True

    def _try_next(self) -> None:
        """It does not pay at this cut."""
        if self.still:
            self._least = self.number + 1
        if self.number + 1 < len(self.route.cuts):
            self.number += 1
        else:
            self.pays = False

    def _add(self, part: Differences) -> None:
        if len(part.pair):
            self._parts.append(part)
            self._held += part.values.nbytes

    def finish(self) -> None:
        """Propagate what was taken from cut to cut, and to the targets."""
        first = self.number
        if not self.still:
            self._pass_on(first)
            return
        if self._stage is not None and self._screened is None:
            self._prepare_screening(self._stage)
        if self._screened is not None:
            self._screen(self._screened)
            return
        n_draws = len(self.end.draws) if self.drawn else 1
        if self._kept is not None and not self.drawn:
            return
        if self._kept is None:
            self._kept = list(self._blocks(first, max(1, self.most // n_draws)))
        for block, delta in self._kept:
            repeated = block.repeated(n_draws, len(self.end.owner))
            self._run(repeated, delta.repeat(1, n_draws, 1, 1), first)
            if self._held > _HELD_BYTES:
                self._pass_on(first + 1)
        self._pass_on(first + 1)

    def _worth_screening(self, rows: Callable[[], Differences]) -> Stage | None:
        """The stage that begins at this cut, if it ends at the next, and few of its units can change.

        Parameters
        ----------
        rows : callable
            What differs in the first block.
        """
        stage, following = self.stages.get(self.cut), self.route.cuts[self.number + 1 :]
        if stage is None or not self.still or not following or following[0][0] != stage.end:
            return None
        few = Screened.of(stage, rows(), self.end.owner)
        if few is None or few.share(self.end.references, self.masks) > WORTH:
            return None
        return stage

    def _prepare_screening(self, stage: Stage) -> None:
        """Unless a difference is not finite: nothing bounds what it does."""
        if all(torch.isfinite(part.values.sum()) for part in self._parts):
            entries = Entries.of(self._joined())
            self._screened = Screened(stage, entries, self.end.owner, self.end.paths)

    def _screen(self, screened: Screened) -> None:
        """The draws by a stage; to its mask all of them are the same."""
        parts = list(screened.run(self.end.references, self.masks))
        if not parts:
            return
        entries, following = Entries.joined(parts), self.route.cuts[self.number + 1]
        if following in self.route.targets:
            self.end.take_entries(following, entries)
        else:
            self._add(entries.rows(self.plan.layouts[following[0]].n_channels))
            self._pass_on(self.number + 1)

    def _joined(self) -> Differences:
        """What was collected, by pair and position; then there is nothing left."""
        parts, self._parts, self._held = self._parts, [], 0
        return Differences.joined(parts)

    def _hand_over(self, key: Key) -> None:
        """Rows that were collected go to the only target."""
        for part in self._parts:
            self.end.take_rows(key, part)
        self._parts, self._held = [], 0

    def _pass_on(self, number: int) -> None:
        """Rows that were collected at a cut go to the targets."""
        for n in range(number, len(self.route.cuts)):
            if self.route.cuts[n] in self.route.targets:
                self._hand_over(self.route.cuts[n])
                return
            for block, delta in self._blocks(n, self.most):
                self._run(block, delta, n)

    def _blocks(self, number: int, most: int) -> Iterator[tuple[Block, Tensor]]:
        """Blocks of the rows that were collected at a cut, and their windows."""
        if not self._parts:
            return iter(())
        return self._joined().blocks(self.plan, self._segment(number), most)

    def _segment(self, number: int) -> list[Key]:
        """A cut and what follows, up to the next cut."""
        order, cuts = self.route.order, self.route.cuts
        last = cuts[number + 1] if number + 1 < len(cuts) else order[-1]
        return order[order.index(cuts[number]) : order.index(last) + 1]

    def _run(self, block: Block, delta: Tensor, number: int) -> None:
        """From a cut to the next, or to the targets."""
        keys = self._segment(number)
        end, pairs = self.end, block.mutants
        end.paths["pairs left"] += len(pairs)
        context = PairContext(
            pairs, end.owner, block, end.references, self.masks, self.shared, end.paths
        )
        windows = {keys[0]: Window(delta=delta, clean=True)}
        for key in keys[1:]:
            take_step(self.plan, self.route, context, key, windows)
        if number + 1 == len(self.route.cuts):
            end.take_pairs(context, block, windows)
            return
        delta = context.delta(keys[-1], windows[keys[-1]])
        self._add(Differences.of(delta, any_not_zero(delta), pairs[None], block.places[keys[-1]]))
