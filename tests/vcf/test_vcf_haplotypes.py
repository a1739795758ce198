"""Haplotypes are scored as sequences that are edited by hand, under the same masks."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from variant_world import LENGTH, one_hot, random_sequence, tiny_net, write_fasta, write_vcf

import kipoi_mcdropout as mcd
from kipoi_mcdropout import Model, RunOptions, VariantOptions, VcfOptions
from kipoi_mcdropout.dropout.masks import keep_mask
from kipoi_mcdropout.errors import InputError, OutputError
from kipoi_mcdropout.runs.shard import Shard
from kipoi_mcdropout.vcf.place.haplotype_windows import overlapping
from kipoi_mcdropout.vcf.read.alleles import Edit
from kipoi_mcdropout.vcf.read.haplotypes import Haplotypes
from kipoi_mcdropout.vcf.read.reader import VcfReader

GENOME = random_sequence(300, 11)
INDEX = (LENGTH - 1) // 2
OTHER = {"A": "C", "C": "G", "G": "T", "T": "A"}
PHASED = VariantOptions(phased=True)
N_DRAWS, SEED = 3, 5


def snv(pos: int, genotypes: str, form: str = "GT") -> str:
    ref = GENOME[pos - 1]
    return f"c {pos} . {ref} {OTHER[ref]} . . . {form} {genotypes}"


def name_of(pos: int) -> str:
    return f"c:{pos}:{GENOME[pos - 1]}>{OTHER[GENOME[pos - 1]]}"


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    return write_fasta(tmp_path / "g.fa", {"c": GENOME, "d": GENOME})


def write(folder: Path, records: list[str], n_samples: int = 1, name: str = "in.vcf") -> Path:
    samples = [f"s{i}" for i in range(1, n_samples + 1)]
    return write_vcf(folder / name, records, {"c": 300, "d": 300}, samples=samples)


def score(vcf: Path, fasta: Path, options: VariantOptions = PHASED, **how: Any) -> Any:
    model = Model(tiny_net(), input_shape=(4, LENGTH))
    return mcd.score_variants(model, vcf, fasta, n_draws=N_DRAWS, seed=SEED, options=options, **how)


def edited(pos: int, edits: dict[int, tuple[str, str]]) -> str:
    """Window of the genome with edits (by POS, REF and ALT), by hand: POS keeps its place."""
    left, right = GENOME[: pos - 1], GENOME[pos - 1 :]
    for at in sorted(edits, reverse=True):
        ref, alt = edits[at]
        if at < pos:
            assert left[at - 1 : at - 1 + len(ref)] == ref
            left = left[: at - 1] + alt + left[at - 1 + len(ref) :]
        else:
            assert right[at - pos : at - pos + len(ref)] == ref
            right = right[: at - pos] + alt + right[at - pos + len(ref) :]
    return left[len(left) - INDEX :] + right[: LENGTH - INDEX]


def by_hand(pos: int, edits: dict[int, tuple[str, str]]) -> np.ndarray:
    """Effects of each draw, shape=(draws, 3): torch's own network with the mask put in by hand."""
    net = tiny_net()
    windows = [edited(pos, {}), edited(pos, edits)]
    x = torch.from_numpy(np.stack([one_hot(window) for window in windows]))
    outputs = []
    with torch.inference_mode():
        hidden = torch.relu(net.conv(x))
        for draw in range(N_DRAWS):
            keep = torch.from_numpy(keep_mask(SEED, draw, 0, (1, *hidden.shape[1:]), net.drop.p))
            thinned = hidden * keep / (1 - net.drop.p)
            outputs.append(torch.sigmoid(net.dense(thinned.flatten(1))).double().numpy())
    found = np.stack(outputs)
    return found[:, 1] - found[:, 0]


def check_by_hand(row: pd.DataFrame, pos: int, edits: dict[int, tuple[str, str]]) -> None:
    effects = by_hand(pos, edits)
    assert np.abs(effects).max() > 1e-4
    np.testing.assert_allclose(row["effect_mean"], effects.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(row["effect_sd"], effects.std(axis=0, ddof=1), atol=1e-6)


def base(pos: int) -> tuple[str, str]:
    return GENOME[pos - 1], OTHER[GENOME[pos - 1]]


def test_two_snvs_on_one_copy_are_scored_together(fasta: Path, tmp_path: Path) -> None:
    vcf = write(tmp_path, [snv(50, "0|1 1|0"), snv(54, "0|1 0|1"), snv(100, "1|1 0/0")], n_samples=2)
    found = score(vcf, fasta)
    table = found.table()
    together = f"{name_of(50)}+{name_of(54)}"
    carriers = {(r.pos, r.haplotype): r.carriers for r in table.itertuples()}
    assert carriers == {
        (50, together): "s1:2", (50, name_of(50)): "s2:1",
        (54, together): "s1:2", (54, name_of(54)): "s2:2",
        (100, name_of(100)): "s1:1,s1:2",
    }  # fmt: skip
    for pos in (50, 54):
        row = table[(table["pos"] == pos) & (table["haplotype"] == together)]
        check_by_hand(row, pos, {50: base(50), 54: base(54)})
        assert set(row["kind"]) == {"haplotype"}
        alone = table[(table["pos"] == pos) & (table["haplotype"] == name_of(pos))]
        check_by_hand(alone, pos, {pos: base(pos)})
    assert set(table[table["pos"] == 100]["kind"]) == {"snv"}
    ledger = found.provenance["ledger"]
    assert ledger["copies"] == 3 * 2 * 2 == ledger["scored"] + ledger["reference"]
    assert (ledger["scored"], ledger["haplotypes"]) == (6, 5)


def test_an_allele_alone_has_the_numbers_of_the_run_without_phases(fasta: Path, tmp_path: Path) -> None:
    insertion = f"c 30 . {GENOME[29]} {GENOME[29]}TT . . . GT 0|1"
    deletion = f"c 70 . {GENOME[69:73]} {GENOME[69]} . . . GT 1"
    several = f"c 120 . {GENOME[119]} {','.join(b for b in 'ACGT' if b != GENOME[119])} . . . GT 3|2"
    vcf = write(tmp_path, [insertion, deletion, snv(100, "1|0"), several])
    phased = score(vcf, fasta).table()
    plain = score(vcf, fasta, VariantOptions()).table().query("not (pos == 120 and allele == 1)")
    order = ["pos", "allele", "output"]
    phased, plain = (t.sort_values(order).reset_index(drop=True) for t in (phased, plain))
    assert len(plain) == 5 * 3
    numbers = ["ref_mean", "alt_mean", "effect_mean", "effect_sd", "ref_alt_cov"]
    assert phased[[*order, "kind"]].equals(plain[[*order, "kind"]])
    np.testing.assert_allclose(phased[numbers], plain[numbers], atol=1e-6)


EDITS = {
    "two deletions": {45: (GENOME[44:48], GENOME[44]), 53: (GENOME[52:55], GENOME[52])},
    "deletion and insertion": {46: (GENOME[45:49], GENOME[45]), 52: (GENOME[51], GENOME[51] + "GATT")},
    "insertions": {44: (GENOME[43], GENOME[43] + "CC"), 56: (GENOME[55], GENOME[55] + "A")},
    "an MNV": {47: (GENOME[46:48], OTHER[GENOME[46]] + OTHER[GENOME[47]])},
    "a long deletion that reaches in": {36: (GENOME[35:46], GENOME[35])},
}


@pytest.mark.parametrize("what", EDITS)
def test_indels_of_a_haplotype(fasta: Path, tmp_path: Path, what: str) -> None:
    """An SNV at 50 with what lies on both sides of it."""
    edits = {**EDITS[what], 50: base(50)}
    records = [f"c {at} . {edits[at][0]} {edits[at][1]} . . . GT 0|1" for at in sorted(edits)]
    found = score(write(tmp_path, records), fasta)
    row = found.table().query("pos == 50")
    assert row["n_alleles"].tolist() == [len(edits)] * 3
    check_by_hand(row, 50, edits)
    assert found.provenance["ledger"]["scored"] == len(edits)


def test_shifts_and_both_strands(fasta: Path, tmp_path: Path) -> None:
    vcf = write(tmp_path, [snv(46, "0|1"), snv(50, "0|1")])
    options = VariantOptions(phased=True, rc=True, shifts=(0, 2))
    both = score(vcf, fasta, options).table().query("pos == 50")
    net = tiny_net()
    windows = []
    for edits in ({}, {46: base(46), 50: base(50)}):
        sequence = list(GENOME)
        for at, (_, alt) in edits.items():
            sequence[at - 1] = alt
        text = "".join(sequence)
        windows.append([one_hot(text[49 - INDEX + s :][:LENGTH]) for s in (0, 2)])
    x = torch.from_numpy(np.array([[w, w[::-1, ::-1].copy()] for pair in windows for w in pair]))
    with torch.inference_mode():
        net.eval()
        outputs = net(x.reshape(-1, 4, LENGTH)).double().numpy().reshape(2, 4, 3).mean(axis=1)
    np.testing.assert_allclose(both["effect_point"], outputs[1] - outputs[0], atol=1e-6)


def test_what_is_not_known_is_left_out_and_counted(fasta: Path, tmp_path: Path) -> None:
    """A sample each: unphased, another phase set, missing, half missing, one copy, no GT at all."""
    records = [
        snv(50, "0|1:7 0|1:7 0|1:. 1|0 0|1 1 0/1:7 . 0|1 ./1 1|1", "GT:PS"),
        snv(54, "0/1:7 0|1:8 . .|1 1 0|1 1|1 0|1 0|1 0|1 0|1:3", "GT:PS"),
    ]
    vcf = write(tmp_path, records, n_samples=11)
    skipped_to = VcfOptions(skipped=tmp_path / "s.tsv")
    found = score(vcf, fasta, vcf_options=skipped_to, output=tmp_path / "t.tsv")
    table = found.table().query("output == '0'")
    at = {
        (r.pos, one): (r.n_alleles, r.flags) for r in table.itertuples() for one in r.carriers.split(",")
    }
    assert at == {
        (50, "s1:2"): (1, "unphased_left_out"),
        (50, "s2:2"): (1, "phase_set_left_out"),
        (50, "s3:2"): (1, "missing_left_out"),
        (50, "s4:1"): (1, "missing_left_out"),
        (50, "s5:2"): (1, "ploidy_left_out"),
        (50, "s6:1"): (1, "ploidy_left_out"),
        (50, "s9:2"): (2, ""),
        (50, "s11:1"): (1, ""),
        (50, "s11:2"): (2, ""),
        (54, "s2:2"): (1, "phase_set_left_out"),
        (54, "s4:2"): (1, ""),
        (54, "s5:1"): (1, "ploidy_left_out"),
        (54, "s6:2"): (1, "ploidy_left_out"),
        (54, "s7:1"): (1, "unphased_left_out"),
        (54, "s7:2"): (1, "unphased_left_out"),
        (54, "s8:2"): (1, "missing_left_out"),
        (54, "s9:2"): (2, ""),
        (54, "s10:2"): (1, "missing_left_out"),
        (54, "s11:2"): (2, ""),
    }
    skipped = pd.read_csv(tmp_path / "s.tsv", sep="\t")
    assert [f"{r.pos} {r.sample}:{r.copy} {r.reason}" for r in skipped.itertuples()] == [
        "50 s7:1 unphased", "50 s7:2 unphased", "50 s8:1 missing_genotype",
        "50 s10:1 missing_genotype", "50 s10:2 unphased",
        "54 s1:1 unphased", "54 s1:2 unphased", "54 s3:1 missing_genotype", "54 s4:1 missing_genotype",
    ]  # fmt: skip
    ledger = found.provenance["ledger"]
    assert ledger["skipped"] == {"missing_genotype": 4, "unphased": 5}
    genotypes = [field.split(":")[0] for record in records for field in record.split()[9:]]
    n_copies = sum(1 + text.count("|") + text.count("/") for text in genotypes)
    assert ledger["copies"] == n_copies == ledger["scored"] + ledger["reference"] + sum(
        ledger["skipped"].values()
    )
    assert ledger["scored"] == len(at)


def test_a_homozygous_record_takes_the_nearest_phase_set(fasta: Path, tmp_path: Path) -> None:
    records = [snv(46, "0|1:1", "GT:PS"), snv(50, "1/1"), snv(52, "1|0:2", "GT:PS")]
    table = score(write(tmp_path, records), fasta).table().query("pos == 50 and output == '0'")
    assert {r.carriers: (r.haplotype, r.flags) for r in table.itertuples()} == {
        "s1:1": (f"{name_of(50)}+{name_of(52)}", "phase_set_left_out"),
        "s1:2": (name_of(50), "phase_set_left_out"),
    }


def test_what_cannot_be_one_haplotype_is_skipped_by_name(fasta: Path, tmp_path: Path) -> None:
    deletion = f"c 50 . {GENOME[49:53]} {GENOME[49]} . . . GT 0|1"
    records = [
        deletion, snv(50, "0|1"), snv(52, "0|1"),
        snv(100, "0|1"), f"c 104 . {GENOME[103]} <DEL> . . . GT 0|1",
        snv(150, "0|1"), f"c 152 . {GENOME[151]} *,{OTHER[GENOME[151]]} . . . GT 0|1",
        f"c 200 . {GENOME[199:203]} {GENOME[199]} . . . GT 0|1",
        f"c 202 . {GENOME[201]} * . . . GT 0|1", snv(206, "0|1"),
    ]  # fmt: skip
    found = score(
        write(tmp_path, records), fasta, vcf_options=VcfOptions(skipped=tmp_path / "s.tsv"),
        output=tmp_path / "t.tsv",
    )  # fmt: skip
    skipped = pd.read_csv(tmp_path / "s.tsv", sep="\t")
    got = {(r.pos, len(r.ref)): (r.reason, str(r.detail)) for r in skipped.itertuples()}
    assert {key: reason for key, (reason, _) in got.items()} == {
        (50, 4): "overlapping_records", (50, 1): "overlapping_records",
        (52, 1): "overlapping_records",
        (100, 1): "haplotype_allele", (104, 1): "symbolic",
        (150, 1): "haplotype_allele", (152, 1): "overlapping_deletion",
        (202, 1): "overlapping_deletion",
    }  # fmt: skip
    assert got[100, 1][1] == f"c:104:{GENOME[103]}><DEL> is symbolic"
    assert got[150, 1][1] == "c:152 is * without its deletion"
    assert f"c:50:{GENOME[49:53]}>{GENOME[49]} and {name_of(52)}" in [d for _, d in got.values()]
    table = found.table().query("output == '0'")
    assert dict(zip(table["pos"], table["n_alleles"], strict=True)) == {200: 3, 206: 3}
    check_by_hand(
        found.table().query("pos == 206"), 206, {200: (GENOME[199:203], GENOME[199]), 206: base(206)}
    )


def test_edits_that_share_bases_are_found() -> None:
    """Against the bases that each edit takes, by enumeration; insertions take the place between two."""

    def taken(edit: Edit) -> set[float]:
        if not edit.ref:
            return {edit.position - 0.5}
        n = len(edit.ref)
        return {edit.position + i for i in range(n)} | {edit.position + i + 0.5 for i in range(n - 1)}

    edits = [Edit(p, "A" * n, "C" * m) for p in range(4) for n in range(3) for m in (0, 1) if n or m]
    for a, b in itertools.product(edits, repeat=2):
        assert (overlapping([a, b]) == (0, 1)) == bool(taken(a) & taken(b)), (a, b)
    assert overlapping([Edit(9, "A", ""), Edit(1, "AC", ""), Edit(2, "C", "G")]) == (1, 2)


def test_haplotypes_of_random_genotypes_by_enumeration(tmp_path: Path) -> None:
    """Which ALTs lie on a copy, for all records within the window; contigs end the window."""
    random = np.random.default_rng(2)
    positions = [("c", p) for p in sorted(random.choice(np.arange(1, 300), 60, replace=False))]
    positions += [("d", p) for p in sorted(random.choice(np.arange(1, 300), 60, replace=False))]
    lines = []
    for contig, pos in positions:
        genotypes = " ".join("|".join(map(str, random.integers(0, 2, 2))) for _ in range(3))
        lines.append(f"{contig} {pos} . {GENOME[pos - 1]} {OTHER[GENOME[pos - 1]]} . . . GT {genotypes}")
    vcf = write(tmp_path, lines, n_samples=3)
    before, after = 10, 11
    with VcfReader(vcf) as reader:
        found = list(Haplotypes(reader.header.samples, before, after, "x").of(reader))
    assert [(r.contig, r.pos) for r in found] == positions
    for record in found:
        carried = {c: h for h in record.haplotypes for c in map(str, h.carriers)}
        for sample, copy in itertools.product(range(3), range(2)):
            expected = [
                int(pos)
                for (contig, pos), line in zip(positions, lines, strict=True)
                if contig == record.contig and -before <= pos - record.pos < after
                and line.split()[9 + sample].split("|")[copy] == "1"
            ]  # fmt: skip
            haplotype = carried.get(f"s{sample + 1}:{copy + 1}")
            assert (haplotype is not None) == (record.pos in expected)
            if haplotype is not None:
                assert [r.pos for r, _ in haplotype.alleles] == expected
        assert record.n_reference + len(carried) == 6


def many(tmp_path: Path) -> Path:
    random = np.random.default_rng(4)
    drawn = ["|".join(map(str, random.integers(0, 2, 2))) for _ in range(160)]
    lines = [snv(20 + 3 * i, " ".join(drawn[2 * i : 2 * i + 2])) for i in range(80)]
    return write(tmp_path, lines, n_samples=2)


def test_shards_and_a_region_give_the_same(
    fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kipoi_mcdropout.runs.merge import sharded_run
    from kipoi_mcdropout.vcf.run import merge_variants

    monkeypatch.setattr("kipoi_mcdropout.vcf.score.chunk_alleles", lambda *_: 20)
    vcf = many(tmp_path)
    whole = score(vcf, fasta, output=tmp_path / "whole.parquet").table()
    out = tmp_path / "out.parquet"
    for i in (1, 2):
        score(vcf, fasta, output=out, running=RunOptions(shard=Shard(i, 2)))
    ledger = merge_variants(sharded_run(tmp_path / "out.parquet.shards"))
    pd.testing.assert_frame_equal(pd.read_parquet(out), pd.read_parquet(tmp_path / "whole.parquet"))
    assert "80 records, 2 samples, 320 copies = " in ledger.summary()
    part = score(vcf, fasta, VariantOptions(phased=True, region="c:100-120")).table()
    expected = whole[whole["pos"].between(100, 120)].reset_index(drop=True)
    assert len(expected)
    pd.testing.assert_frame_equal(part, expected, atol=1e-6)


def test_haplotypes_are_not_taken_for_alleles(fasta: Path, tmp_path: Path) -> None:
    """By Mendelian randomization and by the comparison with measured effects."""
    from kipoi_mcdropout.mr import instruments_from_table
    from kipoi_mcdropout.significance.matched_effects import pair

    table = score(write(tmp_path, [snv(50, "0|1"), snv(54, "0|1")]), fasta).table()
    with pytest.raises(InputError, match="randomization needs effects of single alleles; 6 of 6 rows"):
        instruments_from_table(table, "0", "1")
    measured = pd.DataFrame({"variant": [name_of(50)], "effect": [0.1]})
    with pytest.raises(InputError, match="measured effects needs effects of single alleles"):
        pair(measured, table, "0")


def test_what_phased_needs_is_said(fasta: Path, tmp_path: Path) -> None:
    ready = write(tmp_path, [snv(50, "0|1")])
    with pytest.raises(OutputError, match="an annotated VCF has a place for alleles only"):
        score(ready, fasta, output=tmp_path / "o.vcf")
    with pytest.raises(InputError, match="cannot be used with normalize"):
        score(ready, fasta, VariantOptions(phased=True, normalize=True))
    bare = write_vcf(tmp_path / "bare.vcf", [f"c 50 . {' '.join(base(50))} . . ."], {"c": 300})
    with pytest.raises(InputError, match=r"bare.vcf has no samples"):
        score(bare, fasta)
    names = [name_of(50)]
    with pytest.raises(InputError, match="needs a VCF with the genotypes of samples"):
        score(names, fasta)  # type: ignore[arg-type]
    for records, why in (
        ([snv(50, "0|1"), snv(40, "0|1")], "line 6: phased .* sorted by contig and position; got c:40"),
        ([snv(50, "0|2")], r"line 5: GT must be numbers of alleles from 0 to 1 .* got '0\|2'"),
        ([snv(50, "0|x")], "line 5: GT must be"),
        ([snv(50, "0|1:1", "GT:PSL")], "line 5: phase sets must be given as PS"),
        ([snv(50, "0|1"), snv(40, "0|1").replace("c", "d", 1), snv(60, "0|1")], "got c:60 too late"),
    ):
        with pytest.raises(InputError, match=why):
            score(write(tmp_path, records, name="bad.vcf"), fasta)
