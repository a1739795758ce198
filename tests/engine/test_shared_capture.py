"""Networks of one architecture are captured once, unless the graph depends on the values of weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from small_models import fixed, one_hot
from torch import Tensor, nn
from torch.nn import functional as F

import kipoi_mcdropout as mcd
from kipoi_mcdropout.effects import member_engines
from kipoi_mcdropout.engine.incremental import shared_capture
from kipoi_mcdropout.model.adapter import KipoiModel
from kipoi_mcdropout.model.architecture import architecture

LENGTH = 40


class Cnn(nn.Module):
    """Two convolutions; `first` is what a test changes."""

    def __init__(self, p: float = 0.3, width: int = 5) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 6, width, padding=width // 2)
        self.norm = nn.BatchNorm1d(6)
        self.drop = nn.Dropout(p)
        self.scale = nn.Parameter(torch.randn(6))
        self.level = nn.Parameter(torch.randn(()))
        self.dense = nn.Linear(6 * LENGTH, 2)

    def first(self, x: Tensor) -> Tensor:
        return self.conv(x) * self.scale[:, None]

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(self.drop(F.relu(self.norm(self.first(x)))).flatten(1))


class ReadsFloat(Cnn):
    def first(self, x: Tensor) -> Tensor:
        return self.conv(x) * float(self.level)


class ReadsItem(Cnn):
    def first(self, x: Tensor) -> Tensor:
        return self.conv(x) * self.level.item()


class Branches(Cnn):
    """Another operation where a weight is negative."""

    def first(self, x: Tensor) -> Tensor:
        return self.conv(x) if self.level.tolist() > 0 else self.conv(-x)


class TakesData(Cnn):
    """Other tensors on the memory of a parameter."""

    def first(self, x: Tensor) -> Tensor:
        return self.conv(x) * self.scale.data[:, None] * self.scale.data.numel()


class Baked(Cnn):
    """A constant made of weights, in an object of a library, which no checksum covers."""

    def first(self, x: Tensor) -> Tensor:
        return self.conv(x) * self.spread.scale

    def bake(self) -> None:
        scale = self.scale.detach().exp()[:, None].clone()
        self.spread = torch.distributions.Normal(torch.zeros(6, 1), scale, validate_args=False)


def _shared(monkeypatch: pytest.MonkeyPatch, models: list[nn.Module]) -> tuple[int, Any]:
    """How many networks were captured, and the effects."""
    capture, count = shared_capture.capture, [0]

    def counted(*args: Any) -> Any:
        count[0] += 1
        return capture(*args)

    with monkeypatch.context() as patch:
        patch.setattr(shared_capture, "capture", counted)
        effects = _effects(models)
    return count[0], effects


def _effects(models: list[nn.Module], engine: str = "incremental") -> tuple[pd.DataFrame, np.ndarray]:
    running = mcd.RunOptions(engine=engine, verify=False)
    effects = mcd.ism(
        mcd.Model(models), one_hot(2, LENGTH), n_draws=2 * len(models), seed=3, running=running
    )
    return effects.table(), effects.member_means()


def _alone(monkeypatch: pytest.MonkeyPatch, models: list[nn.Module]) -> tuple[pd.DataFrame, np.ndarray]:
    """Each network captured by itself."""
    with monkeypatch.context() as patch:
        patch.setattr(member_engines, "shared_captures", lambda ensemble: [None] * len(ensemble))
        return _effects(models)


def _same(a: tuple[pd.DataFrame, np.ndarray], b: tuple[pd.DataFrame, np.ndarray]) -> None:
    pd.testing.assert_frame_equal(a[0], b[0], check_exact=True)
    np.testing.assert_array_equal(a[1], b[1])


def _nets(kind: Callable[..., nn.Module], n: int = 3) -> list[nn.Module]:
    return [fixed(kind(), seed) for seed in range(n)]


@pytest.mark.parametrize("kind", [Cnn, TakesData])
def test_networks_of_one_architecture_are_captured_once_and_no_bit_differs(
    kind: type[Cnn], monkeypatch: pytest.MonkeyPatch
) -> None:
    nets = _nets(kind)
    captured, effects = _shared(monkeypatch, nets)
    assert captured == 1
    _same(effects, _alone(monkeypatch, nets))
    means = effects[1]
    assert (means[0] != means[1]).any(), "each has its own weights"


@pytest.mark.parametrize("kind", [ReadsFloat, ReadsItem, Branches, Baked])
def test_what_depends_on_the_values_of_weights_is_captured_for_each(
    kind: type[Cnn], monkeypatch: pytest.MonkeyPatch
) -> None:
    nets = _nets(kind)
    for net in nets:
        if isinstance(net, Baked):
            net.bake()
    captured, effects = _shared(monkeypatch, nets)
    assert captured == 3
    _same(effects, _alone(monkeypatch, nets))
    whole = _effects(nets, engine="full")[1]
    np.testing.assert_allclose(effects[1], whole, rtol=1e-3, atol=1e-5 * np.abs(whole).max())


def test_other_architectures_are_captured_for_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    nets = [*_nets(Cnn, 2), fixed(Cnn(width=7), 3), fixed(Cnn(p=0.5), 4)]
    captured, effects = _shared(monkeypatch, nets)
    assert captured == 3
    _same(effects, _alone(monkeypatch, nets))


def test_a_graph_that_does_not_fit_is_captured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    nets = _nets(Cnn)
    expected = _alone(monkeypatch, nets)
    filled = shared_capture._filled
    with monkeypatch.context() as patch:  # always the weights of the same network
        patch.setattr(shared_capture, "_filled", lambda graph, _: filled(graph, nets[0]))
        effects = _effects(nets)
    _same(effects, expected)


def test_weights_that_are_one_in_one_network_make_another_architecture() -> None:
    tied, apart, again = (fixed(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)), i) for i in range(3))
    assert isinstance(tied, nn.Sequential)
    tied[1].weight = tied[0].weight
    found = [architecture(KipoiModel(net)) for net in (tied, apart, again)]
    assert found[0] != found[1]
    assert found[1] == found[2]
