"""The log2 fold change of two values, such as sums of counts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from kipoi_mcdropout.errors import InputError


@dataclass(frozen=True)
class Log2FoldChange:
    """log2((alt + c) / (ref + c)) with the pseudocount c.

    Of sums over bins and c = 1 this is the logSED of baskerville. AlphaGenome's DIFF_LOG2_SUM, the
    difference of the log2 of sums, is of the same form.

    Raises
    ------
    InputError
        If the pseudocount is not a finite number of 0 or more.
    """

    pseudocount: float = 1.0

    def __post_init__(self) -> None:
        c = self.pseudocount
        if isinstance(c, bool) or not isinstance(c, (int, float)) or not 0 <= c < math.inf:
            raise InputError(f"pseudocount must be a finite number, 0 or more; got {c!r}")

    def __call__(self, ref: Tensor, alt: Tensor) -> Tensor:
        """The score in float64; NaN or infinite where a value and c are 0 or less together."""
        return torch.log2(alt + self.pseudocount) - torch.log2(ref + self.pseudocount)
