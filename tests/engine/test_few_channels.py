"""Products of the few channels that differ, and products less what a mask drops."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import TwoLinearLayers, collect, compare, substitutions
from networks import build
from torch import Tensor, nn

from kipoi_mcdropout.dropout.locked_model import LockedModel, MaskBank
from kipoi_mcdropout.engine import IncrementalEngine
from kipoi_mcdropout.engine.incremental import few_channels, reference_products, thinning
from kipoi_mcdropout.engine.incremental.few_channels import FewChannels
from kipoi_mcdropout.engine.incremental.masked import Masked
from kipoi_mcdropout.engine.incremental.rules import convolution
from kipoi_mcdropout.sequence.mutants import MutantBatch

LENGTH = 120
POOLED = (LENGTH - 7) // 4
LESS = "products less what is dropped"


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sparse products whatever they cost."""
    for module in (few_channels, reference_products):
        monkeypatch.setattr(module, "pays", lambda *_: True)
    monkeypatch.setattr(reference_products, "SMALL", 0)
    monkeypatch.setattr(convolution, "LEAST_OUTPUTS", 0)


@pytest.fixture
def thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows are thinned out whatever is zero."""
    monkeypatch.setattr(thinning, "LEAST_ZERO", 0.0)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_it_is_the_product(dtype: torch.dtype) -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(-3, 4, (50, 12)) * (rng.random((50, 12)) < 0.2)
    rows[[0, 7, 49]] = 0  # nothing in the first, in one between, and in the last
    weight = rng.integers(-3, 4, (12, 5))
    few = FewChannels.of(torch.from_numpy(rows).to(dtype), 5)
    assert few is not None
    assert few.times(torch.from_numpy(weight).to(dtype)).tolist() == (rows @ weight).tolist()
    longer = rng.integers(-3, 4, (14, 5))
    moved = few.shifted(torch.arange(50) % 3).times(torch.from_numpy(longer).to(dtype))
    padded = np.stack([np.roll(np.pad(row, (0, 2)), i % 3) for i, row in enumerate(rows)])
    assert moved.tolist() == (padded @ longer).tolist()


@pytest.mark.usefixtures("always")
def test_of_nothing_but_zeros_and_of_what_is_not_a_number() -> None:
    few = FewChannels.of(torch.zeros(3, 4), 2)
    assert few is not None
    assert few.times(torch.ones(4, 2)).tolist() == [[0, 0]] * 3
    assert FewChannels.of(torch.zeros(0, 4), 2) is None
    rows = torch.zeros(2, 4)
    for value in ("nan", "inf"):
        rows[1, 2] = float(value)
        assert FewChannels.of(rows, 2) is None


def test_the_choice_is_by_the_count_alone() -> None:
    rows = torch.zeros(100, 400)
    rows[:, :40] = 1.0
    assert FewChannels.of(rows, 1000) is not None
    assert FewChannels.of(rows, 50) is None  # to find the numbers costs more than the product
    rows[:, :200] = 1.0
    assert FewChannels.of(rows, 1000) is None
    assert FewChannels.of(rows, 1000, dense=3.0) is not None
    shares = [few_channels.pays(share, 480) for share in np.linspace(0, 1, 11)]
    assert shares == sorted(shares, reverse=True)


def blocks(p: float = 0.3, stride: int = 1, padding: int = 0) -> nn.Sequential:
    """Two convolutions with a mask between them, pooling, and a linear layer over all positions."""
    second = nn.Conv1d(6, 8, 5, stride=stride, padding=padding)
    positions = ((POOLED + 2 * padding - 5) // stride + 1) // 2
    return nn.Sequential(
        nn.Conv1d(4, 6, 8), nn.ReLU(), nn.MaxPool1d(4), nn.Dropout(p),
        second, nn.ReLU(), nn.MaxPool1d(2), nn.Dropout(p),
        nn.Flatten(), nn.Linear(8 * positions, 5), nn.ReLU(), nn.Linear(5, 3),
    ).double()  # fmt: skip


@pytest.mark.usefixtures("always", "thinned")
@pytest.mark.parametrize("references", [1, 3])
@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 0), (3, 2), (7, 0)])
def test_pairs_by_sparse_products(stride: int, padding: int, references: int) -> None:
    torch.manual_seed(0)
    batch = substitutions(LENGTH, references, only=90)
    found = compare(blocks(stride=stride, padding=padding), batch, (-1, *range(20)))
    assert found.error < 1e-10
    assert found.paths["sparse products"] > 0
    assert found.paths["whole products"] == 0
    assert found.paths["packed"] == 0  # the linear layer takes its windows as they come


@pytest.mark.usefixtures("always", "thinned")
@pytest.mark.parametrize("tail", [False, True])
def test_infinite_differences_are_multiplied_densely(tail: bool) -> None:
    """Zeros around the taps would make them NaN where they are not seen."""

    class Limited(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv1d(4, 6, 8), nn.Conv1d(6, 8, 5)
            self.second.weight.data.abs_()
            self.head = nn.Linear(8 * (POOLED - 4), 3)
            self.register_buffer("limit", torch.ones((), dtype=torch.float64))

        def until(self, x: Tensor) -> Tensor:
            return F.max_pool1d(torch.relu(self.first(x)), 4)

        def forward(self, x: Tensor) -> Tensor:
            kept = F.dropout(self.until(x), 0.5, self.training)
            x = torch.relu(self.second(torch.log(torch.relu(self.limit - kept))) + 3.0)
            return self.head(F.dropout(x, 0.5 if tail else 0.1, self.training).flatten(1))

    torch.manual_seed(0)
    net, batch = Limited().double(), substitutions(LENGTH)
    net.limit.fill_(2.002 * net.until(torch.from_numpy(batch.references)).max())
    mutants = torch.from_numpy(batch.layout.encode(batch.codes, np.dtype(float)))
    assert (2 * net.until(mutants) > net.limit).any()  # log(0) is minus infinity
    found = compare(net, batch, (-1, 0, 1))
    assert found.error < 1e-10
    assert (found.paths["sparse products"] > 0) == (not tail)
    assert found.paths["tail" if tail else "whole products"] > 0
    assert found.paths["sparse tail"] == 0


@pytest.mark.usefixtures("thinned")
def test_sparse_and_whole_products_of_one_layer_are_added(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([True, False] * 10_000)
    monkeypatch.setattr(few_channels, "pays", lambda share, *_: not share or next(answers))
    torch.manual_seed(0)
    found = compare(blocks(), substitutions(LENGTH), (-1, *range(9)))
    assert found.error < 1e-10
    assert found.paths["sparse products"] > 0
    assert found.paths["whole products"] > 0
    assert found.paths["packed"] > 0


@pytest.mark.usefixtures("always", "thinned")
def test_two_linear_layers_over_the_same_windows() -> None:
    torch.manual_seed(0)
    batch = substitutions(LENGTH, references=2, only=70)
    found = compare(TwoLinearLayers(LENGTH).double(), batch, (-1, 0, 1))
    assert found.error < 1e-10
    assert found.paths["sparse products"] > 0
    assert found.paths["packed"] == 0


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("references", [1, 3])
@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1), (3, 2), (7, 0)])
@pytest.mark.parametrize("draws", [(-1, *range(20)), (3, -1, 4), range(5)])
def test_products_less_what_is_dropped(
    draws: Sequence[int], stride: int, padding: int, references: int
) -> None:
    torch.manual_seed(0)
    net = blocks(stride=stride, padding=padding)
    net[1] = nn.ELU()  # little is zero before the first mask, so the draws go through side by side
    found = compare(net, substitutions(LENGTH, references, only=90), draws)
    assert found.error < 1e-10
    assert found.paths[LESS] > 0


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("layer", [nn.Dropout1d(0.3), nn.AlphaDropout(0.2), nn.FeatureAlphaDropout(0.2)])
def test_other_kinds_of_dropout_less_what_is_dropped(layer: nn.Module) -> None:
    torch.manual_seed(0)
    net = blocks()
    net[1], net[3] = nn.ELU(), layer
    found = compare(net, substitutions(LENGTH, only=90), (-1, *range(6)))
    assert found.error < 1e-10
    assert found.paths[LESS] > 0


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("references", [1, 3])
@pytest.mark.parametrize("name", ["deepsea", "deepsea_both_strands", "beluga", "bpnet"])
def test_references_by_sparse_products(name: str, references: int) -> None:
    length = 400
    net = build(name, seed=0, width=0.05, length=length).double()
    batch = substitutions(
        length, references, shape=net.input_shape, category_axis=net.category_axis, only=20
    )
    found = compare(net, batch, (-1, 0, 1))
    assert found.error < 1e-10
    assert found.paths["sparse references"] > 0


@pytest.mark.usefixtures("always")
def test_references_before_a_mask_that_nothing_else_asks_for() -> None:
    """Differences go through mean pooling without a look at the reference."""
    torch.manual_seed(0)
    net = blocks()
    net[1], net[2] = nn.Identity(), nn.AvgPool1d(4)
    found = compare(net, substitutions(LENGTH, 2, only=30), (-1, 0, 1))
    assert found.error < 1e-10
    assert found.paths["sparse references"] == 3


@pytest.mark.parametrize("stride", [1, 2, 3, 7])
@pytest.mark.parametrize("padding", [0, 1, 4])
@pytest.mark.usefixtures("always")
def test_a_whole_convolution_by_rows(stride: int, padding: int) -> None:
    torch.manual_seed(0)
    net = blocks(stride=stride, padding=padding)
    found = compare(net, substitutions(LENGTH, 2, only=30), (-1, 0, 1))
    assert found.error < 1e-10
    assert found.paths["sparse references"] == 3  # in each draw


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize(
    "pool",
    [
        nn.MaxPool1d(2), nn.MaxPool1d(4, 2, 2), nn.MaxPool1d(3, 4, 1, ceil_mode=True),
        nn.MaxPool1d(3, 5, 1, 2),
    ],
)  # fmt: skip
def test_references_are_pooled_as_they_lie(pool: nn.Module) -> None:
    torch.manual_seed(0)
    net = blocks()
    net[5], net[6] = nn.GELU(), pool  # below zero, so that padding with zeros would be seen
    with torch.no_grad():
        positions = net[:7](torch.zeros(1, 4, LENGTH, dtype=torch.float64)).shape[2]
    net[9] = nn.Linear(8 * positions, 5).double()
    found = compare(net, substitutions(LENGTH, 2, only=60), (-1, 0, 1))
    assert found.error < 1e-10
    assert found.paths["pooled references"] == 3


@pytest.mark.usefixtures("always")
def test_scaled_by_constants_under_a_mask() -> None:
    """The factor is 0 or one of several numbers: less than the largest is not dropped."""

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv1d(4, 3, 8), nn.Conv1d(3, 6, 5)
            self.scale = nn.Parameter(torch.tensor([0.5, 1.0, -2.0]))
            self.head = nn.Linear(6 * (POOLED - 4), 3)

        def forward(self, x: Tensor) -> Tensor:
            x = F.max_pool1d(F.elu(self.first(x)), 4)
            x = x * F.dropout(self.scale, 0.5, self.training)[:, None]
            return self.head(torch.relu(self.second(x)).flatten(1))

    torch.manual_seed(0)
    found = compare(Scaled().double(), substitutions(LENGTH, 2, only=90), (-1, *range(18)))
    assert found.error < 1e-10
    assert found.paths[LESS] > 0


@pytest.mark.usefixtures("always")
def test_windows_before_a_mask_that_are_used_again() -> None:
    """The mask's result is not made for the convolution, but for the sum beside it."""

    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv1d(4, 6, 8), nn.Conv1d(6, 6, 5, padding=2)
            self.head = nn.Linear(6 * 2, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = F.max_pool1d(F.elu(self.first(x)), 4)
            kept = F.dropout(x, 0.3, self.training)
            y = torch.relu(self.second(kept)) + kept
            return self.head(torch.cat([y.mean(2), x.amax(2)], 1))

    torch.manual_seed(0)
    found = compare(Beside().double(), substitutions(LENGTH, 2, only=90), (-1, *range(18)))
    assert found.error < 1e-10
    assert found.paths[LESS] > 0


def exact_zeros(net: nn.Module, batch: MutantBatch, draws: Sequence[int]) -> tuple[Tensor, int]:
    """Pairs of a draw and a mutant with exactly the reference's output; products by the short way."""
    model, bank = LockedModel(net.eval()), MaskBank(3)
    with model.borrow():
        engine = IncrementalEngine(model, bank)
        ref, alt = collect(engine, batch, draws)
    return (alt == ref[:, batch.owner]).all(dim=2), engine.paths[LESS]


def test_what_is_dropped_altogether_has_exactly_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all that differs is dropped, the rounding of a difference of two products must not stay."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv1d(4, 3, 8), nn.ELU(), nn.MaxPool1d(4), nn.Dropout(0.7),
        nn.Conv1d(3, 8, 3), nn.ELU(), nn.Flatten(), nn.Linear(8 * (POOLED - 2), 3),
    )  # fmt: skip
    batch, draws = substitutions(LENGTH, dtype=np.float32), range(16)
    expected, none = exact_zeros(net, batch, draws)
    monkeypatch.setattr(few_channels, "pays", lambda *_: True)
    monkeypatch.setattr(convolution, "LEAST_OUTPUTS", 0)
    found, some = exact_zeros(net, batch, draws)
    assert none == 0
    assert some > 0
    assert 0.01 < expected.double().mean() < 0.5
    assert torch.equal(found, expected)


def test_a_lazy_product_is_made_once_and_is_the_product() -> None:
    torch.manual_seed(0)
    before, factor = torch.randn(1, 3, 2, 4), (torch.rand(5, 1, 2, 4) < 0.6) * 1.6
    masked = Masked(before, factor, {})
    dropped = masked.dropped(masked.gains())
    gains = masked.gains()[:, None, None, None]
    assert torch.equal(masked.product() != 0, (factor != 0).expand(5, 3, 2, 4))
    assert torch.allclose(before * gains - dropped, masked.product())
    assert torch.equal(masked.all_dropped(), (masked.product() == 0).all(dim=3))


def test_thinning_begins_at_the_first_cut_where_it_pays() -> None:
    """Smooth units let all differences through; the second block's are dead for most mutants."""
    torch.manual_seed(0)
    last = ((POOLED - 4) // 2) - 2
    net = nn.Sequential(
        nn.Conv1d(4, 6, 8), nn.ELU(), nn.MaxPool1d(4), nn.Dropout(0.3),
        nn.Conv1d(6, 8, 5), nn.ReLU(), nn.MaxPool1d(2), nn.Dropout(0.3),
        nn.Conv1d(8, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * last, 3),
    ).double()  # fmt: skip
    net[4].bias.data -= 0.4
    batch, draws = substitutions(LENGTH), (-1, *range(20))
    found = compare(net, batch, draws)
    assert found.error < 1e-10
    assert found.paths["thinned"] > 0
    every = len(batch.codes) * len(draws)
    assert 0 < found.paths["pairs left"] < every / 2
    in_parts = compare(net, batch, draws, memory_bytes=60_000)
    assert in_parts.error < 1e-10
    assert in_parts.paths["slices"] > found.paths["slices"]
    assert in_parts.paths["thinned"] > 0
