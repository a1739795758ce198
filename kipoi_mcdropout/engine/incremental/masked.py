"""Differences that no mask has met yet, and the masks of some draws: their product, made when asked for.

A linear operation need not be done in each draw. It is done once without a mask; what the masks drop is
taken away again. Where the masks drop little, this is less than what they keep.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kipoi_mcdropout.engine.incremental.zeros import any_not_zero


@dataclass
class Masked:
    """Windows before a dropout site, and what the site multiplies them by.

    Attributes
    ----------
    before : Tensor, shape=(1, mutants, width, channels)
    factor : Tensor, shape=(draws, mutants or 1, width or 1, channels)
        In each draw mostly 0 or the largest of the draw, its gain.
    products : dict of int to Tensor
        See Window.
    """

    before: Tensor
    factor: Tensor
    products: dict[int, Tensor]

    def product(self) -> Tensor:
        """Windows after the site, (draws, mutants, width, channels)."""
        return self.before * self.factor

    def gains(self) -> Tensor:
        """Factor of most units that are kept, shape=(draws,)."""
        return self.factor.flatten(1).amax(dim=1)

    def dropped(self, gains: Tensor) -> Tensor:
        """What is missing in each draw, times the gain, (draws, mutants, width, channels)."""
        return self.before * (gains[:, None, None, None] - self.factor)

    def all_dropped(self) -> Tensor:
        """Where the masks leave nothing at a position, bool, (draws, mutants, width)."""
        return ~any_not_zero(self.product())


def less(base: Tensor, gains: Tensor, dropped: Tensor, out: Tensor) -> None:
    """Put base * gains - dropped into `out`.

    Parameters
    ----------
    base : Tensor, shape=(1, mutants, outputs)
    gains : Tensor, shape=(draws,)
    dropped, out : Tensor, shape=(draws, mutants, outputs)
    """
    values, counts = torch.unique_consecutive(gains, return_counts=True)
    begin = 0
    for value, count in zip(values, counts.tolist(), strict=True):
        rows = slice(begin, begin + count)
        torch.sub(base * value, dropped[rows], out=out[rows])
        begin += count
