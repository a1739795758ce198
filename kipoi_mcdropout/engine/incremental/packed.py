"""Windows of many mutants sorted by position: what a linear layer over all positions needs.

Entries are (position, mutant) pairs in that order, so that the mutants changed at a position lie
together and share the weights, the mask and the reference of that position.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kipoi_mcdropout.engine.incremental.differences import Differences
from kipoi_mcdropout.engine.incremental.windows import Ints, Place


@dataclass
class PackedIndex:
    """Which entries there are.

    Attributes
    ----------
    bounds : numpy.ndarray, shape=(positions + 1,)
        Entries of position i are bounds[i] to bounds[i + 1].
    rows : numpy.ndarray, shape=(entries,)
        Mutant of each entry.
    block_entries : list of (numpy.ndarray, numpy.ndarray)
        Per block: flat numbers (mutant * width + offset) within its windows, and the entry of each.
    """

    bounds: Ints
    rows: Ints
    block_entries: list[tuple[Tensor, Tensor]]
    _keys: Ints | None = None  # position * mutants + mutant of each entry

    @property
    def n_entries(self) -> int:
        """Number of entries."""
        return len(self.rows)

    def at(self, position: int) -> tuple[int, int]:
        """First entry of a position, and one past the last."""
        return int(self.bounds[position]), int(self.bounds[position + 1])

    def entry_of(self, position: Ints, mutant: Ints, n_mutants: int) -> tuple[Ints, NDArray[np.bool_]]:
        """Entries of these positions and mutants, and whether there are such."""
        if self._keys is None:
            position_of = np.repeat(np.arange(len(self.bounds) - 1), np.diff(self.bounds))
            self._keys = position_of * n_mutants + self.rows
        asked = position * n_mutants + mutant
        number = np.minimum(np.searchsorted(self._keys, asked), max(0, len(self._keys) - 1))
        return number, self._keys[number] == asked

    def row_slice(self, position: int) -> slice | Ints:
        """Mutants changed at a position: a slice where they are consecutive."""
        a, b = self.at(position)
        return consecutive(self.rows[a:b])


def consecutive(rows: Ints) -> slice | Ints:
    """Sorted numbers as a slice where possible."""
    if len(rows) and rows[-1] - rows[0] + 1 == len(rows):
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows


def pack(blocks: list[tuple[Ints, Place]], length: int, device: torch.device) -> PackedIndex:
    """Index of the windows of blocks, each given by its mutants and where their windows lie."""
    flats, positions, rows = [], [], []
    for mutants, place in blocks:
        where = place.positions()
        inside = np.flatnonzero((where >= 0) & (where < length))
        flats.append(inside)
        positions.append(where.ravel()[inside])
        rows.append(np.repeat(mutants, place.width)[inside])
    position, row = np.concatenate(positions), np.concatenate(rows)
    order = np.lexsort((row, position))
    entry = np.empty(len(order), dtype=np.int64)
    entry[order] = np.arange(len(order))
    bounds = np.searchsorted(position[order], np.arange(length + 1))
    entries = []
    begin = 0
    for flat in flats:
        own = entry[begin : begin + len(flat)]
        entries.append((torch.from_numpy(flat).to(device), torch.from_numpy(own).to(device)))
        begin += len(flat)
    return PackedIndex(bounds, row[order], entries)


class Packed:
    """Differences of all mutants by position, shape=(entries, draws, channels)."""

    def __init__(self, index: PackedIndex) -> None:
        self.index = index
        self.values: Tensor | None = None
        self._cleared: Callable[[], Tensor] | None = None

    def put(self, block: int, delta: Tensor) -> None:
        """Store the windows of a block, shape=(draws, mutants, width, channels)."""
        draws, channels = delta.shape[0], delta.shape[3]
        shape = (self.index.n_entries, draws, channels)
        if self.values is None or self.values.shape != shape:
            self.values = delta.new_empty(shape)
        flat, entries = self.index.block_entries[block]
        source = delta.reshape(draws, -1, channels).transpose(0, 1)
        if len(flat) != source.shape[0]:
            source = source.index_select(0, flat)
        self.values[entries] = source

    def clear(self, draws: int, channels: int, dtype: torch.dtype, device: torch.device) -> None:
        """Start with differences of zero for all mutants."""
        shape = (self.index.n_entries, draws, channels)
        self.values = None
        self._cleared = lambda: torch.zeros(shape, dtype=dtype, device=device)

    @property
    def empty(self) -> bool:
        """Whether nothing was stored since `clear`."""
        return self.values is None

    def held(self) -> Tensor:
        """The values; zeros are made when they are first asked for."""
        if self.values is None:
            assert self._cleared is not None
            self.values = self._cleared()
        return self.values

    def put_rows(self, rows: Differences, n_mutants: int) -> None:
        """Store rows of some pairs; all others are zero (see `clear`).

        Rows without an entry are left out: there, nothing but rounding can differ.
        """
        held = self.held()
        draw, mutant = np.divmod(rows.pair, n_mutants)
        number, there = self.index.entry_of(rows.position, mutant, n_mutants)
        where = torch.from_numpy((number * held.shape[1] + draw)[there])
        values, device = rows.values, held.device
        if not there.all():
            values = values[torch.from_numpy(there).to(device)]
        held.view(-1, held.shape[2]).index_copy_(0, where.to(device), values)

    def multiply(self, weight: Tensor, n_rows: int) -> Tensor:
        """Sum over positions of values @ weight[position]: (mutants, draws, outputs)."""
        held = self.held()
        draws, n_out = held.shape[1], weight.shape[2]
        out = held.new_zeros(n_rows, draws, n_out)
        for position in range(len(self.index.bounds) - 1):
            a, b = self.index.at(position)
            if a == b:
                continue
            rows = self.index.row_slice(position)
            part = held[a:b].flatten(0, 1)
            if isinstance(rows, slice):
                out[rows].view(-1, n_out).addmm_(part, weight[position])
            else:
                product = (part @ weight[position]).view(b - a, draws, n_out)
                out.index_add_(0, torch.from_numpy(rows).to(out.device), product)
        return out
