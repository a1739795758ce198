"""ExplaiNN (Novakovsky et al., Genome Biology 2023), whose trained weights evaluation.py uses.

Written anew, with the names of the weights of github.com/wassermanlab/ExplaiNN (commit 4ed332a, MIT
licence, explainn/models/networks.py, class ExplaiNN with two dense layers a unit). Each unit looks at
the sequence with one filter; the outputs are a linear sum of the units.
"""

from __future__ import annotations

import torch
from torch import nn

OUTPUTS = ("MAX", "FOXA1", "JUND")  # of foxa1_max_jund.pth; logits
LENGTH = 200
_HIDDEN, _POOL, _DROPOUT = 100, 7, 0.3


class Exp(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.exp()


class ExplaiNN(nn.Module):
    """Logits of (N, 4, length) one-hot sequences, bases in the order ACGT."""

    def __init__(
        self, units: int = 100, length: int = LENGTH, outputs: int = len(OUTPUTS), width: int = 19
    ) -> None:
        super().__init__()
        pooled = (length - width + 1) // _POOL
        self.linears = nn.Sequential(
            nn.Conv1d(4, units, width),
            nn.BatchNorm1d(units),
            Exp(),
            nn.MaxPool1d(_POOL),
            nn.Flatten(),
            nn.Unflatten(1, (units * pooled, 1)),
            nn.Conv1d(units * pooled, units * _HIDDEN, 1, groups=units),
            nn.BatchNorm1d(units * _HIDDEN),
            nn.ReLU(),
            nn.Dropout(_DROPOUT),
            nn.Conv1d(units * _HIDDEN, units, 1, groups=units),
            nn.BatchNorm1d(units),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.final = nn.Linear(units, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.final(self.linears(x))
        return logits
