"""Small networks for DNA of shape (4, 40), and a stand-in for what Kipoi puts around a network."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

LENGTH = 40


class Linear(nn.Module):
    """Two linear layers with dropout between them: `flatten, Linear, Dropout, Linear`."""

    def __init__(self, n_outputs: int = 3, p: float = 0.3, n_channels: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Flatten(), nn.Linear(n_channels * LENGTH, 24), nn.Dropout(p), nn.Linear(24, n_outputs)
        )

    def forward(self, x: Tensor) -> Any:
        return self.body(x)


class NoDropout(nn.Module):
    """One linear layer, in which nothing is random."""

    def __init__(self, n_outputs: int = 3) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(4 * LENGTH, n_outputs))

    def forward(self, x: Tensor) -> Any:
        return self.body(x)


class OwnCode(nn.Module):
    """Code of a test's own, in training mode only or always."""

    def __init__(self, code: Callable[[Tensor], Tensor], guarded: bool = False) -> None:
        super().__init__()
        self.code, self.guarded = code, guarded

    def forward(self, x: Tensor) -> Tensor:
        return self.code(x) if self.training or not self.guarded else x


def fixed(net: nn.Module, seed: int = 0) -> nn.Module:
    """The network with weights that are the same in every run."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in net.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return net.eval()


def one_hot(n: int = 2, length: int = LENGTH, seed: int = 0, channels: int = 4) -> np.ndarray:
    """Random sequences, float32, shape=(n, channels, length)."""
    codes = np.random.default_rng(seed).integers(0, 4, (n, length))
    return np.ascontiguousarray(np.eye(channels, dtype=np.float32)[codes].transpose(0, 2, 1))


def array(*labels: str, name: str | None = None, shape: Any = None) -> SimpleNamespace:
    """An array in a Kipoi schema."""
    return SimpleNamespace(column_labels=list(labels), name=name, shape=shape)


def with_schema(net: nn.Module, targets: Any, inputs: Any = None) -> SimpleNamespace:
    """What Kipoi puts around a network, as far as it is looked at."""
    return SimpleNamespace(model=net, schema=SimpleNamespace(inputs=inputs, targets=targets))
