"""A small DeepSEA-like network: three convolutions, three dropout sites, sigmoid outputs."""

from __future__ import annotations

import torch
from torch import nn

LENGTH_BP = 500


class ExampleModel(nn.Module):
    """Transcription factor binding and accessibility of a 500 bp window.

    Dropout after the first and the second convolution block (p = 0.2) and before the dense
    layers (p = 0.5), as in DeepSEA.
    """

    def __init__(self, n_targets: int = 4) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv1d(4, 32, kernel_size=12),
            nn.ReLU(),
            nn.MaxPool1d(4),
            nn.Dropout(0.2),
            nn.Conv1d(32, 64, kernel_size=7),
            nn.ReLU(),
            nn.MaxPool1d(4),
            nn.Dropout(0.2),
            nn.Conv1d(64, 64, kernel_size=5),
            nn.ReLU(),
            nn.MaxPool1d(4),
        )
        self.dense = nn.Sequential(
            nn.Dropout(0.5),
            nn.Linear(64 * 6, 128),
            nn.ReLU(),
            nn.Linear(128, n_targets),
        )

    def logits(self, seq: torch.Tensor) -> torch.Tensor:
        """Outputs before the sigmoid.

        Parameters
        ----------
        seq : torch.Tensor, shape=(n_sequences, 500, 4), dtype=float32
            One-hot A, C, G, T; an unknown base is all zero.

        Returns
        -------
        torch.Tensor, shape=(n_sequences, n_targets)
        """
        return self.dense(torch.flatten(self.features(seq.transpose(1, 2)), 1))

    def forward(self, seq: torch.Tensor) -> torch.Tensor:
        """Probabilities, shape=(n_sequences, n_targets); see :meth:`logits` for ``seq``."""
        return torch.sigmoid(self.logits(seq))
