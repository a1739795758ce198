"""The network: put your own class here. It needs no code for kipoi_mcdropout."""

from torch import Tensor, nn

LENGTH = 100  # bp


class Net(nn.Module):
    """Two outputs from one-hot DNA, shape=(batch, 4, LENGTH)."""

    def __init__(self, n_filters: int = 8) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(4, n_filters, 9, padding=4),
            nn.ReLU(),
            nn.MaxPool1d(5),
            nn.Dropout(0.2),
            nn.Flatten(),
            nn.Linear(n_filters * LENGTH // 5, 16),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(16, 2),
            nn.Sigmoid(),
        )

    def forward(self, sequence: Tensor) -> Tensor:
        """Probabilities, shape=(batch, 2)."""
        outputs: Tensor = self.layers(sequence)
        return outputs
