"""Random networks on one-hot DNA: all kinds of layers in random order, for comparison with the oracle.

`random_network(seed)` is a function of the seed. Every network has a dropout that is called.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ACTIVATIONS: list[Callable[[], nn.Module]] = [
    nn.ReLU, nn.GELU, nn.ELU, nn.SiLU, nn.Tanh, nn.Softplus, nn.LeakyReLU, nn.Mish, nn.SELU, nn.PReLU,
    nn.Sigmoid, nn.Hardswish, nn.ReLU6, lambda: nn.Threshold(0.05, 0.01), nn.LogSigmoid, nn.Softsign,
]  # fmt: skip
DROPOUTS: list[Callable[[float], nn.Module]] = [
    nn.Dropout, nn.Dropout, nn.Dropout1d, nn.AlphaDropout, nn.FeatureAlphaDropout,
]  # fmt: skip


class Residual(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Gate(nn.Module):
    """x * sigmoid(f(x))."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.body(x))


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.linear(x.mean(2)))[:, :, None]


class Branches(nn.Module):
    """Channels of several paths side by side, cut to the shortest."""

    def __init__(self, *paths: nn.Module) -> None:
        super().__init__()
        self.paths = nn.ModuleList(paths)

    def forward(self, x: Tensor) -> Tensor:
        parts = [path(x) for path in self.paths]
        length = min(part.shape[2] for part in parts)
        return torch.cat([part[:, :, :length] for part in parts], 1)


class ByPosition(nn.Module):
    """A module on (n, positions, channels)."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x.transpose(1, 2))
        return (y[0] if isinstance(y, tuple) else y).transpose(1, 2)


class SelfAttention(nn.Module):
    def __init__(self, channels: int, p: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(channels, 2, dropout=p, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.attention(x, x, x, need_weights=False)[0]


class PositionCode(nn.Module):
    """Adds a parameter of the model, with dropout."""

    def __init__(self, channels: int, length: int, p: float) -> None:
        super().__init__()
        self.code = nn.Parameter(torch.randn(1, channels, length))
        self.drop = nn.Dropout(p)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop(self.code)


class Rows(nn.Module):
    """A module for two spatial axes, on a dummy axis."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x[:, :, None]).squeeze(2)


class Strands(nn.Module):
    """One body on both strands: the batch doubled, or two calls; averaged, or the larger one."""

    def __init__(self, body: nn.Module, doubled: bool, largest: bool) -> None:
        super().__init__()
        self.body, self.doubled, self.largest = body, doubled, largest

    def forward(self, x: Tensor) -> Tensor:
        other = x.flip([1, 2])
        if self.doubled:
            a, b = self.body(torch.cat([x, other])).chunk(2)
        else:
            a, b = self.body(x), self.body(other)
        return torch.maximum(a, b) if self.largest else (a + b) / 2


class Heads(nn.Module):
    """Several ways to end, side by side."""

    def __init__(self, *heads: nn.Module) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([head(x) for head in self.heads], 1)


class Reduced(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        reductions: dict[str, Callable[[Tensor], Tensor]] = {
            "mean": lambda y: y.mean(2),
            "max": lambda y: y.max(2)[0],
            "amax": lambda y: y.amax(-1),
            "sum": lambda y: y.sum(2) / 10,
            "adaptive": lambda y: F.adaptive_max_pool1d(y, 1).squeeze(2),
            "attention": lambda y: (y * y.softmax(2)).sum(2),
            "centre": lambda y: y[:, :, y.shape[2] // 2],
        }
        return reductions[self.kind](x)


class Maker:
    """Makes layers at random; knows the number of channels and positions that it has come to."""

    def __init__(self, seed: int, length: int) -> None:
        self.random = random.Random(seed)
        self.local = self.random.random() < 0.5  # nothing that looks at all positions, but the heads
        self.channels, self.length = 4, length

    def network(self) -> nn.Module:
        """A stem, some blocks, one or more heads, dense layers; perhaps on both strands."""
        pick = self.random
        layers = [self.conv(), pick.choice(ACTIVATIONS)(), self.pool()]
        n_blocks = pick.randint(0, 2) if self.local else pick.randint(1, 4)
        layers += [layer for _ in range(n_blocks) for layer in self.block()]
        if pick.random() < 0.4 and self.length > 8:
            kernel = min(self.length // 2, pick.randint(2, 7))
            layers += [self.conv(kernel=kernel, plain=True), nn.ReLU(), nn.Dropout(0.5)]
        heads = [self.head() for _ in range(pick.choice([1, 1, 2, 3]))]
        features = sum(n for _, n in heads)
        hidden = pick.randint(3, 8)
        dense = [nn.Linear(features, hidden), pick.choice(ACTIVATIONS)(), nn.Dropout(self.p())]
        body = nn.Sequential(
            *layers, Heads(*[head for head, _ in heads]), *dense, nn.Linear(hidden, 2)
        )  # fmt: skip
        strands = pick.choice(["one", "one", "doubled", "two calls"])
        if strands == "one":
            return body
        return Strands(body, strands == "doubled", pick.random() < 0.3)

    def p(self) -> float:
        """A probability of dropout."""
        return self.random.choice([0.1, 0.2, 0.3, 0.5])

    def dropout(self) -> nn.Module:
        """A dropout of any kind."""
        return self.random.choice(DROPOUTS)(self.p())

    def conv(self, same: bool = False, kernel: int = 0, plain: bool = False) -> nn.Module:
        """A convolution of any options; with `same` it keeps channels and positions."""
        pick = self.random
        dilation = pick.choice([1, 1, 2, 3])
        if same:
            kernel = pick.choice([1, 3, 5])
            groups = pick.choice([1, 1, self.channels])
            modes = ["zeros", "zeros", "zeros", "reflect", "circular", "replicate"]
            modes = ["zeros"] if self.local else modes
            mode = pick.choice(modes if dilation * (kernel - 1) // 2 < self.length else ["zeros"])
            return nn.Conv1d(
                self.channels, self.channels, kernel, padding="same", dilation=dilation, groups=groups,
                padding_mode=mode, bias=pick.random() < 0.8,
            )  # fmt: skip
        out = pick.choice([4, 6, 8])
        if plain:
            dilation, stride, padding, groups = 1, 1, 0, 1
        else:
            kernel = pick.randint(1, 7)
            if dilation * (kernel - 1) >= self.length - 6:
                dilation, kernel = 1, min(kernel, max(1, self.length - 6))
            stride = pick.choice([1, 1, 1, 2, 3]) if self.length > 30 else 1
            padding = pick.randint(0, 3)
            groups = pick.choice([1, 1, 2]) if self.channels % 2 == 0 else 1
        layer = nn.Conv1d(self.channels, out, kernel, stride, padding, dilation, groups)
        return self.applied(layer)

    def applied(self, layer: nn.Module) -> nn.Module:
        """The layer, once it is noted what it does to the shape."""
        with torch.no_grad():
            shape = layer.double()(torch.zeros(2, self.channels, self.length, dtype=torch.float64)).shape
        self.channels, self.length = int(shape[1]), int(shape[2])
        return layer

    def pool(self) -> nn.Module:
        """A pooling, where there are positions enough."""
        pick = self.random
        if self.length < 16:
            return nn.Identity()
        kernel, stride = pick.randint(2, 5), pick.randint(1, 4)
        padding, ceil = pick.randint(0, kernel // 2), pick.random() < 0.3
        inside = pick.random() < 0.5
        divisor = self.length // 2
        options: list[Callable[[], nn.Module]] = [
            lambda: nn.MaxPool1d(kernel, stride, padding, ceil_mode=ceil),
            lambda: nn.MaxPool1d(kernel),
            lambda: nn.AvgPool1d(kernel, stride, padding, ceil, inside),
            lambda: Rows(nn.MaxPool2d((1, kernel), (1, stride), (0, padding))),
            lambda: nn.AdaptiveAvgPool1d(divisor),
            lambda: nn.AdaptiveMaxPool1d(divisor),
            lambda: nn.LPPool1d(2, kernel, stride),
        ]
        return self.applied(pick.choice(options[:4] if self.local else options)())

    def norm(self) -> nn.Module:
        """A normalisation, with statistics that have seen data."""
        c = self.channels
        options: list[Callable[[], nn.Module]] = [
            lambda: nn.BatchNorm1d(c), lambda: nn.BatchNorm1d(c), lambda: ByPosition(nn.LayerNorm(c)),
            lambda: nn.GroupNorm(2, c), lambda: nn.InstanceNorm1d(c, affine=True),
            lambda: nn.LocalResponseNorm(3),
        ]  # fmt: skip
        return self.random.choice(options[:3] if self.local else options)()

    def block(self) -> list[nn.Module]:
        """Some layers that belong together."""
        pick, c, p = self.random, self.channels, self.p()
        act = pick.choice(ACTIVATIONS)
        inner = [self.conv(same=True), act(), self.dropout()]
        kinds = ["conv", "residual", "conv", "gate", "glu", "branches", "code", "linear", "softmax"]
        if not self.local:
            kinds += ["squeeze", "gru", "upsampled", "reversed"]
            kinds += ["attention", "encoder", "lstm"] if c % 2 == 0 else []
        kind = pick.choice(kinds)
        if kind == "conv":
            return [self.conv(), self.norm(), act(), self.dropout(), self.pool()]
        if kind == "branches":
            half = nn.Conv1d(c, 4, 3, padding=1)
            return [self.applied(Branches(nn.Sequential(*inner), half, nn.AvgPool1d(2, 1)))]
        if kind == "glu":
            return [self.conv(), self.dropout(), self.applied(nn.GLU(1))]
        if kind == "upsampled":
            return [self.applied(nn.ConvTranspose1d(c, 4, 3, 2)), act(), self.dropout()]
        layers: dict[str, Callable[[], nn.Module]] = {
            "residual": lambda: Residual(nn.Sequential(self.norm(), *inner)),
            "gate": lambda: Gate(nn.Sequential(*inner, nn.Conv1d(c, 1, 1))),
            "squeeze": lambda: nn.Sequential(SqueezeExcite(c), nn.Dropout(p)),
            "attention": lambda: ByPosition(SelfAttention(c, p)),
            "encoder": lambda: ByPosition(
                nn.TransformerEncoderLayer(c, 2, 8, p, norm_first=pick.random() < 0.5, batch_first=True)
            ),
            "lstm": lambda: ByPosition(
                nn.LSTM(c, c // 2, 2, batch_first=True, dropout=p, bidirectional=True)
            ),
            "gru": lambda: ByPosition(nn.GRU(c, c, batch_first=True)),
            "code": lambda: PositionCode(c, self.length, p),
            "linear": lambda: ByPosition(nn.Sequential(nn.Linear(c, c), act(), nn.Dropout(p))),
            "reversed": lambda: nn.Sequential(nn.Dropout(p), Reversed()),
            "softmax": lambda: nn.Sequential(nn.Softmax(1), nn.Dropout(p)),
        }
        return [self.applied(layers[kind]())]

    def head(self) -> tuple[nn.Module, int]:
        """From (n, channels, positions) to features, and how many there are."""
        pick = self.random
        if pick.random() < 0.6:
            out = pick.randint(3, 6)
            linear = nn.Linear(self.channels * self.length, out)
            flat: list[nn.Module] = [nn.Dropout(0.2), nn.Flatten(), linear]
            if pick.random() < 0.6:
                channels = pick.choice([4, 6])
                kernel = min(self.length, pick.randint(1, 6))
                conv = nn.Conv1d(self.channels, channels, kernel)
                flat = [conv, nn.ReLU(), nn.Dropout(pick.choice([0.2, 0.5])), nn.Flatten()]
                flat += [nn.Linear(channels * (self.length - kernel + 1), out)]
            return nn.Sequential(*flat), out
        kinds = ["mean", "max", "amax", "sum", "adaptive"]
        kinds += [] if self.local else ["attention", "centre"]
        return Reduced(pick.choice(kinds)), self.channels


class Reversed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + x.flip(2)


def random_network(seed: int, length: int = 80) -> nn.Module:
    """A network of two outputs in evaluation mode, float64; torch's random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        for attempt in range(20):
            torch.manual_seed(seed)
            net = _weighted(Maker(1000 * seed + attempt, length).network())
            if _is_alive(net, length):
                return net
    raise AssertionError(f"no network of seed {seed} looks at its input")


def _weighted(net: nn.Module) -> nn.Module:
    """In float64, with norms that have seen data."""
    for part in net.double().modules():
        if isinstance(part, nn.BatchNorm1d):
            part.running_mean.uniform_(-0.3, 0.3)
            part.running_var.uniform_(0.5, 2)
    return net.eval()


def _is_alive(net: nn.Module, length: int) -> bool:
    """Whether most single bases matter."""
    codes = torch.randint(0, 4, (8, length))
    other, rows = codes.clone(), torch.arange(8)
    where = (rows + 1) * length // 10
    other[rows, where] = (codes[rows, where] + 1) % 4
    with torch.no_grad():
        a, b = (net(F.one_hot(x, 4).double().transpose(1, 2)) for x in (codes, other))
    matters = (a - b).abs().amax(1) > 1e-4 * a.abs().max()
    return int(matters.sum()) >= 5
