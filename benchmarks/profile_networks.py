"""Networks that give profiles, whose outputs can be made wider; for `profiles.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from networks import BpNet, randomize
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Network:
    """A network whose output can be made wider, and where its profile is."""

    build: Callable[[int, float], nn.Module]  # number of tracks, factor of the channels
    length: int  # bp
    tracks: tuple[int, int]
    n_bins: int
    window: int  # bins about the centre that are summed
    n_positions: int
    draws: int
    head: str | None
    tracks_last: bool = False
    bases_last: bool = False
    package: str = ""  # as it is imported


class PositiveBpNet(BpNet):
    """BPNet with a profile that is not negative."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        outputs = super().forward(x)
        return {**outputs, "profile": F.softplus(outputs["profile"])}


def bpnet(n_tracks: int, width: float) -> nn.Module:
    return PositiveBpNet(n_outputs=n_tracks, width=width)


def enformer(n_tracks: int, width: float) -> nn.Module:
    from enformer_pytorch import Enformer

    return Enformer.from_hparams(
        dim=8 * round(12 * width), depth=2, heads=4, attn_dim_key=16, dim_divisible_by=8,
        target_length=8, output_heads={"human": n_tracks, "mouse": 5},
    )  # fmt: skip


def borzoi(n_tracks: int, width: float) -> nn.Module:
    from borzoi_pytorch import Borzoi

    net = Borzoi.from_hparams(
        dim=8 * round(8 * width), depth=2, heads=2, attn_dim_key=16, attn_dim_value=16,
        bins_to_return=16,
    )  # fmt: skip
    net.set_track_subset(list(range(n_tracks)))  # of 7,611
    with torch.no_grad():  # its layers keep the positions that they make in their first pass
        net.eval()(torch.zeros(1, 4, 1024))
    return net


NETWORKS = {
    "bpnet": Network(
        bpnet, 1000, (1, 10), 1000, 200, n_positions=60, draws=10, head="profile", bases_last=True
    ),
    "enformer": Network(
        enformer, 2048, (12, 1250), 8, 4, n_positions=24, draws=5, head="human", tracks_last=True,
        bases_last=True, package="enformer_pytorch",
    ),
    "borzoi": Network(
        borzoi, 1024, (6, 625), 16, 8, n_positions=24, draws=5, head=None, package="borzoi_pytorch",
    ),
}  # fmt: skip


def random_network(network: Network, n_tracks: int, width: float) -> nn.Module:
    """With random weights that keep the size of the signal; the same in every run.

    With the first weights of the packages a mutation changes nothing but the rounding.
    """
    net = network.build(n_tracks, width)
    randomize(net, 0)
    return net.eval()
