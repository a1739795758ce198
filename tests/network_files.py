"""A small network as a user has it: a Python file, weights beside it, and sequences of its length."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

LENGTH = 30
CODE = '''
"""Code as a user writes it."""
import torch
from torch import nn

from layers import Block


class Net(nn.Module):
    def __init__(self, n_filters=5, p=0.4):
        super().__init__()
        self.block = Block(n_filters, p)
        self.norm = nn.BatchNorm1d(n_filters)
        self.head = nn.Linear(n_filters * 28, 2)

    def forward(self, x):
        return torch.sigmoid(self.head(self.norm(self.block(x)).flatten(1)))


class Needy(Net):
    def __init__(self, n_filters, p):
        super().__init__(n_filters, p)


class NoNetwork:
    pass


def build(n_filters=5):
    return Net(n_filters)


def gives_a_list():
    return [Net()]


def raises():
    raise RuntimeError("no such\\n checkpoint")


tool = 3
ready = Net().eval()
'''
LAYERS = """
from torch import nn


class Block(nn.Sequential):
    def __init__(self, n_filters, p):
        super().__init__(nn.Conv1d(4, n_filters, 3), nn.ReLU(), nn.Dropout(p))
"""


class Net(nn.Module):
    """The same network, written here: what the file's must compute."""

    def __init__(self, n_filters: int = 5, p: float = 0.4) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv1d(4, n_filters, 3), nn.ReLU(), nn.Dropout(p))
        self.norm = nn.BatchNorm1d(n_filters)
        self.head = nn.Linear(n_filters * 28, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.head(self.norm(self.block(x)).flatten(1)))


@dataclass(frozen=True)
class Files:
    """Paths of the code and of the weights, and the network with these weights."""

    folder: Path
    code: Path
    weights: Path
    net: nn.Module

    def named(self, name: str = "Net") -> str:
        return f"{self.code}:{name}"


def make_files(folder: Path, seed: int = 0) -> Files:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "net.py").write_text(CODE)
    (folder / "layers.py").write_text(LAYERS)
    net = trained(seed)
    torch.save(net.state_dict(), folder / "weights.pt")
    return Files(folder, folder / "net.py", folder / "weights.pt", net)


def trained(seed: int = 0, n_filters: int = 5) -> nn.Module:
    """The network with weights and running means of its own, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    net = Net(n_filters)
    for tensor in [*net.parameters(), net.norm.running_mean]:
        tensor.data.copy_(torch.randn(tensor.shape, generator=generator) * 0.3)
    return net.eval()


def sequences(n: int = 2, seed: int = 0) -> np.ndarray:
    """One-hot sequences, float32, shape=(n, 4, LENGTH)."""
    codes = np.random.default_rng(seed).integers(0, 4, (n, LENGTH))
    return np.ascontiguousarray(np.eye(4, dtype=np.float32)[codes].transpose(0, 2, 1))
