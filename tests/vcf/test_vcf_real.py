"""Real variants: human gene regions and 1000 Genomes sites, counted by bcftools independently."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from variant_call import score_variants
from variant_world import bcftools, body, info, tiny_net, without_added

from kipoi_mcdropout.vcf.score import VariantRun

LENGTH = 201


def run(vcf: Path, fasta: Path, folder: Path, **options: Any) -> VariantRun:
    return score_variants(
        tiny_net(LENGTH), vcf, fasta, folder / "out.vcf.gz", folder / "t.parquet",
        n_draws=2, length=LENGTH, category_axis=0, targets=["0"], skipped=folder / "skipped.tsv",
        **options,
    )  # fmt: skip


def alleles_by_bcftools(vcf: Path, folder: Path) -> Counter[str]:
    """Alleles by kind: records split by bcftools norm, typed by bcftools query."""
    split = folder / "split.vcf"
    bcftools("norm", "-m-any", "-o", split, vcf)
    lines = bcftools("query", "-f", "%TYPE\t%REF\t%ALT\n", split).splitlines()
    counts: Counter[str] = Counter()
    for line in lines:
        kind, ref, alt = line.split("\t")
        if kind == "OVERLAP" or alt.startswith("<"):
            counts["no sequence"] += 1
        elif kind in ("INDEL", "OTHER"):
            counts["longer" if len(alt) > len(ref) else "shorter"] += 1
        else:
            counts[{"SNP": "snv", "MNP": "mnv", "REF": "none"}.get(kind, kind)] += 1
    return counts


def alleles_by_ledger(result: VariantRun, folder: Path) -> Counter[str]:
    """The same classes from our outputs: scored alleles of the table, and skipped ones."""
    table = pd.read_parquet(folder / "t.parquet")
    skipped = pd.read_table(folder / "skipped.tsv", keep_default_na=False)
    assert len(table) == result.ledger.scored
    assert len(skipped) == result.ledger.n_skipped
    counts: Counter[str] = Counter()
    for row in table.itertuples():
        size = len(row.alt) - len(row.ref)
        counts[row.kind if size == 0 else "longer" if size > 0 else "shorter"] += 1
    for row in skipped.itertuples():
        if row.reason == "alt_is_ref":
            counts["none"] += 1
        elif row.reason == "too_long":
            counts["longer" if len(row.alt) > len(row.ref) else "shorter"] += 1
        else:
            assert row.reason in ("symbolic", "overlapping_deletion"), row
            counts["no sequence"] += 1
    return counts


def check(result: VariantRun, vcf: Path, folder: Path) -> None:
    ledger = result.ledger
    assert ledger.alleles == ledger.scored + ledger.n_skipped
    assert ledger.records == len(body(vcf))
    assert alleles_by_ledger(result, folder) == alleles_by_bcftools(vcf, folder)
    out = folder / "out.vcf.gz"
    bcftools("index", out)
    assert [without_added(line) for line in body(out)] == body(vcf)
    for line in body(out):
        n_alt = line.split("\t")[4].count(",") + 1
        assert all(v.count(",") + 1 == n_alt for k, v in info(line).items() if k.startswith("MCD_"))


def test_human_regions(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "human_regions"
    result = run(folder / "variants.vcf", folder / "regions.fa", tmp_path)
    check(result, folder / "variants.vcf", tmp_path)
    assert result.ledger.records == 123
    assert result.ledger.skipped["symbolic"] == 7
    assert result.ledger.skipped["ref_mismatch"] == 0


def test_1000_genomes_slice(shared_data: Path, tmp_path: Path) -> None:
    """The first and the last records, symbolic and multi-allelic ones among them."""
    folder = shared_data / "vg_1mb1kgp"
    with gzip.open(folder / "z.vcf.gz", "rt") as file:
        lines = file.readlines()
    header = [line for line in lines if line.startswith("#")]
    n = len(header)
    header.insert(n - 1, "##contig=<ID=z,length=1000000>\n")  # or bcftools norm fails
    records = lines[n:]
    odd = [r for r in records if "," in r.split("\t")[4] or r.split("\t")[4].startswith("<")]
    chosen = records[:300] + odd + records[-200:]
    chosen = sorted(set(chosen), key=lambda r: int(r.split("\t")[1]))
    vcf = tmp_path / "slice.vcf"
    vcf.write_text("".join(header + chosen))
    result = run(vcf, folder / "z.fa", tmp_path)
    check(result, vcf, tmp_path)
    assert result.ledger.skipped["ref_mismatch"] == 0
    assert result.ledger.skipped["symbolic"] == 24
    assert result.ledger.flags["edge_padded"] > 0


def test_normalising_agrees_with_bcftools_norm(shared_data: Path, tmp_path: Path) -> None:
    """What bcftools left-aligns gives the numbers that --normalize gives for the input as it is."""
    folder = shared_data / "human_regions"
    vcf, fasta = folder / "variants.vcf", folder / "regions.fa"
    scorable = tmp_path / "scorable.vcf"
    text = vcf.read_text().splitlines(keepends=True)
    scorable.write_text("".join(line for line in text if "<INS" not in line and "<DEL" not in line))
    aligned = tmp_path / "aligned.vcf"
    fasta_copy = tmp_path / "regions.fa"  # bcftools writes an index beside the FASTA
    fasta_copy.write_bytes(fasta.read_bytes())
    bcftools("norm", "-m-any", "-cw", "-f", fasta_copy, "-o", aligned, scorable)
    (tmp_path / "ours").mkdir()
    (tmp_path / "theirs").mkdir()
    run(scorable, fasta, tmp_path / "ours", normalize=True)
    run(aligned, fasta, tmp_path / "theirs")
    ours = pd.read_parquet(tmp_path / "ours" / "t.parquet").set_index("id")
    theirs = pd.read_parquet(tmp_path / "theirs" / "t.parquet").set_index("id")
    single = ~ours.index.duplicated(keep=False)
    both = ours[single].merge(theirs, left_index=True, right_index=True, suffixes=("", "_theirs"))
    moved = both.pos != both.pos_theirs
    assert moved.sum() > 10
    assert len(both) > 100
    assert both.effect_mean.to_numpy() == pytest.approx(both.effect_mean_theirs.to_numpy(), abs=1e-6)
