"""Profiles as an engine gives them, flat, and what is made of them once they are compared.

The bins of a profile go through the engine where reference and mutant are compared bin by bin, and where
several views of a sequence are brought into line first (`aligned.Alignment`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kipoi_mcdropout.outputs.aligned import Alignment
from kipoi_mcdropout.outputs.reductions import Window


@dataclass(frozen=True)
class Profiles:
    """The bins of all rows (tracks, groups), and the outputs that are made of them.

    Attributes
    ----------
    n_rows, n_bins : int
        A profile is rows x bins numbers.
    windows : tuple of Window
        Counted from the first of these bins.
    columns : tuple of int
        The outputs that are reported: row * windows + window.
    alignment : Alignment or None
        What makes profiles of the numbers that the engine gives; None where they are the same.
    """

    n_rows: int
    n_bins: int
    windows: tuple[Window, ...]
    columns: tuple[int, ...]
    alignment: Alignment | None = None

    @property
    def size(self) -> int:
        """Numbers of one profile with all its rows, as the engine gives it."""
        return self.n_rows * self.n_bins if self.alignment is None else self.alignment.size

    def rows(self, x: Tensor) -> Tensor:
        """Aligned profiles, shape=(..., rows * bins), as (..., rows, bins)."""
        return x.reshape(*x.shape[:-1], self.n_rows, self.n_bins)

    def values(self, rows: Tensor) -> Tensor:
        """The outputs, each reduced over its window, shape=(..., outputs), of (..., rows, bins)."""
        return self._chosen([w.reduction.apply(w.of(rows, -1), -1) for w in self.windows])

    def scores(self, score: Callable[[Tensor, Tensor], Tensor], ref: Tensor, alt: Tensor) -> Tensor:
        """A score of each output over the bins of its window, shape=(..., outputs).

        Parameters
        ----------
        score : callable
            Of two tensors of shape=(..., rows, bins of the window); it gives shape=(..., rows).
        ref, alt : Tensor, shape=(..., rows, bins)
        """
        known: dict[tuple[int, int], Tensor] = {}
        for w in self.windows:
            if (w.start, w.end) not in known:
                known[w.start, w.end] = score(w.of(ref, -1), w.of(alt, -1))
        return self._chosen([known[w.start, w.end] for w in self.windows])

    def _chosen(self, parts: Sequence[Tensor]) -> Tensor:
        """The outputs that are reported; each part has all rows of a window."""
        every = torch.stack(list(parts), dim=-1).flatten(-2)
        whole = self.columns == tuple(range(every.shape[-1]))
        return every if whole else every[..., list(self.columns)]
