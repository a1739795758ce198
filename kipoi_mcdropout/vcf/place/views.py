"""Several views of one sequence (strands, shifted windows), averaged within each draw.

The outputs of all views are computed under the same masks and averaged; only then are reference and
mutant compared. So a draw remains one thinned network, and the spread of the effect over the draws is
that of the averaged prediction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kipoi_mcdropout.engine.full import DrawBlock, Engine
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.model.read_outputs import ReadOutputs
from kipoi_mcdropout.sequence.mutants import MutantBatch


@dataclass(frozen=True)
class ViewedBatch(MutantBatch):
    """A batch that is the first of several views of the same mutants, in the same order."""

    views: tuple[MutantBatch, ...] = ()  # all of them

    def some(self, mutants: NDArray[np.int64]) -> ViewedBatch:
        """See `MutantBatch.some`; of all views."""
        first = super().some(mutants)
        assert isinstance(first, ViewedBatch)
        return replace(first, views=tuple(view.some(mutants) for view in self.views))

    def unchanged(self) -> NDArray[np.bool_]:
        """Which mutants equal their reference in all views, shape=(mutants,)."""
        unchanged: NDArray[np.bool_] = np.logical_and.reduce([view.unchanged() for view in self.views])
        return unchanged


def check_bins(reader: ReadOutputs | None, rc: bool, shifts: Sequence[int]) -> None:
    """Raise InputError where bins would be averaged that are not the same bases.

    Parameters
    ----------
    reader : ReadOutputs or None
        What reads the outputs, once the model has run.
    rc, shifts
        See `VariantOptions`.
    """
    views = "rc (--rc)" if rc else "shifts (--shifts)" if tuple(shifts) != (0,) else ""
    if not views or reader is None:
        return
    if reader.readout.keeps_bins:
        raise InputError(
            f"{views} averages outputs whose bins are not the same bases, so profiles cannot be "
            "compared after it; use it with scores of reduced values alone, such as diff or log2fc"
        )
    n_bins = reader.bound.axes.n_bins
    for window in reader.bound.windows if rc else ():
        if window.start + window.end != n_bins:
            raise InputError(
                "rc (--rc) reads the other strand too, whose bins run the other way, so a window of "
                f"bins must be symmetric about the centre; {window.reduction.name} takes the bins "
                f"{window.start}:{window.end} of {n_bins}"
            )


class ViewAverage:
    """An engine that averages the outputs of all views of a batch, draw by draw."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def run(
        self, batch: MutantBatch, draws: Sequence[int], selected: Tensor | None = None
    ) -> Iterator[DrawBlock]:
        """See `Engine.run`. With several views, one block holds all mutants and draws."""
        views = batch.views if isinstance(batch, ViewedBatch) else (batch,)
        if len(views) == 1:
            yield from self.engine.run(views[0], draws, selected)
            return
        totals: DrawBlock | None = None
        for view in views:
            outputs = _whole(list(self.engine.run(view, draws, selected)))
            if totals is None:
                totals = outputs
            else:
                totals.ref.add_(outputs.ref)
                totals.alt.add_(outputs.alt)
        if totals is not None:
            yield DrawBlock(totals.mutants, totals.ref / len(views), totals.alt / len(views))


def _whole(blocks: list[DrawBlock]) -> DrawBlock:
    """All blocks of a run as one, in float64; engines may cut the same mutants differently."""
    slices: dict[int, list[DrawBlock]] = {}
    for block in blocks:
        slices.setdefault(block.mutants.start, []).append(block)
    parts = [slices[start] for start in sorted(slices)]
    ref = torch.cat([block.ref for block in parts[0]]).to(torch.float64)
    alt = torch.cat([torch.cat([block.alt for block in part]) for part in parts], dim=1)
    return DrawBlock(slice(0, alt.shape[1]), ref, alt.to(torch.float64))
