"""Differences that are not zero, one row for each mutant, draw and position."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kipoi_mcdropout.engine.incremental.blocks import Block, make_blocks, rounded
from kipoi_mcdropout.engine.incremental.plan import Plan
from kipoi_mcdropout.engine.incremental.rules.base import Key
from kipoi_mcdropout.engine.incremental.windows import Ints, Place, Span
from kipoi_mcdropout.engine.incremental.zeros import true_at


@dataclass
class Differences:
    """Rows that are left, of pairs of a draw and a mutant: draw * mutants + mutant.

    Attributes
    ----------
    pair, position : numpy.ndarray, shape=(rows,)
    values : Tensor, shape=(rows, channels)
    """

    pair: Ints
    position: Ints
    values: Tensor

    @classmethod
    def of(cls, delta: Tensor, alive: Tensor, pairs: Ints, place: Place) -> Differences:
        """The rows of windows that are `alive`, (draws, mutants, width).

        Parameters
        ----------
        pairs : numpy.ndarray, shape=(draws, mutants)
        place : Place
            Where the windows of the mutants lie.
        """
        flat = true_at(alive)
        row, offset = np.divmod(flat.cpu().numpy(), delta.shape[2])
        position = place.start[row % delta.shape[1]] + offset
        values = delta.reshape(-1, delta.shape[3]).index_select(0, flat)
        return cls(pairs.ravel()[row], position, values)

    @classmethod
    def joined(cls, parts: list[Differences]) -> Differences:
        """All rows by pair, then by position."""
        pair = np.concatenate([part.pair for part in parts])
        position = np.concatenate([part.position for part in parts])
        values = torch.cat([part.values for part in parts])
        order = np.lexsort((position, pair))
        picked = values.index_select(0, torch.from_numpy(order).to(values.device))
        return cls(pair[order], position[order], picked)

    def blocks(self, plan: Plan, keys: list[Key], most: int) -> Iterator[tuple[Block, Tensor]]:
        """Blocks of pairs with windows as narrow as they can be; these, (1, pairs, width, channels).

        Parameters
        ----------
        keys : list of (node, lane)
            Where the rows are, and where windows are asked for.
        most : int
            Pairs in a block.
        """
        first = np.flatnonzero(np.diff(self.pair, prepend=-1))
        end = np.append(first[1:], len(self.pair))
        low = self.position[first]
        span = Span(low, low + rounded(self.position[end - 1] + 1 - low))
        for block in make_blocks(plan, span, np.arange(len(first)), most, keys):
            yield self._filled(block, block.places[keys[0]], first, end)

    def _filled(self, block: Block, place: Place, first: Ints, end: Ints) -> tuple[Block, Tensor]:
        members = block.mutants
        count = end[members] - first[members]
        begin = np.cumsum(count) - count
        rows = np.repeat(first[members] - begin, count) + np.arange(count.sum())
        target = np.repeat(np.arange(len(members)) * place.width - place.start, count)
        target += self.position[rows]
        values, device = self.values, self.values.device
        window = values.new_zeros(1, len(members), place.width, values.shape[1])
        picked = values.index_select(0, torch.from_numpy(rows).to(device))
        window.view(-1, values.shape[1]).index_copy_(0, torch.from_numpy(target).to(device), picked)
        block.mutants = self.pair[first[members]]
        return block, window
