"""benchmarks/models.py on stand-ins, which have the form of Enformer and Borzoi."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

LENGTH, BINS = 64, 16
OPTIONS = argparse.Namespace(draws=4, positions=3)


@pytest.fixture(scope="module")
def models() -> Iterator[ModuleType]:
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "models.py"
    spec = importlib.util.spec_from_file_location("benchmark_of_models", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["benchmark_of_models"] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["benchmark_of_models"]


class Attention(nn.Module):
    """With dropout of its weights, and of the features of relative positions, which have no batch."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.qkv, self.rel_k = nn.Linear(dim, 3 * dim), nn.Linear(5, dim)
        self.register_buffer("positions", torch.randn(2 * BINS - 1, 5), persistent=False)
        self.pos_dropout, self.attn_dropout = nn.Dropout(0.1), nn.Dropout(0.2)
        self.to_out = nn.Linear(dim, dim)
        nn.init.zeros_(self.to_out.weight)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        relative = torch.einsum("bid,jd->bij", q, self.rel_k(self.pos_dropout(self.positions)))
        n = x.shape[1]
        i = torch.arange(n)
        shifted = relative[:, i[:, None], i[None, :] - i[:, None] + n - 1]
        weights = (torch.einsum("bid,bjd->bij", q, k) + shifted).softmax(-1)
        return x + self.to_out(torch.einsum("bij,bjd->bid", self.attn_dropout(weights), v))


class EnformerLike(nn.Module):
    """(N, L, 4) to a dict of species: (N, bins, tracks). A part of it is registered twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv1d(4, 8, 5, padding=2), nn.BatchNorm1d(8), nn.GELU(), nn.MaxPool1d(4)
        )
        self.attention, self.drop = Attention(8), nn.Dropout(0.4)
        self.trunk = nn.ModuleList([self.stem, self.attention])
        self.heads = nn.ModuleDict({"human": nn.Linear(8, 3), "mouse": nn.Linear(8, 2)})

    def forward(self, x: Tensor, head: str | None = None) -> dict[str, Tensor] | Tensor:
        stem, attention = self.trunk
        x = self.drop(attention(stem(x.transpose(1, 2)).transpose(1, 2)))
        outputs = {name: nn.functional.softplus(layer(x)) for name, layer in self.heads.items()}
        return outputs if head is None else outputs[head]


class BorzoiLike(EnformerLike):
    """(N, 4, L) to (N, tracks, bins)."""

    def forward(self, x: Tensor, is_human: bool = True) -> Tensor:  # type: ignore[override]
        outputs = super().forward(x.transpose(1, 2), "human" if is_human else "mouse")
        assert isinstance(outputs, Tensor)
        return outputs.transpose(1, 2)


def stand_in(models: ModuleType, name: str) -> object:
    """As `ARCHITECTURES` has the real one, with the bins and tracks of the small one."""
    settings = {"input_shape": (LENGTH, 4) if name == "enformer" else (4, LENGTH), "unknown": "zero"}
    if name == "enformer":
        return models.Architecture(
            "torch", "torch", EnformerLike, LENGTH, settings, targets=("human/4,0", "mouse/3,1"),
            plain=lambda heads: torch.stack([heads["human"][:, 4, 0], heads["mouse"][:, 3, 1]], 1),
        )  # fmt: skip
    return models.Architecture(
        "torch", "torch", BorzoiLike, LENGTH, settings, targets=("0,8", "2,9"),
        plain=lambda tracks: torch.stack([tracks[:, 0, 8], tracks[:, 2, 9]], 1),
    )  # fmt: skip


@pytest.mark.parametrize("name", ["enformer", "borzoi"])
def test_networks_of_their_form_are_scored_exactly(
    models: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(models.ARCHITECTURES, name, stand_in(models, name))
    assert models.check(name, OPTIONS) == []
    said = capsys.readouterr().out
    assert "attention.pos_dropout" in said
    assert "one mask: it drops values that do not depend on the input" in said
    assert "ISM, incremental: cannot run" not in said
    assert "3 alleles = 2 scored + 1 skipped" in said


def test_a_difference_is_found(models: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    real = stand_in(models, "borzoi")
    wrong = replace(real, plain=lambda tracks: torch.stack([tracks[:, 0, 8], tracks[:, 2, 8]], 1))  # type: ignore[type-var]
    monkeypatch.setitem(models.ARCHITECTURES, "borzoi", wrong)
    assert [text[:12] for text in models.check("borzoi", OPTIONS)] == ["full differs"]
    monkeypatch.setitem(models.ARCHITECTURES, "borzoi", real)
    monkeypatch.setattr(models, "BAR", -1.0)
    assert len(models.check("borzoi", OPTIONS)) == 3


def test_a_package_that_lacks_is_skipped_by_name(
    models: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lacking = replace(stand_in(models, "borzoi"), package="no_such_package", install="no-such-package")  # type: ignore[type-var]
    monkeypatch.setitem(models.ARCHITECTURES, "borzoi", lacking)
    assert models.check("borzoi", OPTIONS) == []
    assert capsys.readouterr().out.endswith("not installed; pip install no-such-package\n")
