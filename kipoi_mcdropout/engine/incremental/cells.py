"""Convolution, activation and pooling in one, output by output: what each output sees of the mutants.

An output of the pooling (a cell) sees some positions of the convolution, and these see a stretch of
inputs. A convolution without a pooling is taken as one whose pooling sees one position.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kipoi_mcdropout.engine.incremental.entries import Entries
from kipoi_mcdropout.engine.incremental.few_channels import FewChannels
from kipoi_mcdropout.engine.incremental.rules.convolution import Convolution, Sliding
from kipoi_mcdropout.engine.incremental.rules.pointwise import Affine
from kipoi_mcdropout.engine.incremental.windows import Ints


@dataclass(frozen=True)
class Convolved:
    """A convolution, and constants that its outputs are multiplied by, as in batch normalization.

    Attributes
    ----------
    node : int
        Of the result.
    scale : Tensor, optional, shape=(units,)
    """

    convolution: Convolution
    node: int
    scale: Tensor | None = None

    @classmethod
    def of(cls, convolution: Convolution) -> Convolved:
        """Without constants."""
        return cls(convolution, convolution.node.index)

    def then(self, affine: Affine) -> Convolved | None:
        """With a constant more; None where it differs between positions, or has another type."""
        scale, index = affine.scale, affine.node.index
        if scale is None:
            return replace(self, node=index)
        if isinstance(scale, Tensor) and scale.shape[1] != 1:
            return None
        before = self.convolution.weight.new_ones(self.convolution.layout.n_channels)
        before = before if self.scale is None else self.scale
        after = before * (scale.flatten() if isinstance(scale, Tensor) else scale)
        return replace(self, node=index, scale=after) if after.dtype == before.dtype else None

    @cached_property
    def _scaled(self) -> Tensor | None:
        taps = self.convolution.taps
        return None if self.scale is None or taps is None else taps * self.scale

    @property
    def taps(self) -> Tensor:
        """Weights times the constants, shape=(kernel, channels in, units)."""
        taps = self.convolution.taps if self._scaled is None else self._scaled
        assert taps is not None
        return taps


@dataclass
class Cell:
    """A cell, and the differences under it of some mutants, or pairs of a draw and a mutant.

    Attributes
    ----------
    position : int
        Of the cell, 0-based.
    pairs : numpy.ndarray, shape=(pairs,)
    few : FewChannels
        The numbers that are not zero, a row for each pair; columns: input under the cell * channels in
        + channel.
    pair_of_number : Tensor of int64, shape=(numbers,)
        Which of `pairs`.
    """

    position: int
    pairs: Ints
    few: FewChannels
    pair_of_number: Tensor


class Cells:
    """How a convolution and a pooling after it slide over the inputs.

    Parameters
    ----------
    convolved : Convolved
        With `taps`.
    pool : Sliding
    n_cells : int
    """

    def __init__(self, convolved: Convolved, pool: Sliding, n_cells: int) -> None:
        self.convolved, self.pool, self.n_cells = convolved, pool, n_cells
        self.sliding, self.layout = convolved.convolution.sliding, convolved.convolution.layout
        self.n_in, self.reach = convolved.convolution.n_in, self.sliding.reach
        self.step = pool.dilation * self.sliding.stride  # inputs from tap to tap of the pooling
        self.extent = (pool.kernel - 1) * self.step + self.reach + 1

    def taps(self) -> Tensor:
        """Weights of the convolution from its first to its last tap, zero between them where dilated."""
        taps, dilation = self.convolved.taps, self.sliding.dilation
        if dilation == 1:
            return taps
        spread = taps.new_zeros(self.reach + 1, *taps.shape[1:])
        spread[::dilation] = taps
        return spread

    def first(self, cell: int) -> int:
        """First input under a cell; may lie before the sequence."""
        s = self.sliding
        return (cell * self.pool.stride - self.pool.left) * s.stride - s.left

    def taps_inside(self, cell: int) -> list[int]:
        """Taps of the pooling that lie on the sequence; consecutive ones."""
        s, length = self.pool, self.layout.n_positions
        begin = cell * s.stride - s.left
        return [tap for tap in range(s.kernel) if 0 <= begin + tap * s.dilation < length]

    def values(self, reference: Tensor, cell: int, owner: Ints | None) -> Tensor:
        """Values of the references that a cell sees, -inf off the sequence.

        Parameters
        ----------
        reference : Tensor, shape=(draws, references, positions, channels)
            Of the node of `convolved`.
        owner : numpy.ndarray, shape=(mutants,), optional
            None where there is one reference.

        Returns
        -------
        Tensor, shape=(draws, mutants or 1, taps of the pooling, channels)
        """
        inside, s = self.taps_inside(cell), self.pool
        begin = cell * s.stride - s.left
        first, last = begin + inside[0] * s.dilation, begin + inside[-1] * s.dilation
        own = slice(0, 1) if owner is None else torch.from_numpy(owner).to(reference.device)
        seen = reference[:, :, first : last + 1 : s.dilation][:, own]
        around = (0, 0, inside[0], s.kernel - 1 - inside[-1])
        return F.pad(seen, around, value=-torch.inf) if len(inside) < s.kernel else seen

    def weights(self, units: Tensor) -> Tensor:
        """Of the inputs under a cell: (inputs * channels in, taps of the pooling, units)."""
        taps = self.taps()
        rows = taps.flatten(0, 1)  # here `gather` is faster than `index_select`
        taps = rows.gather(1, units.expand(len(rows), -1)).view(*taps.shape[:2], len(units))
        wide = taps.new_zeros(self.extent, taps.shape[1], self.pool.kernel, taps.shape[2])
        for tap in range(self.pool.kernel):
            begin = tap * self.step
            wide[begin : begin + len(taps), :, tap] = taps
        return wide.flatten(0, 1)

    def padded(self, taps: Tensor) -> tuple[Tensor, int]:
        """Taps with zeros on either side, as a matrix, and how many rows of zeros there are before them.

        With `tap * step * channels` rows fewer before them, they are the weights of the inputs under a
        cell for one tap of the pooling.
        """
        around = self.extent - len(taps)
        return F.pad(taps, (0, 0, 0, 0, around, around)).flatten(0, 1), around * taps.shape[1]

    def under(self, entries: Entries, group: Callable[[Ints], Ints]) -> Iterator[Cell]:
        """The cells that see any of the differences, those of one group of pairs at a time.

        Parameters
        ----------
        entries : Entries
            By pair, then by position.
        group : callable
            Pairs that lie at a cell, ascending -> number of the group of each, ascending.
        """
        for position in range(self.n_cells):
            offset = entries.position - self.first(position)
            mine = np.flatnonzero((offset >= 0) & (offset < self.extent))
            pairs, number = np.unique(entries.pair[mine], return_inverse=True)
            groups = group(pairs)[number]
            ends = np.append(np.flatnonzero(np.diff(groups)) + 1, len(mine))
            for begin, end in itertools.pairwise([0, *ends]):
                if end > begin:
                    yield self._cell(position, entries, mine[begin:end], offset)

    def _cell(self, position: int, entries: Entries, numbers: Ints, offset: Ints) -> Cell:
        """Of some numbers."""
        offset, channel = offset[numbers], entries.channel[numbers]
        pairs, begin, of_pair = np.unique(
            entries.pair[numbers], return_index=True, return_inverse=True
        )
        few = FewChannels(
            torch.from_numpy(offset * self.n_in + channel),
            torch.from_numpy(begin),
            entries.values.index_select(0, torch.from_numpy(numbers)),
        )
        return Cell(position, pairs, few, torch.from_numpy(of_pair))
