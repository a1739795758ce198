"""Windows in which few channels differ, multiplied by the weights of linear layers as they come.

Otherwise windows are packed first, by position, so that dense products are large (see packed.py).
"""

from __future__ import annotations

import torch
from torch import Tensor

from kipoi_mcdropout.engine.incremental.blocks import Block
from kipoi_mcdropout.engine.incremental.exits import FlatLinear
from kipoi_mcdropout.engine.incremental.rules.base import Key
from kipoi_mcdropout.engine.incremental.thinning import PairContext
from kipoi_mcdropout.engine.incremental.zeros import any_not_zero

_PACKED = 2.0  # numbers that packing multiplies, also of pairs that are gone, for each one of those left


class Multiplied:
    """Products of pairs of a draw and a mutant; those of all others are zero.

    Parameters
    ----------
    layers : dict of int to FlatLinear
        By node, those to whose windows this may be done.
    n_mutants : int
    """

    def __init__(self, layers: dict[int, FlatLinear], n_mutants: int) -> None:
        self.layers, self.n_mutants = layers, n_mutants
        self._products: dict[Key, Tensor] = {}

    def clear(self) -> None:
        """Start anew."""
        self._products = {}

    def take(
        self, context: PairContext, key: Key, delta: Tensor, block: Block, n_draws: int
    ) -> Tensor | None:
        """Multiply the windows of a block; which pairs differ afterwards, bool, (pairs,).

        None where this does not pay, or another operation takes these windows too.

        Parameters
        ----------
        delta : Tensor, shape=(1, pairs, width, channels)
        n_draws : int
            1 where the windows are the same in all draws.
        """
        layers = {i: layer for i, layer in self.layers.items() if layer.source == key[0]}
        outputs = sum(layer.weight.shape[2] for layer in layers.values())
        few = context.few_channels(delta[0].flatten(1), outputs, _PACKED) if layers else None
        if few is None:
            return None
        few = few.shifted(torch.from_numpy(block.places[key].start * delta.shape[3]))
        rows = torch.from_numpy(context.mutant * n_draws + context.draw)
        changed = torch.zeros(len(rows), dtype=torch.bool)
        for index, layer in layers.items():
            part = few.times(layer.weight.flatten(0, 1))
            own = (index, key[1])
            if own not in self._products:
                self._products[own] = part.new_zeros(self.n_mutants * n_draws, part.shape[1])
            self._products[own].index_copy_(0, rows, part)
            changed |= any_not_zero(part)
        return changed

    def product(self, index: int, lane: int) -> Tensor | None:
        """What was taken for a layer, (mutants, draws, outputs); None where nothing was."""
        product = self._products.get((index, lane))
        return None if product is None else product.view(self.n_mutants, -1, product.shape[1])
