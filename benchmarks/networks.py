"""Networks of the literature with random weights, for tests and benchmarks.

The architectures are written from the papers, at their published sizes by default; `width` scales
all channel numbers, and `length` and `n_outputs` are free, so that a test takes milliseconds. Weights
keep the size of the signal from layer to layer (He et al. 2015, "Delving deep into rectifiers"); the
last layer is set so that probabilities are low but not saturated, as where most labels are 0.

>>> model = build("deepsea", seed=0, width=0.05, length=120, n_outputs=7)
>>> model(torch.from_numpy(random_sequences(model, 3, seed=1))).shape
torch.Size([3, 7])
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

_LAST_BIAS = -1.5  # logit of a typical output, probability 0.18


class SequenceNetwork(nn.Module):
    """A network on one-hot DNA; `input_shape` has no batch axis and `category_axis` lies in it."""

    input_shape: tuple[int, ...]
    category_axis: int
    last: tuple[str, ...] = ()  # names of the layers that give logits or log counts
    gains: ClassVar[dict[str, float]] = {}  # variance that layers of this name put in; else 2 (for ReLU)


class DeepSea(SequenceNetwork):
    """Zhou and Troyanskaya 2015, "Predicting effects of noncoding variants with deep learning-based
    sequence model", supplementary table on the architecture: three convolutions of 8 bp.
    """

    last = ("head.3",)

    def __init__(self, length: int = 1000, n_outputs: int = 919, width: float = 1.0) -> None:
        super().__init__()
        a, b, c = (_scaled(n, width) for n in (320, 480, 960))
        hidden = _scaled(925, width)
        self.input_shape, self.category_axis = (4, 1, length), 0
        self.features = nn.Sequential(
            nn.Conv2d(4, a, (1, 8)), nn.Threshold(0, 1e-6), nn.MaxPool2d((1, 4)), nn.Dropout(0.2),
            nn.Conv2d(a, b, (1, 8)), nn.Threshold(0, 1e-6), nn.MaxPool2d((1, 4)), nn.Dropout(0.2),
            nn.Conv2d(b, c, (1, 8)), nn.Threshold(0, 1e-6), nn.Dropout(0.5),
        )  # fmt: skip
        positions = ((length - 7) // 4 - 7) // 4 - 7
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(c * positions, hidden), nn.Threshold(0, 1e-6),
            nn.Linear(hidden, n_outputs), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class DeepSeaBothStrands(DeepSea):
    """DeepSEA as Kipoi serves it for prediction (DeepSEA/predict): the mean over both strands, with
    the batch doubled inside the model.
    """

    def forward(self, x: Tensor) -> Tensor:
        reverse_complement = x.flip(dims=(1, 3))  # A, C, G, T backwards is T, G, C, A
        forward, backward = super().forward(torch.cat([x, reverse_complement])).chunk(2)
        return (forward + backward) / 2


class Beluga(SequenceNetwork):
    """Zhou et al. 2018, "Deep learning sequence-based ab initio prediction of variant effects on
    expression and disease risk" (ExPecto): pairs of convolutions of 8 bp, 2000 bp, 2002 outputs.
    """

    last = ("head.4",)

    def __init__(self, length: int = 2000, n_outputs: int = 2002, width: float = 1.0) -> None:
        super().__init__()
        a, b, c = (_scaled(n, width) for n in (320, 480, 640))
        hidden = _scaled(2003, width)
        self.input_shape, self.category_axis = (4, 1, length), 0
        self.features = nn.Sequential(
            nn.Conv2d(4, a, (1, 8)), nn.ReLU(), nn.Conv2d(a, a, (1, 8)), nn.ReLU(),
            nn.Dropout(0.2), nn.MaxPool2d((1, 4)),
            nn.Conv2d(a, b, (1, 8)), nn.ReLU(), nn.Conv2d(b, b, (1, 8)), nn.ReLU(),
            nn.Dropout(0.2), nn.MaxPool2d((1, 4)),
            nn.Conv2d(b, c, (1, 8)), nn.ReLU(), nn.Conv2d(c, c, (1, 8)), nn.ReLU(),
        )  # fmt: skip
        positions = ((length - 14) // 4 - 14) // 4 - 14
        self.head = nn.Sequential(
            nn.Dropout(0.5), nn.Flatten(), nn.Linear(c * positions, hidden), nn.ReLU(),
            nn.Linear(hidden, n_outputs), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class Basset(SequenceNetwork):
    """Kelley, Snoek and Rinn 2016, "Basset: learning the regulatory code of the accessible genome
    with deep convolutional neural networks": batch norms, and dropout in the dense part alone.
    """

    last = ("head.9",)

    def __init__(self, length: int = 600, n_outputs: int = 164, width: float = 1.0) -> None:
        super().__init__()
        a, b, c = (_scaled(n, width) for n in (300, 200, 200))
        hidden = _scaled(1000, width)
        self.input_shape, self.category_axis = (4, length, 1), 0
        self.features = nn.Sequential(
            nn.Conv2d(4, a, (19, 1)), nn.BatchNorm2d(a), nn.ReLU(), nn.MaxPool2d((3, 1)),
            nn.Conv2d(a, b, (11, 1)), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d((4, 1)),
            nn.Conv2d(b, c, (7, 1)), nn.BatchNorm2d(c), nn.ReLU(), nn.MaxPool2d((4, 1)),
        )  # fmt: skip
        positions = (((length - 18) // 3 - 10) // 4 - 6) // 4
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(c * positions, hidden), nn.BatchNorm1d(hidden), nn.ReLU(),
            nn.Dropout(0.3), nn.Linear(hidden, hidden), nn.BatchNorm1d(hidden), nn.ReLU(),
            nn.Dropout(0.3), nn.Linear(hidden, n_outputs), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class BpNet(SequenceNetwork):
    """Avsec et al. 2021, "Base-resolution models of transcription-factor binding reveal soft motif
    syntax": residual dilated convolutions, a profile of logits and the log of counts per strand. The
    paper has no dropout; here it follows each dilated layer.
    """

    last = ("profile", "counts")
    gains: ClassVar = {"dilated": 0.4}  # the residual sums would grow

    def __init__(
        self, length: int = 1000, n_outputs: int = 2, width: float = 1.0, n_layers: int = 9
    ) -> None:
        super().__init__()
        channels = _scaled(64, width)
        self.input_shape, self.category_axis = (length, 4), 1
        self.stem = nn.Conv1d(4, channels, 25, padding=12)
        self.dilated = nn.ModuleList(
            nn.Conv1d(channels, channels, 3, padding=2**i, dilation=2**i) for i in range(1, n_layers + 1)
        )
        self.dropout = nn.Dropout(0.1)  # one module, called once a layer: a site each
        self.profile = nn.ConvTranspose1d(channels, n_outputs, 25, padding=12)
        self.counts = nn.Linear(channels, n_outputs)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = torch.relu(self.stem(x.transpose(1, 2)))
        for layer in self.dilated:
            x = x + self.dropout(torch.relu(layer(x)))
        return {"profile": self.profile(x), "counts": self.counts(x.mean(dim=2))}


class DanQ(SequenceNetwork):
    """Quang and Xie 2016, "DanQ: a hybrid convolutional and recurrent deep neural network": here
    with two layers of the bidirectional LSTM and dropout between them.
    """

    last = ("head.3",)
    gains: ClassVar = {"lstm": 4.0}  # tanh and the gates take away

    def __init__(self, length: int = 1000, n_outputs: int = 919, width: float = 1.0) -> None:
        super().__init__()
        channels, hidden = _scaled(320, width), _scaled(925, width)
        self.input_shape, self.category_axis = (length, 4), 1
        self.features = nn.Sequential(
            nn.Conv1d(4, channels, 26), nn.ReLU(), nn.MaxPool1d(13), nn.Dropout(0.2)
        )
        self.lstm = nn.LSTM(
            channels, channels, num_layers=2, dropout=0.3, bidirectional=True, batch_first=True
        )
        self.dropout = nn.Dropout(0.5)
        positions = (length - 25) // 13
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(2 * channels * positions, hidden), nn.ReLU(),
            nn.Linear(hidden, n_outputs), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x.transpose(1, 2)).transpose(1, 2)
        return self.head(self.dropout(self.lstm(x)[0]))


class Transformer(SequenceNetwork):
    """A convolution and pooling, then self-attention over the pooled positions: the plan of Enformer
    (Avsec et al. 2021, "Effective gene expression prediction from sequence by integrating
    long-range interactions") at a small size, with torch's own encoder layer.
    """

    last = ("head",)

    def __init__(
        self, length: int = 1000, n_outputs: int = 100, width: float = 1.0, n_layers: int = 2
    ) -> None:
        super().__init__()
        heads = 4
        channels = heads * _scaled(24, width)
        self.input_shape, self.category_axis = (4, length), 0
        self.stem = nn.Sequential(nn.Conv1d(4, channels, 15), nn.ReLU(), nn.MaxPool1d(8))
        self.position = nn.Parameter(torch.zeros((length - 14) // 8, channels))
        layer = nn.TransformerEncoderLayer(
            channels, heads, dim_feedforward=2 * channels, dropout=0.1, batch_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, n_layers)
        self.head = nn.Linear(channels, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).transpose(1, 2) + self.position
        return torch.sigmoid(self.head(self.encoder(x).mean(dim=1)))


class DeepStarr(SequenceNetwork):
    """De Almeida et al. 2022, "DeepSTARR predicts enhancer activity from DNA sequence and enables the
    de novo design of synthetic enhancers": 249 bp, four convolutions, dropout in the dense part alone.
    """

    last = ("head.9",)

    def __init__(self, length: int = 249, n_outputs: int = 2, width: float = 1.0) -> None:
        super().__init__()
        sizes = [4, *(_scaled(n, width) for n in (256, 60, 60, 120))]
        hidden = _scaled(256, width)
        self.input_shape, self.category_axis = (4, length), 0
        blocks: list[nn.Module] = []
        for a, b, kernel in zip(sizes, sizes[1:], (7, 3, 5, 3), strict=False):
            conv = nn.Conv1d(a, b, kernel, padding="same")
            blocks += [conv, nn.BatchNorm1d(b), nn.ReLU(), nn.MaxPool1d(2)]
        self.features = nn.Sequential(*blocks)
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(sizes[-1] * (length // 16), hidden),
            nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(0.4), nn.Linear(hidden, hidden),
            nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(0.4), nn.Linear(hidden, n_outputs),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class Mamba(SequenceNetwork):
    """Selective state spaces (Gu and Dao 2023, "Mamba: linear-time sequence modeling with selective
    state spaces") after a convolution and pooling, written as a loop over the pooled positions. With
    random weights its outputs are saturated, so it is for times alone.
    """

    last = ("head",)

    def __init__(
        self, length: int = 1000, n_outputs: int = 100, width: float = 1.0, n_layers: int = 2
    ) -> None:
        super().__init__()
        channels, states = _scaled(96, width), 16
        self.input_shape, self.category_axis = (4, length), 0
        self.stem = nn.Sequential(nn.Conv1d(4, channels, 15), nn.ReLU(), nn.MaxPool1d(8))
        self.gates = nn.ModuleList(nn.Linear(channels, 2 * channels) for _ in range(n_layers))
        self.local = nn.ModuleList(
            nn.Conv1d(channels, channels, 4, padding=3, groups=channels) for _ in range(n_layers)
        )
        selected = channels + 2 * states
        self.selection = nn.ModuleList(nn.Linear(channels, selected) for _ in range(n_layers))
        self.back = nn.ModuleList(nn.Linear(channels, channels) for _ in range(n_layers))
        self.decay = nn.Parameter(torch.zeros(channels, states))
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(channels, n_outputs)
        self.sizes = (channels, states, states)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).transpose(1, 2)
        for gate, local, selection, back in zip(
            self.gates, self.local, self.selection, self.back, strict=True
        ):
            inner, z = gate(x).chunk(2, dim=-1)
            inner = nn.functional.silu(local(inner.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2))
            step, b, c = selection(inner).split(self.sizes, dim=-1)
            y = self._scan(inner, nn.functional.softplus(step), b, c)
            x = x + self.dropout(back(y * nn.functional.silu(z)))
        return torch.sigmoid(self.head(x.mean(dim=1)))

    def _scan(self, x: Tensor, step: Tensor, b: Tensor, c: Tensor) -> Tensor:
        keep = torch.exp(-step[..., None] * torch.exp(self.decay))
        put = (step * x)[..., None] * b[:, :, None, :]
        state, outputs = torch.zeros_like(put[:, 0]), []
        for i in range(x.shape[1]):
            state = keep[:, i] * state + put[:, i]
            outputs.append((state * c[:, i, None, :]).sum(dim=-1))
        return torch.stack(outputs, dim=1)


NETWORKS: dict[str, Callable[..., SequenceNetwork]] = {
    "deepsea": DeepSea,
    "deepsea_both_strands": DeepSeaBothStrands,
    "beluga": Beluga,
    "basset": Basset,
    "bpnet": BpNet,
    "danq": DanQ,
    "transformer": Transformer,
    "deepstarr": DeepStarr,
    "mamba": Mamba,
}


def build(name: str, seed: int, **sizes: float) -> SequenceNetwork:
    """A network in evaluation mode with random weights; torch's random state is left alone.

    Parameters
    ----------
    name : str
        One of NETWORKS.
    seed : int
        Of the weights.
    sizes
        `length`, `n_outputs`, `width` (factor of all channel numbers), as the network has them.
    """
    with torch.random.fork_rng(devices=[]):
        model = NETWORKS[name](**sizes)
    randomize(model, seed)
    return model.eval()


@torch.no_grad()
def randomize(model: nn.Module, seed: int) -> None:
    """Set all weights, and the statistics of batch norms, from a generator of their own."""
    generator = torch.Generator().manual_seed(seed)
    last = model.last if isinstance(model, SequenceNetwork) else ()
    gains = model.gains if isinstance(model, SequenceNetwork) else {}

    def normal(x: Tensor, mean: float, sd: float) -> None:
        x.normal_(mean, sd, generator=generator)

    for name, part in model.named_modules():
        for _, weight in sorted(part.named_parameters(recurse=False)):
            scale = isinstance(part, (nn.modules.batchnorm._BatchNorm, nn.LayerNorm))
            if weight.dim() < 2:
                normal(weight, 1.0 if scale and weight is part.weight else 0.0, 0.1)
            else:
                usual = 1.0 if name in last else 2.0
                gain = gains.get(name.split(".")[0], usual)
                normal(weight, 0.0, math.sqrt(gain / _fan_in(part, weight)))
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            assert part.running_mean is not None
            assert part.running_var is not None
            normal(part.running_mean, 0.0, 0.1)
            part.running_var.uniform_(0.5, 1.5, generator=generator)
        if name in last and isinstance(part, nn.Linear):
            part.bias.add_(_LAST_BIAS)


def random_sequences(model: SequenceNetwork, n: int, seed: int) -> NDArray[np.float32]:
    """One-hot sequences of uniform bases, shape=(n, *model.input_shape)."""
    others = [size for i, size in enumerate(model.input_shape) if i != model.category_axis]
    codes = np.random.default_rng(seed).integers(0, 4, (n, *others))
    one_hot = np.eye(4, dtype=np.float32)[codes]
    return np.ascontiguousarray(np.moveaxis(one_hot, -1, model.category_axis + 1))


def _scaled(channels: int, width: float) -> int:
    return max(2, round(channels * width))


def _fan_in(part: nn.Module, weight: Tensor) -> int:
    """Inputs that one output of a layer sums over."""
    if isinstance(part, nn.modules.conv._ConvTransposeNd):
        return weight.shape[0] * math.prod(weight.shape[2:])
    return weight[0].numel()
