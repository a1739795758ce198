"""A small network that gives a profile, as BPNet does, in memory and as a user's file of code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

LENGTH = 64
TRACKS = ("plus", "minus", "total")
CODE = '''
import torch
from torch import nn
from torch.nn import functional as F


class Profile(nn.Module):
    """Three tracks of 64 bins and two counts; padded convolutions, a residual one dilated."""

    def __init__(self, bins_last=True, p=0.3):
        super().__init__()
        self.bins_last = bins_last
        self.first = nn.Conv1d(4, 8, 5, padding=2)
        self.drop = nn.Dropout(p)
        self.second = nn.Conv1d(8, 8, 3, padding=2, dilation=2)
        self.profile = nn.Conv1d(8, 3, 5, padding=2)
        self.count = nn.Linear(8, 2)

    def forward(self, x):
        h = self.drop(torch.relu(self.first(x)))
        h = h + torch.relu(self.second(h))
        profile = F.softplus(self.profile(h))
        if not self.bins_last:
            profile = profile.transpose(1, 2)
        return {"profile": profile, "count": self.count(h.mean(2))}
'''
_NAMESPACE: dict[str, object] = {}
exec(CODE, _NAMESPACE)


def profile_net(
    seed: int = 0, *, bins_last: bool = True, dtype: torch.dtype = torch.float32
) -> nn.Module:
    """The network with weights that are the same in every run."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = _NAMESPACE["Profile"](bins_last)  # type: ignore[operator]
    made: nn.Module = net.to(dtype).eval()
    return made


def write_files(folder: Path, n_members: int = 1) -> list[Path]:
    """The code, then a file of weights for each member."""
    code = folder / "net.py"
    code.write_text(CODE)
    paths = [code]
    for seed in range(n_members):
        paths.append(folder / f"fold_{seed}.pt")
        torch.save(profile_net(seed).state_dict(), paths[-1])
    return paths


def sequences(n: int = 1, seed: int = 0, dtype: type = np.float32) -> np.ndarray:
    """Random one-hot sequences, shape=(n, 4, LENGTH)."""
    codes = np.random.default_rng(seed).integers(0, 4, (n, LENGTH))
    return np.ascontiguousarray(np.eye(4, dtype=dtype)[codes].transpose(0, 2, 1))


class OneHead(nn.Module):
    """Only the profile of such a network."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        profile: Tensor = self.net(x)["profile"]
        return profile
