"""Random networks agree with the oracle through the engine, through ISM and through a VCF.

A dozen by default; MCDROPOUT_RANDOM_NETWORKS=300 runs as many.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import compare, substitutions
from random_networks import random_network
from torch import nn
from variant_call import score_variants

from kipoi_mcdropout.engine.incremental import (
    few_channels,
    reference_products,
    screened,
    stages,
    tail,
    thinning,
)
from kipoi_mcdropout.engine.incremental.rules import convolution
from kipoi_mcdropout.engine.incremental.tail import Tail
from kipoi_mcdropout.plugin.mutation import MCDropoutISM

LENGTH = 80
SEEDS = range(int(os.environ.get("MCDROPOUT_RANDOM_NETWORKS", "12")))
STATISTICS = ("ref_mean", "alt_mean", "alt_var", "effect_mean", "effect_sd", "effect_point")
pytestmark = [
    pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel"),
    pytest.mark.no_cover,  # it takes twice the time, and other tests run the same lines
]


def sequences(seed: int) -> np.ndarray:
    """Two one-hot sequences, the second with N."""
    codes = np.random.default_rng(seed).integers(0, 4, (2, LENGTH))
    x = np.eye(4)[codes].transpose(0, 2, 1)
    x[1, :, 20:60] = 0.25
    return x


@pytest.mark.parametrize("sparse", [False, True], ids=["as it pays", "always sparse"])
def test_the_engine_and_every_path_through_it(monkeypatch: pytest.MonkeyPatch, sparse: bool) -> None:
    monkeypatch.setattr(Tail, "pays", lambda *_: True)
    monkeypatch.setattr(tail, "LEAST_POOLED", 0)
    if sparse:
        for module in (few_channels, reference_products, screened, tail):
            monkeypatch.setattr(module, "pays", lambda *_: True)
        monkeypatch.setattr(stages, "LEAST_OUTPUTS", 0)
        monkeypatch.setattr(thinning, "WORTH", 2.0)
        monkeypatch.setattr(reference_products, "SMALL", 0)
        monkeypatch.setattr(convolution, "LEAST_OUTPUTS", 0)
        monkeypatch.setattr(thinning, "LEAST_ZERO", 0.0)
    paths: Counter[str] = Counter()
    errors = {}
    for seed in SEEDS:
        for references, only in ((1, 60), (3, 9)):
            batch = substitutions(LENGTH, references, only=only, seed=seed)
            found = compare(random_network(seed), batch, (-1, 0, 3), memory_bytes=300_000)
            paths.update(found.paths)
            errors[seed, references] = found.error
    assert {key: error for key, error in errors.items() if not error < 1e-10} == {}
    assert {"tail", "reduce", "materialise", "rows"} <= set(paths)
    ways = {"sparse products", "products less what is dropped", "sparse references"}
    ways = ways if sparse else {"packed"}
    assert ways <= set(paths)


@pytest.mark.parametrize("seed", SEEDS)
def test_ism(seed: int) -> None:
    found = {
        engine: MCDropoutISM(
            random_network(seed), None, n_draws=3, seed=5, category_axis=0, engine=engine,
            start=15, end=35,
        ).score(sequences(seed))["diff"]
        for engine in ("full", "incremental")
    }  # fmt: skip
    scale = np.nanmax(np.abs(found["full"]["alt_mean"]))
    for name in STATISTICS:
        power = 2 if name == "alt_var" else 1
        difference = np.abs(found["incremental"][name] - found["full"][name]) / scale**power
        assert np.nanmax(difference) < 1e-9, name
        missing = np.isnan(found["full"][name])
        np.testing.assert_array_equal(np.isnan(found["incremental"][name]), missing)


@pytest.mark.parametrize("seed", SEEDS)
def test_vcf(seed: int, tmp_path: Path) -> None:
    vcf, fasta = write_world(tmp_path, seed)
    net = random_network(seed)
    found = {engine: scored(net, vcf, fasta, tmp_path, engine) for engine in ("full", "incremental")}
    assert len(found["full"]) == 2 * 12  # outputs, alleles
    scale = found["full"]["alt_mean"].abs().max()
    for name in STATISTICS:
        power = 2 if name == "alt_var" else 1
        difference = (found["incremental"][name] - found["full"][name]).abs().max() / scale**power
        assert difference < 1e-9, name


def scored(net: nn.Module, vcf: Path, fasta: Path, folder: Path, engine: str) -> pd.DataFrame:
    table = folder / f"{engine}.parquet"
    score_variants(
        net, vcf, fasta, table=table, n_draws=3, seed=5, length=LENGTH, category_axis=0, engine=engine
    )
    return pd.read_parquet(table)


def write_world(folder: Path, seed: int) -> tuple[Path, Path]:
    """A genome, and substitutions, insertions and deletions on it."""
    random = np.random.default_rng(seed)
    genome = "".join(random.choice(list("ACGT"), 300))
    lines = ["##fileformat=VCFv4.2", "##contig=<ID=c,length=300>"]
    lines.append("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO")
    for i in range(12):
        at = 20 + 22 * i
        ref = genome[at : at + (1, 1, 1, 4)[i % 4]]
        alt = "ACGT"[("ACGT".index(ref[0]) + 1) % 4] if i % 4 < 2 else ref[0] + ("GATTA" * (i % 4 == 2))
        lines.append(f"c\t{at + 1}\t.\t{ref}\t{alt}\t.\t.\t.")
    vcf, fasta = folder / "in.vcf", folder / "g.fa"
    vcf.write_text("\n".join(lines) + "\n")
    fasta.write_text(f">c\n{genome}\n")
    return vcf, fasta
