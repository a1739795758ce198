"""Matrix products of rows in which few numbers are not zero: only the weights of these are summed.

In a trained network a mutation changes few channels of those positions that it changes at all. A product
is then a weighted sum of some rows of the weights, which `embedding_bag` computes. The zero test has no
tolerance, and the choice follows from the numbers at hand alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from kipoi_mcdropout.engine.incremental.zeros import count_true, true_at

# Of a dense product with one output, for each number of the matrix: what it costs to find the numbers
# that are not zero, and more for each of these; and the product for each of these. Measured, see
# benchmarks/sparse_products.py.
_FIND, _FOUND, _SPARSE = 60.0, 1200.0, 2.5


def pays(share: float, outputs: int, dense: float = 1.0) -> bool:
    """Whether to multiply only the numbers that are not zero, this share, is faster.

    Parameters
    ----------
    outputs : int
        That each number has a weight for.
    dense : float
        Numbers that would be multiplied instead, for each of the matrix.
    """
    return _FIND + share * (_FOUND + _SPARSE * outputs) < dense * outputs


@dataclass
class FewChannels:
    """The numbers of a matrix that are not zero, row by row.

    Attributes
    ----------
    column : Tensor of int64, shape=(numbers,)
    begin : Tensor of int64, shape=(rows,)
        Where the numbers of each row begin.
    values : Tensor, shape=(numbers,)
    """

    column: Tensor
    begin: Tensor
    values: Tensor

    @classmethod
    def of(cls, rows: Tensor, outputs: int, dense: float = 1.0) -> FewChannels | None:
        """Of a contiguous matrix; None where a dense product is faster (see `pays`), and on a GPU.

        None where a number is not finite, too: with weights of zero it would give NaN.
        """
        if rows.device.type != "cpu" or not rows.numel() or not pays(0.0, outputs, dense):
            return None
        differs = rows != 0
        if not pays(count_true(differs) / rows.numel(), outputs, dense):
            return None
        few = cls.at(rows, differs)
        return few if torch.isfinite(few.values.sum()) else None

    @classmethod
    def at(cls, rows: Tensor, differs: Tensor) -> FewChannels:
        """The numbers of a contiguous matrix where `differs`, bool, is true."""
        n, width = rows.shape
        flat = true_at(differs)
        begin = torch.searchsorted(flat, torch.arange(0, n * width, width))
        return cls(flat % width, begin, rows.view(-1).index_select(0, flat))

    def shifted(self, by: Tensor) -> FewChannels:
        """With the columns of each row moved to the right, `by` of shape=(rows,)."""
        counts = torch.diff(self.begin, append=self.begin.new_tensor([len(self.column)]))
        return FewChannels(self.column + torch.repeat_interleave(by, counts), self.begin, self.values)

    def times(self, weight: Tensor) -> Tensor:
        """The product with a matrix of shape=(columns, outputs): (rows, outputs)."""
        return F.embedding_bag(
            self.column, weight, self.begin, mode="sum", per_sample_weights=self.values
        )
