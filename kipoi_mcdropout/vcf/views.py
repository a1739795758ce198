"""Several views of one sequence (strands, shifted windows), averaged within each draw.

The outputs of all views are computed under the same masks and averaged; only then are reference and
mutant compared. So a draw remains one thinned network, and the spread of the effect over the draws is
that of the averaged prediction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kipoi_mcdropout.engine import DrawBlock, Engine
from kipoi_mcdropout.mutants import MutantBatch


@dataclass(frozen=True)
class ViewedBatch(MutantBatch):
    """A batch that is the first of several views of the same mutants, in the same order."""

    views: tuple[MutantBatch, ...] = ()  # all of them

    def unchanged(self) -> NDArray[np.bool_]:
        """Which mutants equal their reference in all views, shape=(mutants,)."""
        return np.logical_and.reduce([view.unchanged() for view in self.views])


class ViewAverage:
    """An engine that averages the outputs of all views of a batch, draw by draw."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def run(
        self, batch: MutantBatch, draws: Sequence[int], selected: Tensor | None = None
    ) -> Iterator[DrawBlock]:
        """See `Engine.run`; the blocks are those of the engine within."""
        views = batch.views if isinstance(batch, ViewedBatch) else (batch,)
        streams = [self.engine.run(view, draws, selected) for view in views]
        for blocks in zip(*streams, strict=True):
            first = blocks[0]
            if any(b.mutants != first.mutants or b.alt.shape != first.alt.shape for b in blocks):
                raise RuntimeError("the engine cut views of the same mutants into different blocks")
            if len(blocks) == 1:
                yield first
            else:
                yield DrawBlock(
                    first.mutants, _mean([b.ref for b in blocks]), _mean([b.alt for b in blocks])
                )


def _mean(tensors: list[Tensor]) -> Tensor:
    return torch.stack([t.to(torch.float64) for t in tensors]).mean(dim=0)
