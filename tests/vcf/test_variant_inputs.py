"""Variants in a table, in BED and by name are scored as those of the same VCF."""

from __future__ import annotations

import gzip
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from variant_call import score_variants
from variant_world import (
    LENGTH,
    bcftools,
    bgzip,
    body,
    info,
    random_sequence,
    tiny_net,
    write_fasta,
    write_vcf,
)

import kipoi_mcdropout as mcd
from kipoi_mcdropout import Model, RunOptions, VariantOptions
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.runs.shard import Shard
from kipoi_mcdropout.vcf.read.record import Record
from kipoi_mcdropout.vcf.read.source import as_source

GENOME = random_sequence(300, 11)
OTHER = {"A": "C", "C": "G", "G": "T", "T": "A"}


def variants() -> list[tuple[str, int, str, str]]:
    """SNVs, two ALTs, an insertion, a deletion, a wrong REF, one twice, and not in order."""
    at = [(pos, GENOME[pos - 1]) for pos in (50, 20, 77, 77, *range(150, 165))]
    rows = [("c", pos, ref, OTHER[ref]) for pos, ref in at]
    third = GENOME[98:101]
    rows.insert(5, ("c", 60, GENOME[59], ",".join(b for b in "ACGT" if b != GENOME[59])))
    rows += [("c", 99, third, third[0]), ("c", 99, third[0], third[0] + "GG")]
    wrong = OTHER[GENOME[139]]
    return [*rows, ("c", 140, wrong, OTHER[wrong])]


ROWS = variants()
TABLES = {
    "plain.tsv": "\n".join(["chrom\tpos\tref\talt", *("\t".join(map(str, r)) for r in ROWS)]) + "\n",
    "like_a_vcf.txt": "#CHROM\tPOS\tID\tREF\tALT\n"
    + "".join(f"{c}\t{p}\trs{p}\t{r}\t{a}\n" for c, p, r, a in ROWS),
    "other_names.csv": 'Position,Chromosome,note,Ref_Allele,"Alt Allele"\r\n'
    + "".join(f'{p},{c},"a, b",{r},"{a}"\r\n' for c, p, r, a in ROWS),
    "by_spaces.txt": "# a note\nCHR BP REF ALT A1\n"
    + "".join(f"{c} {p} {r} {a} {a}\n" for c, p, r, a in ROWS),
    "skipped.tsv": '# {"a": 1}\nchrom\tpos\tref\talt\treason\n'
    + "".join(f"{c}\t{p}\t{r}\t{a}\tx\n" for c, p, r, a in ROWS),
    "in.bed": "track name=x\n#chrom\tstart\tend\n"
    + "".join(f"{c}\t{p - 1}\t{p - 1 + len(r)}\t{r}\t{a}\n" for c, p, r, a in ROWS),
    "named.bed": "".join(f"{c} {p - 1} {p - 1 + len(r)} {r}>{a} 0 +\n" for c, p, r, a in ROWS),
    "names.txt": "# three ways\n"
    + "".join(
        (f"{c}:{p}:{r}>{a}", f"{c}:{p}:{r}:{a}", f"{c}-{p}-{r}-{a}")[i % 3] + "\n\n"
        for i, (c, p, r, a) in enumerate(ROWS)
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The genome, the VCF with its results, and a model."""
    folder = tmp_path_factory.mktemp("world")
    records = [f"{c} {pos} . {ref} {alt} . . ." for c, pos, ref, alt in ROWS]
    vcf = write_vcf(folder / "in.vcf", records, {"c": len(GENOME)})
    fasta = write_fasta(folder / "g.fa", {"c": GENOME})
    model = Model(tiny_net(), input_shape=(4, LENGTH))
    found = mcd.score_variants(model, vcf, fasta, n_draws=2)
    return {"fasta": fasta, "vcf": vcf, "model": model, "found": found}


def score(world: dict[str, Any], given: Any, **how: Any) -> Any:
    return mcd.score_variants(world["model"], given, world["fasta"], n_draws=2, **how)


def without_lines(found: Any) -> pd.DataFrame:
    return found.table().drop(columns=["line", "id"])


@pytest.mark.parametrize("name", TABLES)
def test_every_form_is_scored_as_the_vcf(world: dict[str, Any], tmp_path: Path, name: str) -> None:
    """Every second one is gzipped; those of one suffix are not the same in this."""
    data, packed = TABLES[name].encode(), list(TABLES).index(name) % 2
    path = tmp_path / (name + ".gz" * packed)
    path.write_bytes(gzip.compress(data) if packed else data)
    found = score(world, path)
    pd.testing.assert_frame_equal(without_lines(found), without_lines(world["found"]))
    assert found.provenance["ledger"] == world["found"].provenance["ledger"]
    assert found.provenance["ledger"]["skipped"] == {"ref_mismatch": 1}
    assert found.provenance["ledger"]["records"] == len(ROWS)
    lines = TABLES[name].splitlines()
    for row in found.table()[["line", "pos"]].drop_duplicates().itertuples():
        text = lines[row.line - 1]
        assert str(row.pos) in text or str(row.pos - 1) in text
    if name == "like_a_vcf.txt":
        assert set(found.table()["id"]) == {f"rs{pos}" for pos in found.table()["pos"]}


def test_names_themselves_are_variants(world: dict[str, Any]) -> None:
    names = [f"{c}:{p}:{r}>{a}" for c, p, r, a in ROWS]
    found = score(world, names)
    pd.testing.assert_frame_equal(without_lines(found), without_lines(world["found"]))
    assert set(found.table()["line"]) == set(range(1, len(ROWS)))
    assert found.provenance["options"]["variants"] == names
    one = score(world, names[0]).table()
    assert len(one) == 3
    np.testing.assert_allclose(one["effect_mean"], found.table()["effect_mean"][:3], atol=1e-6)


@pytest.mark.parametrize("name", ["plain.tsv", "names.txt", "by_spaces.txt"])
def test_a_pipe_gives_the_same_and_arrives_in_pieces(
    world: dict[str, Any], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    class Slow(io.RawIOBase):
        """Three bytes at a time."""

        def __init__(self, data: bytes) -> None:
            self.data = data

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            n = min(3, len(self.data), len(buffer))
            buffer[:n], self.data = self.data[:n], self.data[n:]
            return n

    stdin = io.TextIOWrapper(io.BufferedReader(Slow(TABLES[name].encode())))
    monkeypatch.setattr(sys, "stdin", stdin)
    pd.testing.assert_frame_equal(without_lines(score(world, "-")), without_lines(world["found"]))
    packed = io.TextIOWrapper(io.BufferedReader(io.BytesIO(gzip.compress(TABLES["in.bed"].encode()))))
    monkeypatch.setattr(sys, "stdin", packed)
    bed = VariantOptions(input_format="bed")
    pd.testing.assert_frame_equal(
        without_lines(score(world, "-", options=bed)), without_lines(world["found"])
    )


def test_the_annotated_vcf_of_a_table_is_a_vcf(world: dict[str, Any], tmp_path: Path) -> None:
    path, out, skipped = (tmp_path / name for name in ("in.tsv", "out.vcf.gz", "skipped.tsv"))
    path.write_text(TABLES["plain.tsv"])
    score_variants(
        tiny_net(), path, world["fasta"], out, n_draws=2, length=LENGTH, category_axis=0, skipped=skipped
    )
    lines = body(out)
    assert [tuple(line.split("\t")[:5]) for line in lines] == [
        (c, str(p), ".", r, a) for c, p, r, a in ROWS
    ]
    assert info(lines[-1])["MCD_SKIP"] == "ref_mismatch"
    assert len(info(lines[5])["MCD_diff_0_effect_mean"].split(",")) == 3
    left_out = pd.read_csv(skipped, sep="\t")
    assert left_out["line"].tolist() == [len(ROWS) + 1]
    assert bcftools("query", "-f", "%POS\n", out).split() == [str(pos) for _, pos, _, _ in ROWS]


BAD = {
    "chrom\tpos\tref\talt\nc\t20\tA\n": "line 2: 4 columns are required, as in the line of names; got 3",
    "chrom\tpos\tref\talt\nc\t20\tA\tC\nc\t20.0\tA\tC\n": "line 3: a position must be a whole number",
    "chrom\tpos\tref\talt\nc\t0\tA\tC\n": "line 2: a position must be from 1.*as BED",
    "chrom\tpos\tref\talt\nc\t20\t-\tC\n": "line 2: REF and ALT must be letters.*not - and T",
    "chrom\tpos\tref\talt\nc\t20\tA\t\n": "line 2: REF and ALT must be letters",
    "chrom\tpos\tref\talt\nc d\t20\tA\tC\n": "line 2: the name of a contig must be one word",
    'chrom,pos,ref,alt\nc,20,A,"C\n': "line 2: the quotes must be those of csv",
    "CHR\tBP\tA1\tA2\nc\t20\tA\tC\n": "line 1: a column ref is required.*A1 and A2 do not say which is",
    "chr\tpos\teffect_allele\tother_allele\nc\t2\tA\tC\n": "effect_allele and other_allele do not say",
    "chr\tstart\tend\tref\talt\nc\t2\t3\tA\tC\n": "start and end may count from 0 or from 1",
    "chr\tpos\tBP\tref\talt\nc\t2\t3\tA\tC\n": "columns pos and BP could both be pos.*--columns pos=pos",
    "chr\tpos\treferenz\talt\nc\t2\tA\tC\n": "a column ref is required; the columns are chr, pos",
    "c:20:A>G\nc:21:AG\n": "line 2: a variant must be chr1:1000:A>G",
    "c\t19\tA\tC\n": "the format is not clear",
    "\n\nchr1 19 A C\n": "the format is not clear",
}  # fmt: skip


@pytest.mark.parametrize("text", BAD)
def test_bad_lines_are_refused_with_their_number(
    world: dict[str, Any], tmp_path: Path, text: str
) -> None:
    path = tmp_path / "bad.txt"
    path.write_text(text)
    with pytest.raises(InputError, match="(?s)bad.txt.*" + BAD[text]):
        score(world, path, output=tmp_path / "out.parquet")
    assert [p.name for p in tmp_path.iterdir()] == ["bad.txt"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("c\t20\t21\tACG\tA\n", "REF ACG must be as long as the region.*20 to 21 has 1 bases"),
        ("c\t20\t20\tA\tG\n", "REF A must be as long as the region"),
        ("c\t20\t21\n", "must have chrom, start, end"),
        ("c\t20\t21\trs1\n", "the fourth column must be REF>ALT"),
        ("c\t20\t21\trs1\t0\n", "REF rs1 must be as long"),
        ("c\tx\t21\tA\tC\n", "a position must be a whole number"),
    ],
)
def test_bad_lines_of_bed(world: dict[str, Any], tmp_path: Path, line: str, why: str) -> None:
    path = tmp_path / "bad.bed"
    path.write_text("c\t19\t20\tA\tC\n" + line)
    with pytest.raises(InputError, match="bad.bed, line 2: .*" + why):
        score(world, path)


def test_columns_say_what_is_not_clear(world: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "plink.txt"
    rows = "".join(f"{c}\t{p}\t{p}\t{a}\t{r}\n" for c, p, r, a in ROWS)
    path.write_text("CHR\tBP\tstart\tA1\tA2\n" + rows)
    options = VariantOptions(columns={"ref": "A2", "alt": "A1"})
    found = score(world, path, options=options)
    pd.testing.assert_frame_equal(without_lines(found), without_lines(world["found"]))
    with pytest.raises(InputError, match="there must be one column 'A3'"):
        score(world, path, options=VariantOptions(columns={"ref": "A3", "alt": "A1"}))
    with pytest.raises(InputError, match=r"columns \(--columns\) must be of chrom"):
        score(world, path, options=VariantOptions(columns={"reference": "A2"}))
    with pytest.raises(InputError, match=r"are those of a table; the variants come as vcf"):
        score(world, world["vcf"], options=VariantOptions(columns={"ref": "A2"}, input_format="vcf"))


def test_what_is_no_source_is_refused(world: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"variant 2: a variant must be.*Give one file alone"):
        score(world, ["c:20:A>G", str(world["vcf"])])
    with pytest.raises(InputError, match=r"another file of variants; no.tsv is not there"):
        score(world, "no.tsv")
    with pytest.raises(InputError, match="got none"):
        score(world, [])
    with pytest.raises(InputError, match=r"input_format .* must be one of auto, vcf"):
        score(world, world["vcf"], options=VariantOptions(input_format="xls"))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="bed is that of a file"):
        score(world, ["c:20:A>G"], options=VariantOptions(input_format="bed"))


def test_wrong_ref_goes_the_way_of_a_vcf(world: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "in.tsv"
    path.write_text(TABLES["plain.tsv"])
    with pytest.raises(InputError, match=f"line {len(ROWS) + 1} .*: REF . at c:140 differs"):
        score(world, path, options=VariantOptions(ref_mismatch="error"))


def test_a_region_of_a_table(world: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "in.tsv"
    path.write_text(TABLES["plain.tsv"])
    found = score(world, path, options=VariantOptions(region="c:60-101"))
    assert sorted(set(found.table()["pos"])) == [60, 77, 99]
    with pytest.raises(InputError, match=r"in.tsv has no contig 'd'; it has c"):
        score(world, path, options=VariantOptions(region="d:60-101"))


def test_a_bgzipped_table_that_is_cut_off_is_refused(world: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "in.tsv.gz"
    packed = bgzip(TABLES["plain.tsv"].encode())
    path.write_bytes(packed[:-28])
    with pytest.raises(InputError, match=r"in.tsv.gz is cut off: the marker"):
        score(world, path)
    path.write_bytes(packed[:-40])
    with pytest.raises(InputError, match=r"in.tsv.gz, line"):
        score(world, path)


def test_shards_of_names_merge_to_the_whole(
    world: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kipoi_mcdropout.runs.merge import sharded_run
    from kipoi_mcdropout.vcf.run import merge_variants

    monkeypatch.setattr("kipoi_mcdropout.vcf.score.chunk_alleles", lambda *_: 2)
    names = [f"{c}:{p}:{r}>{a}" for c, p, r, a in ROWS]
    out = tmp_path / "out.parquet"
    for i in (1, 2, 3):
        score(world, names, output=out, running=RunOptions(shard=Shard(i, 3)))
    with pytest.raises(InputError, match="differ in: reference_check, variants"):
        score(
            world, names[:-1], output=out, running=RunOptions(shard=Shard(1, 3), resume=True),
        )  # fmt: skip
    merge_variants(sharded_run(tmp_path / "out.parquet.shards"))
    found = pd.read_parquet(out)
    whole = score(world, names, output=tmp_path / "whole.parquet").table()
    assert len(found) == len(world["found"].table())
    pd.testing.assert_frame_equal(found, whole, check_dtype=False)


def test_the_records_are_those_of_a_vcf() -> None:
    with as_source(["chr1:1000:a>G,T"]).open() as reader:
        (record,) = reader
    text = "chr1\t1000\t.\ta\tG,T\t.\t.\t."
    assert record == Record(1, text, "\n", "chr1", 1000, ".", "a", ("G", "T"))
    with as_source(["HLA-A*01:01-1000-A-G", "HLA-A*01:01:7:A:G"]).open() as reader:
        assert [(r.contig, r.pos) for r in reader] == [("HLA-A*01:01", 1000), ("HLA-A*01:01", 7)]
