"""Mask, convolution, ReLU and max pooling in one: only units that some mutant can change are computed.

In a trained network a mutation turns on few units. Most would stay at zero, or below the maximum under
the same output of the pooling, even if it added all that it can: the sum of the positive parts of
difference times weight. This bound is the same in all draws. So for each output, and some mutants near
it, the units that no mutant can change in any draw are left out of the weights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kipoi_mcdropout.engine.incremental.cells import Cell
from kipoi_mcdropout.engine.incremental.differences import Differences
from kipoi_mcdropout.engine.incremental.entries import Entries
from kipoi_mcdropout.engine.incremental.few_channels import FewChannels, pays
from kipoi_mcdropout.engine.incremental.graph import Node
from kipoi_mcdropout.engine.incremental.references import References
from kipoi_mcdropout.engine.incremental.stages import Stage
from kipoi_mcdropout.engine.incremental.windows import Ints
from kipoi_mcdropout.engine.incremental.zeros import count_true, true_at

TOGETHER = 100  # mutants that share the weights of a cell: with more, more units can be changed by one
_SLACK = 1.0 + 1e-4  # of what is added at best, for rounding
WORTH = 0.5  # of the units at most, for leaving out the others to be faster


@dataclass
class Bounded:
    """A cell, and what the mutants can do to it.

    Attributes
    ----------
    most : Tensor, shape=(mutants or 1, taps of the pooling, units)
        What is added at best where no mask drops anything; 1 where all have the same reference.
    touched : Tensor of bool, shape=(mutants or 1, taps of the pooling)
        Whether anything that differs is seen.
    """

    cell: Cell
    most: Tensor
    touched: Tensor


class Factor:
    """What a mask multiplies by, (draws, positions or 1, channels)."""

    def __init__(self, factor: Tensor) -> None:
        largest = factor.flatten(1).amax(dim=1)
        self.gains = torch.where(largest > 0, largest, 1.0)  # of the units that are kept, (draws,)
        self.dropped = (factor == 0).flatten(1)
        self.by_position = factor.shape[1] > 1
        kept = (factor == self.gains[:, None, None]).flatten(1)
        # Whether all is dropped or kept with one factor of the draw.
        self.plain = bool((self.dropped | kept).all())


class Screened:
    """The differences after a stage, from those before its mask; these are the same in all draws.

    Parameters
    ----------
    stage : Stage
    entries : Entries
        Pairs are mutants here. By pair, then by position.
    owner : numpy.ndarray, shape=(mutants,)
        Reference of each mutant.
    paths : Counter
        "screened" counts the cells that were looked at, "units" their units, and "units left" those
        that were computed.
    """

    def __init__(self, stage: Stage, entries: Entries, owner: Ints, paths: Counter[str]) -> None:
        self.stage, self.owner, self.paths = stage, owner, paths
        self.single = len(owner) == 0 or bool((owner == owner[0]).all())
        self.cells = stage.cells
        self._bounded = list(self._bound(entries))

    @classmethod
    def of(cls, stage: Stage, rows: Differences, owner: Ints) -> Screened | None:
        """None where too many numbers differ, or one is not finite, or on a GPU."""
        values, outputs = rows.values, stage.cells.pool.kernel * stage.cells.layout.n_channels
        if values.device.type != "cpu" or not len(values) or not torch.isfinite(values.sum()):
            return None
        if not pays(count_true(values != 0) / values.numel(), outputs):
            return None
        return cls(stage, Entries.joined([Entries.of(rows)]), owner, Counter())

    def _bound(self, entries: Entries) -> Iterator[Bounded]:
        taps = self.cells.taps()
        positive, edge = self.cells.padded(taps.clamp(min=0))
        negative, _ = self.cells.padded(taps.clamp(max=0).neg_())
        signed, half = torch.cat([positive, negative]), len(positive)
        for cell in self.cells.under(entries, lambda mutants: np.arange(len(mutants)) // TOGETHER):
            values = cell.few.values
            column = cell.few.column + edge + half * (values < 0)
            offset, sizes = cell.few.column // self.cells.n_in, values.abs()
            most, touched = [], []
            for tap in range(self.cells.pool.kernel):
                shift = tap * self.cells.step
                added = FewChannels(column - shift * self.cells.n_in, cell.few.begin, sizes)
                most.append(added.times(signed))
                seen = (offset >= shift) & (offset < shift + len(taps))
                if self.single:
                    most[-1], own = most[-1].amax(dim=0, keepdim=True), seen.any()[None]
                else:
                    own = torch.zeros(len(cell.pairs), dtype=torch.bool)
                    own[cell.pair_of_number[seen]] = True
                touched.append(own)
            yield Bounded(cell, torch.stack(most, 1) * _SLACK, torch.stack(touched, 1))

    def share(self, references: References, masks: Callable[[Node], Tensor]) -> float:
        """Share of the units of the cells that some mutant can change in some draw."""
        factor = Factor(masks(self.stage.site.node))
        if not factor.plain:
            return 1.0
        changed = total = 0
        for bounded in self._bounded:
            units = self._units(bounded, *self._reference(bounded, references), factor.gains)
            changed += len(units) * len(bounded.cell.pairs)
            total += bounded.most.shape[2] * len(bounded.cell.pairs)
        return changed / max(1, total)

    def run(self, references: References, masks: Callable[[Node], Tensor]) -> Iterator[Entries]:
        """Differences after the stage, of pairs of a draw and a mutant.

        Parameters
        ----------
        masks : callable
            Node of a dropout site -> multipliers, (draws, positions or 1, channels), each of them zero
            or the largest of the draw.
        """
        factor = Factor(masks(self.stage.site.node))
        for bounded in self._bounded:
            before, after = self._reference(bounded, references)
            units = self._units(bounded, before, after, factor.gains)
            self.paths["screened"] += 1
            self.paths["units"] += bounded.most.shape[2]
            self.paths["units left"] += len(units)
            if not len(units):
                continue
            z = self._convolved(bounded.cell, factor, units)
            z += before.index_select(3, units)
            new = z[:, :, 0]
            for tap in range(1, z.shape[2]):
                torch.maximum(new, z[:, :, tap], out=new)
            delta = new.relu_().sub_(after.index_select(2, units))
            entries = self._entries(bounded.cell, delta, units)
            for site in self.stage.masks:
                entries = entries.times(masks(site.node), len(self.owner))
            yield entries

    def _reference(self, bounded: Bounded, references: References) -> tuple[Tensor, Tensor]:
        """What the cell sees, (draws, mutants or 1, taps, units), and its values without the taps."""
        position = bounded.cell.position
        owner = None if self.single else self.owner[bounded.cell.pairs]
        convolved = references.canonical(self.cells.convolved.node)
        before = self.cells.values(convolved, position, owner)
        after = references.canonical(self.stage.last)[:, :, position]
        picked = after[:, :1] if owner is None else after.index_select(1, torch.from_numpy(owner))
        return before, picked

    def _units(self, bounded: Bounded, before: Tensor, after: Tensor, gains: Tensor) -> Tensor:
        """Units that some mutant can raise, or whose maximum it touches."""
        room = (after[:, :, None] - before).div_(gains[:, None, None, None]).amin(dim=0)
        raised = (bounded.most > room).flatten(0, 1).any(dim=0)
        largest = (before == after[:, :, None]) & (after > 0)[:, :, None]
        lowered = (largest.any(dim=0) & bounded.touched[:, :, None]).flatten(0, 1).any(dim=0)
        return true_at(raised | lowered)

    def _convolved(self, cell: Cell, factor: Factor, units: Tensor) -> Tensor:
        """Differences of the convolution, (draws, mutants, taps of the pooling, units).

        What all draws have in common, less what each of them drops, times its gain. Both are sums in the
        same order, so the result is exactly zero where a draw drops all that is seen.
        """
        few, weight = cell.few, self.cells.weights(units)
        draws, numbers = len(factor.gains), len(few.values)
        at = few.column % self.cells.n_in
        if factor.by_position:
            at = few.column + self.cells.first(cell.position) * self.cells.n_in
        dropped = true_at(factor.dropped.gather(1, at.expand(draws, -1)))
        number = dropped % numbers
        begin = torch.arange(draws)[:, None] * numbers + few.begin
        lost = FewChannels(
            few.column.index_select(0, number),
            torch.searchsorted(dropped, begin.flatten()),
            few.values.index_select(0, number),
        )
        z = lost.times(weight.flatten(1)).view(draws, len(cell.pairs), -1)
        torch.sub(few.times(weight.flatten(1)), z, out=z)
        return z.mul_(factor.gains[:, None, None]).view(*z.shape[:2], *weight.shape[1:])

    def _entries(self, cell: Cell, delta: Tensor, units: Tensor) -> Entries:
        """What is not zero, of (draws, mutants, units)."""
        at = true_at(delta != 0)
        row, unit = np.divmod(at.numpy(), len(units))
        draw, mutant = np.divmod(row, len(cell.pairs))
        return Entries(
            draw * len(self.owner) + cell.pairs[mutant],
            np.full(len(at), cell.position),
            units.numpy()[unit],
            delta.flatten().index_select(0, at),
        )
