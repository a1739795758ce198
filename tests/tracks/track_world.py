"""A small genome, windows that overlap, and what is needed to look at tracks without our code."""

from __future__ import annotations

import gzip
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from variant_world import random_sequence, tiny_net, write_fasta

import kipoi_mcdropout as mcd

pybigtools = pytest.importorskip("pybigtools", reason="pip install 'kipoi_mcdropout[tracks]'")
bigwigs = pytest.importorskip("pyBigWig", reason="pip install 'kipoi_mcdropout[tracks]'")

TRACKS = ("effect", "sd", "z", "importance")
OUTPUTS = ["FOXA2", "a/b c", "DNase"]
SIZES = {"chr10": 150, "chr2": 200, "chrM": 30}
# Windows of 21 bp: b lies on the other strand and shares 11 bases with a, and e with c. d is alone.
BED = """\
chr2 10 31 a 0 +
chr2 20 41 b 0 -
chr10 50 71 c 0 +
chr2 100 121 d 0 -
chr10 45 66 e 0 +
"""


def make_genome(folder: Path) -> Path:
    """Three contigs; chr10 has two N in the windows c and e."""
    sequences = {name: random_sequence(SIZES[name], seed) for seed, name in enumerate(["chr2", "chrM"])}
    chr10 = random_sequence(SIZES["chr10"], 7)
    sequences["chr10"] = chr10[:60] + "NN" + chr10[62:]
    return write_fasta(folder / "genome.fa", sequences)


def make_regions(folder: Path) -> mcd.Regions:
    """The windows of BED."""
    bed = folder / "regions.bed"
    bed.write_text(BED.replace(" ", "\t"))
    return mcd.Regions(make_genome(folder), bed, use_strand=True)


def mutate(inputs: Any, **options: Any) -> mcd.Effects:
    """Effects of all substitutions; that two bases are N is known."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*2 positions are N in the reference")
        return mcd.ism(mcd.Model(tiny_net(), outputs=OUTPUTS), inputs, **options)


def by_hand(table: pd.DataFrame) -> dict[tuple[str, int], dict[str, float]]:
    """The numbers of one output and score for each position (0-based), in plain Python."""
    nearest: dict[tuple[str, int], tuple[float, int]] = {}
    for number, rows in table.groupby("sequence"):
        middle = (rows["pos"].min() + rows["pos"].max()) / 2
        for chrom, pos in set(zip(rows["chrom"], rows["pos"], strict=True)):
            key, candidate = (chrom, pos - 1), (abs(pos - middle), number)
            nearest[key] = min(nearest.get(key, candidate), candidate)
    found = {}
    for key, (_, number) in nearest.items():
        rows = table[(table["sequence"] == number) & (table["pos"] == key[1] + 1)]
        strongest = max(rows.to_dict("records"), key=lambda row: abs(row["effect_mean"]))
        found[key] = {
            "effect": strongest["effect_mean"],
            "sd": strongest["effect_sd"],
            "z": float(strongest["effect_mean"]) / float(strongest["effect_sd"]),
            "importance": -float(rows["effect_mean"].astype(float).mean()),
        }
    return found


def read_bigwig(path: Path) -> dict[tuple[str, int], float]:
    """Every number of a bigWig, read by another library than the one that wrote it."""
    with pybigtools.open(str(path)) as file:
        return {
            (contig, position): value
            for contig in file.chroms()
            for start, end, value in file.records(contig)
            for position in range(start, end)
        }


def text_lines(path: Path) -> Iterator[list[str]]:
    """Fields of the lines of a gzipped text that are no comments."""
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        if not line.startswith("#"):
            yield line.split("\t")


def comments(path: Path) -> list[str]:
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    return [line for line in lines if line.startswith("#")]


def assert_same(got: dict[Any, float], expected: dict[Any, float]) -> None:
    """The same keys, and numbers that are the same in float32."""
    assert got.keys() == expected.keys()
    keys = sorted(got)
    np.testing.assert_allclose(
        [got[k] for k in keys], [expected[k] for k in keys], rtol=3e-7, atol=1e-12
    )
