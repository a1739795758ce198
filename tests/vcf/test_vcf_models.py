"""Variants with weights of every type, and outputs that need a choice."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from variant_call import score_variants
from variant_world import LENGTH, random_sequence, tiny_net, write_fasta, write_vcf

from kipoi_mcdropout.errors import TargetError

GENOME = random_sequence(100, seed=5)


@pytest.fixture
def world(tmp_path: Path) -> dict[str, Any]:
    alt = "ACGT"["ACGT".index(GENOME[49]) - 1]
    return {
        "vcf": write_vcf(tmp_path / "in.vcf", [f"c 50 v {GENOME[49]} {alt} . . ."], {"c": 100}),
        "fasta": write_fasta(tmp_path / "g.fa", {"c": GENOME}),
        "table": tmp_path / "out.parquet",
    }


def score(model: Any, world: dict[str, Any], **options: Any) -> pd.DataFrame:
    options = {"n_draws": 3, "length": LENGTH, "category_axis": 0, "overwrite": True, **options}
    score_variants(model, **world, **options)
    return pd.read_parquet(world["table"])


@pytest.mark.parametrize("engine", ["full", "incremental"])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float16, 2e-3), (torch.bfloat16, 2e-2)]
)
def test_weights_of_every_type_score_variants(
    world: dict[str, Any], dtype: torch.dtype, tolerance: float, engine: str
) -> None:
    columns = ["ref_mean", "alt_mean", "effect_mean", "effect_point"]
    expected = score(tiny_net(), world, engine="full")
    found = score(tiny_net().to(dtype), world, engine=engine)
    assert expected["effect_mean"].abs().min() > 0
    np.testing.assert_allclose(found[columns], expected[columns], rtol=0, atol=tolerance)


class Bins(nn.Module):
    """Three labelled tracks in three bins."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = tiny_net()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)[:, :, None] * torch.tensor([1.0, 2.0, 3.0])


def test_outputs_are_chosen_by_the_labels_of_the_named_axis(world: dict[str, Any]) -> None:
    tracks = SimpleNamespace(column_labels=["a", "b", "b"], name=None)
    model = SimpleNamespace(model=Bins(), schema=SimpleNamespace(inputs=None, targets=tracks))
    with pytest.raises(TargetError, match="label_axis=0"):
        score(model, world)
    table = score(model, world, label_axis=0, targets="b#2,*")
    assert list(table["output"]) == ["b#2,0", "b#2,1", "b#2,2"]
    plain = score(tiny_net(), world, targets=2)
    effect = float(plain["effect_mean"][0])
    np.testing.assert_allclose(table["effect_mean"], [effect, 2 * effect, 3 * effect], rtol=1e-5)
