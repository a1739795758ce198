"""Several views of one sequence (strands, shifted windows), averaged within each draw.

The outputs of all views are computed under the same masks and averaged; only then are reference and
mutant compared. So a draw remains one thinned network, and the spread of the effect over the draws is
that of the averaged prediction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kipoi_mcdropout.engine.full import DrawBlock, Engine
from kipoi_mcdropout.outputs.aligned import Alignment, View
from kipoi_mcdropout.sequence.mutants import MutantBatch


@dataclass(frozen=True)
class ViewedBatch(MutantBatch):
    """A batch that is the first of several views of the same mutants, in the same order.

    Where insertions and deletions are stitched, `behind` has the same mutants in the windows that end
    with the reference; the others are as in `views`.
    """

    views: tuple[MutantBatch, ...] = ()  # all of them
    behind: tuple[MutantBatch, ...] = ()
    indels: NDArray[np.int64] | None = None  # shape=(mutants, 2), see `windows.Indel`

    def some(self, mutants: NDArray[np.int64]) -> ViewedBatch:
        """See `MutantBatch.some`; of all views."""
        first = super().some(mutants)
        assert isinstance(first, ViewedBatch)
        views, behind = (tuple(x.some(mutants) for x in of) for of in (self.views, self.behind))
        indels = None if self.indels is None else self.indels[mutants]
        return replace(first, views=views, behind=behind, indels=indels)

    def unchanged(self) -> NDArray[np.bool_]:
        """Which mutants equal their reference in all views, shape=(mutants,)."""
        every = [view.unchanged() for view in (*self.views, *self.behind)]
        unchanged: NDArray[np.bool_] = np.logical_and.reduce(every)
        return unchanged


class ViewAverage:
    """An engine that averages the outputs of all views of a batch, draw by draw.

    Parameters
    ----------
    engine : Engine
    alignment : Alignment, optional
        Of bins, where the outputs are profiles that are brought into line first.
    """

    def __init__(self, engine: Engine, alignment: Alignment | None = None) -> None:
        self.engine, self.alignment = engine, alignment

    def run(
        self, batch: MutantBatch, draws: Sequence[int], selected: Tensor | None = None
    ) -> Iterator[DrawBlock]:
        """See `Engine.run`. With several views, one block holds all mutants and draws."""
        views = batch.views if isinstance(batch, ViewedBatch) else (batch,)
        if len(views) == 1 and not _has_indels(batch):
            yield from self._framed(self.engine.run(views[0], draws, selected), 0)
            return
        several = len(views) > 1
        totals: DrawBlock | None = None
        for number in range(len(views)):
            outputs = self._outputs(batch, number, draws, selected, torch.float64 if several else None)
            if totals is None:
                totals = outputs
            else:
                totals.ref.add_(outputs.ref)
                totals.alt.add_(outputs.alt)
        if totals is not None and several:
            yield DrawBlock(totals.mutants, totals.ref / len(views), totals.alt / len(views))
        elif totals is not None:
            yield totals

    def _outputs(
        self,
        batch: MutantBatch,
        number: int,
        draws: Sequence[int],
        selected: Tensor | None,
        dtype: torch.dtype | None,
    ) -> DrawBlock:
        """The aligned outputs of one view, whole."""
        view = batch.views[number] if isinstance(batch, ViewedBatch) else batch
        if self.alignment is None or not _has_indels(batch):
            return _whole(list(self._framed(self.engine.run(view, draws, selected), number)), dtype)
        assert isinstance(batch, ViewedBatch)
        assert batch.indels is not None
        of = self.alignment.views.views[number]
        block = _whole(list(self._forward(self.engine.run(view, draws), of)), dtype)
        rows = np.flatnonzero(batch.indels[:, 1])
        run = self.engine.run(batch.behind[number].some(rows), draws)
        behind = _whole(list(self._forward(run, of)), dtype).alt
        for i, row in enumerate(rows):
            position, delta = batch.indels[row].tolist()
            alt = self.alignment.stitch(block.alt[:, row], behind[:, i], position, delta, of)
            block.alt[:, row] = alt
        ref, alt = (self.alignment.framed(x, of) for x in (block.ref, block.alt))
        return DrawBlock(block.mutants, ref, alt)

    def _forward(self, blocks: Iterable[DrawBlock], view: View) -> Iterator[DrawBlock]:
        """The blocks of a view with all bins that the engine gives, as on the variant's strand."""
        assert self.alignment is not None
        for block in blocks:
            ref, alt = (self.alignment.forward(x, view) for x in (block.ref, block.alt))
            yield DrawBlock(block.mutants, ref, alt)

    def _framed(self, blocks: Iterable[DrawBlock], number: int) -> Iterator[DrawBlock]:
        """The blocks of a view with the bins that are compared; the same where nothing is aligned."""
        if self.alignment is None:
            yield from blocks
            return
        view = self.alignment.views.views[number]
        for block in self._forward(blocks, view):
            ref, alt = (self.alignment.framed(x, view) for x in (block.ref, block.alt))
            yield DrawBlock(block.mutants, ref, alt)


def _has_indels(batch: MutantBatch) -> bool:
    return isinstance(batch, ViewedBatch) and batch.indels is not None and bool(batch.indels[:, 1].any())


def _whole(blocks: list[DrawBlock], dtype: torch.dtype | None) -> DrawBlock:
    """All blocks of a run as one; engines may cut the same mutants differently.

    In a type, or in that of the outputs, copied.
    """
    slices: dict[int, list[DrawBlock]] = {}
    for block in blocks:
        slices.setdefault(block.mutants.start, []).append(block)
    parts = [slices[start] for start in sorted(slices)]
    ref = torch.cat([block.ref for block in parts[0]])
    alt = torch.cat([torch.cat([block.alt for block in part]) for part in parts], dim=1)
    return DrawBlock(slice(0, alt.shape[1]), ref.to(dtype or ref.dtype), alt.to(dtype or alt.dtype))
