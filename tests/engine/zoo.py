"""Small networks that together use every rule; each takes (n, 4, 60)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LENGTH = 60


def deepsea() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(4, 6, 8), nn.ReLU(), nn.MaxPool1d(4), nn.Dropout(0.2), nn.Conv1d(6, 7, 3),
        nn.ReLU(), nn.MaxPool1d(2), nn.Dropout(0.2), nn.Conv1d(7, 8, 2), nn.ReLU(), nn.Dropout(0.5),
        nn.Flatten(), nn.Linear(8 * 4, 9), nn.ReLU(), nn.Linear(9, 3), nn.Sigmoid(),
    )  # fmt: skip


def dense_dropout_only() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(4, 6, 5, padding=2), nn.BatchNorm1d(6), nn.ReLU(), nn.MaxPool1d(3),
        nn.Conv1d(6, 7, 3), nn.BatchNorm1d(7), nn.ReLU(), nn.MaxPool1d(3, ceil_mode=True),
        nn.Flatten(), nn.Linear(42, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3),
    )  # fmt: skip


class Dilated(nn.Module):
    """Residual dilated convolutions with a profile and a count output."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(4, 6, 5, padding="same")
        self.layers = nn.ModuleList(nn.Conv1d(6, 6, 3, dilation=d, padding=d) for d in (1, 2, 4))
        self.profile = nn.Conv1d(6, 2, 5)
        self.count = nn.Linear(6, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = F.relu(self.first(x))
        for layer in self.layers:
            x = x + F.dropout(F.relu(layer(x)), 0.3, self.training)
        return self.profile(x)[:, :, 3:-3], self.count(x.mean(dim=2))


class DummyAxis(nn.Module):
    """Conv2d with a dummy axis, as in Kipoi's DeepSEA."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(4, 6, (1, 5)), nn.Threshold(0, 1e-6), nn.MaxPool2d((1, 4), (1, 4)),
            nn.Dropout(0.2), nn.Conv2d(6, 5, (1, 3)), nn.Threshold(0, 1e-6), nn.Dropout(0.5),
        )  # fmt: skip
        self.head = nn.Linear(5 * 12, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x[:, :, None])
        return torch.sigmoid(self.head(x.view(x.size(0), -1)))


class Collapsing(nn.Module):
    """A two-dimensional kernel over all four bases, (n, 1, 4, L)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 6, (4, 5))
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout2d(F.gelu(self.conv(x.unsqueeze(1))), 0.4, self.training).squeeze(2)
        return self.head(x.amax(-1))


class BothStrands(nn.Module):
    """The batch doubled by its reverse complement; the strands averaged at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.body = deepsea()

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([x, x.flip([1, 2])], dim=0)
        y = self.body(both)
        return (y[: x.shape[0]] + y[x.shape[0] :]) / 2


class StrandIndex(nn.Module):
    """Reverse complement by index_select; the strands run one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 6, 5)
        self.head = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        reverse = x[:, [3, 2, 1, 0]].index_select(2, torch.arange(x.shape[2] - 1, -1, -1))
        both = [F.dropout(F.softplus(self.conv(s)), 0.2, True) for s in (x, reverse)]
        return self.head(torch.cat([s.mean(2) for s in both], dim=1))


class Gated(nn.Module):
    """Gate, concatenation, chunk, GLU, layer norm, softmax over channels, permute, slice."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv1d(4, 6, 3, padding=1), nn.Conv1d(4, 6, 7, padding=3)
        self.norm = nn.LayerNorm(12)
        self.mix = nn.Linear(12, 8)
        self.gate = nn.Conv1d(4, 1, 1)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cat([self.a(x), torch.tanh(self.b(x))], dim=1).transpose(1, 2)
        y = F.dropout(self.norm(y), 0.2, True)
        y = F.glu(self.mix(y), dim=-1).permute(0, 2, 1)
        p, q = y.chunk(2, dim=1)
        y = torch.cat([p * torch.sigmoid(q), torch.exp(q) - p], 1)
        y = F.pad(y * self.gate(x), (2, 1))[:, :, 1:]
        y = torch.softmax(F.alpha_dropout(y, 0.3, True), dim=1)
        return self.head(F.adaptive_avg_pool1d(y, 1).flatten(1))


class Grouped(nn.Module):
    """Groups, strides, PReLU, average pools, dropout of channels, adaptive pool."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(4, 8, 4, stride=2, padding=1, groups=2), nn.PReLU(8), nn.Dropout1d(0.3),
            nn.AvgPool1d(3, 2, padding=1), nn.ELU(), nn.Conv1d(8, 8, 3, groups=8, padding=1),
            nn.FeatureAlphaDropout(0.2), nn.AvgPool1d(2, count_include_pad=False, padding=1),
            nn.AdaptiveAvgPool1d(4), nn.Flatten(), nn.Linear(32, 3),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class SqueezeExcite(nn.Module):
    """A gate that sees all positions ends the windows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 6, 5, padding=2)
        self.gate = nn.Linear(6, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = F.dropout(F.silu(self.conv(x)), 0.2, True)
        y = y * torch.sigmoid(self.gate(y.mean(2)))[:, :, None]
        return self.head(y.amax(2))


class Recurrent(nn.Module):
    """Convolution, pool, LSTM with dropout between its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 6, 5)
        self.lstm = nn.LSTM(6, 4, 2, bidirectional=True, batch_first=True, dropout=0.3)
        self.head = nn.Linear(8 * 14, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = F.max_pool1d(F.relu(self.conv(x)), 4)
        y, _ = self.lstm(F.dropout(y, 0.2, True).transpose(1, 2))
        return self.head(y.reshape(len(y), -1))


class Attention(nn.Module):
    """Convolution stem and a transformer layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv1d(4, 8, 5)
        self.layer = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.2, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = F.max_pool1d(F.relu(self.stem(x)), 4).transpose(1, 2)
        return self.head(self.layer(y).mean(1))


class NoRuleAtAll(nn.Module):
    """A cumulative sum along the positions in the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv1d(4, 5, 3), nn.Conv1d(5, 5, 3)
        self.head = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = F.dropout(torch.relu(self.a(x)), 0.3, True).cumsum(2) / 10
        return self.head(F.max_pool1d(torch.relu(self.b(y)), 56).squeeze(-1))


class TwoBranches(nn.Module):
    """One branch flattened into a linear layer, another kept whole."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 5, 3)
        self.flat = nn.Linear(5 * 58, 4)
        self.head = nn.Linear(4 + 5, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = F.dropout(F.leaky_relu(self.conv(x)), 0.3, True)
        z = torch.logcumsumexp(y, 2)[:, :, -1]
        return self.head(torch.cat([torch.relu(self.flat(y.flatten(1))), z], 1))


ZOO: dict[str, Callable[[], nn.Module]] = {
    f.__name__: f
    for f in (
        deepsea, dense_dropout_only, Dilated, DummyAxis, Collapsing, BothStrands, StrandIndex, Gated,
        Grouped, SqueezeExcite, Recurrent, Attention, NoRuleAtAll, TwoBranches,
    )
}  # fmt: skip


def build(name: str, dtype: torch.dtype = torch.float64) -> nn.Module:
    """A network of the zoo with weights of a fixed seed, and batch norms that have seen data."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = ZOO[name]()
        for part in net.modules():
            if isinstance(part, nn.BatchNorm1d):
                part.running_mean.uniform_(-1, 1)
                part.running_var.uniform_(0.5, 2)
                part.weight.data.uniform_(-1, 2)
        return net.to(dtype)
