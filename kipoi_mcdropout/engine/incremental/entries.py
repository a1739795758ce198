"""Differences that are not zero, one number each: where they are few even in rows that differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kipoi_mcdropout.engine.incremental.differences import Differences
from kipoi_mcdropout.engine.incremental.windows import Ints
from kipoi_mcdropout.engine.incremental.zeros import true_at


@dataclass
class Entries:
    """Numbers of pairs of a draw and a mutant: draw * mutants + mutant.

    Attributes
    ----------
    pair, position, channel : numpy.ndarray, shape=(numbers,)
    values : Tensor, shape=(numbers,)
    """

    pair: Ints
    position: Ints
    channel: Ints
    values: Tensor

    @classmethod
    def of(cls, rows: Differences) -> Entries:
        """Of whole rows, in their order."""
        at = true_at(rows.values != 0)
        row, channel = np.divmod(at.numpy(), rows.values.shape[1])
        values = rows.values.view(-1).index_select(0, at)
        return cls(rows.pair[row], rows.position[row], channel, values)

    @classmethod
    def joined(cls, parts: list[Entries]) -> Entries:
        """All numbers by pair, then by position, then by channel."""
        pair, position, channel = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("pair", "position", "channel")
        )
        order = np.lexsort((channel, position, pair))
        values = torch.cat([part.values for part in parts])
        picked = values.index_select(0, torch.from_numpy(order))
        return cls(pair[order], position[order], channel[order], picked)

    def first_of_rows(self) -> Ints:
        """Where the numbers of each position of each pair begin."""
        pair, position = np.diff(self.pair, prepend=-1), np.diff(self.position, prepend=-1)
        return np.flatnonzero((pair != 0) | (position != 0))

    def times(self, factor: Tensor, n_mutants: int) -> Entries:
        """What a mask leaves: `factor`, shape=(draws, positions or 1, channels)."""
        position = self.position if factor.shape[1] > 1 else 0
        number = (self.pair // n_mutants * factor.shape[1] + position) * factor.shape[2] + self.channel
        values = self.values * factor.reshape(-1).index_select(0, torch.from_numpy(number))
        left = true_at(values != 0)
        at = left.numpy()
        return Entries(self.pair[at], self.position[at], self.channel[at], values.index_select(0, left))

    def rows(self, n_channels: int) -> Differences:
        """Whole rows, in the order of the numbers, which must be by pair, then by position."""
        new = self.first_of_rows()
        row = np.repeat(np.arange(len(new)), np.diff(new, append=len(self.pair)))
        values = self.values.new_zeros(len(new), n_channels)
        values.view(-1)[torch.from_numpy(row * n_channels + self.channel)] = self.values
        return Differences(self.pair[new], self.position[new], values)
