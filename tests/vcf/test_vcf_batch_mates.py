"""A model whose outputs depend on the variants beside has no effects to write."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from variant_call import score_variants
from variant_world import LENGTH, TinyNet, random_sequence, write_fasta, write_vcf

from kipoi_mcdropout.errors import BatchDependenceError


class Centred(TinyNet):
    """TinyNet less its mean over the batch."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y - y.mean(0)


@pytest.mark.parametrize("n_draws", [0, 3])
@pytest.mark.parametrize("engine", ["auto", "full"])
def test_outputs_that_depend_on_other_variants_are_refused(
    tmp_path: Path, engine: str, n_draws: int
) -> None:
    sequence = random_sequence(200, 11)
    alt = "C" if sequence[99] == "A" else "A"
    vcf = write_vcf(tmp_path / "in.vcf", [f"c 100 x {sequence[99]} {alt} . . ."], {"c": 200})
    fasta = write_fasta(tmp_path / "g.fa", {"c": sequence})
    torch.manual_seed(0)
    with pytest.raises(BatchDependenceError, match="Centred"):
        score_variants(
            Centred(), vcf=vcf, fasta=fasta, table=tmp_path / "out.parquet", length=LENGTH,
            category_axis=0, n_draws=n_draws, engine=engine,
        )  # fmt: skip
    assert not (tmp_path / "out.parquet").exists()
