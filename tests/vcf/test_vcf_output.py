"""The annotated VCF, the ledger, and the files that a run leaves."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from variant_call import score_variants
from variant_world import (
    LENGTH,
    bcftools,
    body,
    info,
    random_sequence,
    tiny_net,
    without_added,
    write_fasta,
    write_vcf,
)

from kipoi_mcdropout.effects.columns import BACKGROUND_STATISTICS
from kipoi_mcdropout.errors import InputError, McDropoutError, OutputError
from kipoi_mcdropout.vcf.read.alleles import REASONS
from kipoi_mcdropout.vcf.read.header import quoted, unquoted
from kipoi_mcdropout.vcf.score import VariantRun
from kipoi_mcdropout.vcf.write.annotate import VCF_STATISTICS, info_fields
from kipoi_mcdropout.vcf.write.ledger import SkippedAllelesError

# The records are chosen to have something wrong; test_vcf_survey.py has the warnings.
pytestmark = pytest.mark.filterwarnings("ignore::kipoi_mcdropout.errors.InputWarning")

SEQUENCE = random_sequence(120, 21) + "R" + random_sequence(79, 22)
CONTIGS = {"c": 200, "7": 60, "lost": 100, "wrong": 61}
HEADER = [
    '##INFO=<ID=AF,Number=A,Type=Float,Description="frequency">',
    '##INFO=<ID=DB,Number=0,Type=Flag,Description="flag">',
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="genotype">',
    '##FILTER=<ID=q10,Description="low">',
    '##ALT=<ID=DEL,Description="deletion">',
]


def base(pos: int, n: int = 1) -> str:
    return SEQUENCE[pos - 1 : pos - 1 + n]


def other(b: str) -> str:
    return "ACGT"[("ACGT".index(b) + 1) % 4]


B = base(60)
# Record (without samples) -> what becomes of its alleles. Unsorted, with a record given twice.
CASES: list[tuple[str, list[str]]] = [
    (f"c 60 rs1 {B} {other(B)} 1e2 PASS AF=0.1;DB", ["snv"]),
    (f"c 60 rs1 {B} {other(B)} 1e2 PASS AF=0.1;DB", ["snv"]),
    (f"c 60 . {B.lower()} {other(B).lower()} . . AF=0.10000000149011612", ["snv"]),
    (f"c 40 . {base(40)} {other(base(40))},{base(40)}TT,*,<DEL>,N . q10 .",
     ["snv", "insertion", "overlapping_deletion", "symbolic", "ambiguous_base"]),
    (f"c 50 . {other(base(50))} {base(50)} . . AF=0.5;", ["ref_mismatch"]),
    (f"c 51 . {base(51)} . 3.00 . .", ["no_alt"]),
    (f"c 52 . {base(52)} {base(52)} . . DB", ["alt_is_ref"]),
    (f"c 53 . {base(53)} {base(53)}]c:99] . . .", ["breakend"]),
    (f"c 54 . {base(54)} {base(54)}{'ACGT' * 4} . . .", ["too_long"]),
    ("c 121 . A C . . .", ["ambiguous_base"]),
    ("c 121 . C A . . .", ["ref_mismatch"]),
    ("c 0 . N A . . .", ["ambiguous_base"]),
    ("c 0 . A C . . .", ["outside_contig"]),
    ("c 200 . AC A . . .", ["outside_contig"]),
    ("c 2000 . A C . . .", ["outside_contig"]),
    ("lost 5 . A C . . .", ["contig_unknown"]),
    ("undeclared 5 . A C . . .", ["contig_unknown"]),
    ("wrong 5 . A C . . .", ["contig_length"]),
    ("7 5 . A C . . .", ["snv"]),
    (f"c 3 . {base(3)} {other(base(3))} . . .", ["snv"]),
]  # fmt: skip
OF_MEMBERS = ("effect_sd_within", "effect_sd_between", "sign_agreement")
SAMPLES = ["GT 0/1 ./.", "GT:XX 0|1:a,b .:."]


@pytest.fixture
def world(tmp_path: Path) -> dict[str, Any]:
    lines = [f"{text} {SAMPLES[i % 2]}" for i, (text, _) in enumerate(CASES)]
    header = [*HEADER, '##FORMAT=<ID=XX,Number=.,Type=String,Description="x">']
    fasta = {"c": SEQUENCE.lower(), "chr7": "A" * 60, "wrong": "A" * 100}
    return {
        "vcf": write_vcf(tmp_path / "in.vcf", lines, CONTIGS, header, ["s1", "s2"]),
        "fasta": write_fasta(tmp_path / "g.fa", fasta),
        "output": tmp_path / "out.vcf.gz",
    }


def run(world: dict[str, Any], **options: Any) -> VariantRun:
    layout = {"length": LENGTH, "category_axis": 0, "targets": ["0", "2"]}
    return score_variants(tiny_net(), **world, **{"n_draws": 4, "batch_size": 4, **layout, **options})


def test_every_allele_is_scored_or_has_its_reason(world: dict[str, Any], tmp_path: Path) -> None:
    result = run(world, skipped=tmp_path / "skipped.tsv", table=tmp_path / "t.tsv")
    expected = Counter(what for _, alleles in CASES for what in alleles)
    reasons = Counter({k: n for k, n in expected.items() if k in REASONS})
    ledger = result.ledger
    assert ledger.skipped == reasons
    assert ledger.kinds == expected - reasons
    assert ledger.records == len(CASES)
    assert ledger.alleles == ledger.scored + ledger.n_skipped == expected.total()
    lines = body(world["output"])
    for line, (_, alleles) in zip(lines, CASES, strict=True):
        skipped = [what if what in REASONS else "." for what in alleles]
        assert info(line).get("MCD_SKIP", "").split(",") == (skipped if set(skipped) - {"."} else [""])
        fields = [v for k, v in info(line).items() if k.startswith("MCD_diff")]
        assert bool(fields) == (set(alleles) - set(REASONS) != set())
        for value in fields:
            assert [v == "." for v in value.split(",")] == [what in REASONS for what in alleles]
    table = pd.read_table(tmp_path / "skipped.tsv", keep_default_na=False)
    assert Counter(table.reason) == reasons
    header = world["vcf"].read_text().splitlines()
    for row in table.itertuples():
        columns = header[row.line - 1].split("\t")
        assert (columns[0], int(columns[1]), columns[4].split(",")[row.allele - 1]) == (
            row.chrom, row.pos, row.alt,
        )  # fmt: skip
    assert len(pd.read_table(tmp_path / "t.tsv", comment="#")) == 2 * ledger.scored
    assert f"{ledger.scored} scored + {ledger.n_skipped} skipped" in ledger.summary()


def test_all_else_is_byte_for_byte_what_came_in(world: dict[str, Any]) -> None:
    run(world)
    before, after = body(world["vcf"]), body(world["output"])
    # A trailing ";" of INFO is where ours begins.
    assert [without_added(line) for line in after] == [re.sub(r";\t", "\t", line) for line in before]
    import gzip

    text = gzip.decompress(world["output"].read_bytes()).decode().splitlines()
    header = [line for line in world["vcf"].read_text().splitlines() if line.startswith("#")]
    added = [line for line in text if line.startswith("#") and line not in header]
    assert [line for line in text if line.startswith("#") and line not in added] == header
    assert all(line.startswith(("##INFO=<ID=MCD_", "##kipoi_mcdropout=")) for line in added)


def test_plain_output_equals_the_compressed_one(world: dict[str, Any], tmp_path: Path) -> None:
    run(world)
    run({**world, "output": tmp_path / "plain.vcf"})
    assert body(tmp_path / "plain.vcf") == body(world["output"])


def test_bcftools_reads_indexes_and_queries_the_output(world: dict[str, Any], tmp_path: Path) -> None:
    text = world["vcf"].read_text()  # bcftools sort takes no contig that the header does not have
    world["vcf"].write_text("".join(x for x in text.splitlines(True) if not x.startswith("undeclared")))
    run(world)
    ordered = tmp_path / "sorted.vcf.gz"
    bcftools("sort", "-Oz", "-o", ordered, world["output"])
    bcftools("index", "-t", ordered)
    found = bcftools("query", "-r", "c:40-40", "-f", "%MCD_diff_0_effect_mean\t%MCD_SKIP\n", ordered)
    numbers, reasons = found.rstrip("\n").split("\t")
    assert reasons == ".,.,overlapping_deletion,symbolic,ambiguous_base"
    assert [v == "." for v in numbers.split(",")] == [False, False, True, True, True]
    bcftools("view", "-Ob", "-o", tmp_path / "x.bcf", world["output"])
    picked = bcftools("view", "-H", "-i", "MCD_diff_2_effect_sd>0", world["output"]).splitlines()
    assert len(picked) == sum(bool(set(a) - set(REASONS)) for _, a in CASES)


def test_a_sorted_output_is_indexed_as_it_is(tmp_path: Path) -> None:
    lines = [f"c {pos} . {base(pos)} {other(base(pos))} . . ." for pos in range(20, 100)]
    world = {
        "vcf": write_vcf(tmp_path / "in.vcf", lines, {"c": 200}),
        "fasta": write_fasta(tmp_path / "g.fa", {"c": SEQUENCE}),
        "output": tmp_path / "out.vcf.gz",
    }
    run(world, batch_size=8)
    bcftools("index", world["output"])
    assert bcftools("index", "-n", world["output"]).strip() == "80"
    assert len(bcftools("view", "-H", "-r", "c:30-39", world["output"]).splitlines()) == 10


def test_numbers_of_vcf_and_table_agree(world: dict[str, Any], tmp_path: Path) -> None:
    run(world, table=tmp_path / "t.parquet")
    table = pd.read_parquet(tmp_path / "t.parquet").set_index(["line", "allele", "output"])
    first = 1 + sum(line.startswith("#") for line in world["vcf"].read_text().splitlines())
    n = 0
    for number, line in enumerate(body(world["output"]), start=first):
        fields = {k: v.split(",") for k, v in info(line).items()}
        for target in ("0", "2"):
            for name in ("effect_mean", "effect_sd", "effect_point", "prob_positive", "ref_mean"):
                for allele, value in enumerate(fields.get(f"MCD_diff_{target}_{name}", []), start=1):
                    if value != ".":
                        assert float(value) == pytest.approx(
                            table.loc[(number, allele, target), name], rel=1e-6
                        )
                        n += 1
    assert n == 10 * 7


def test_each_statistic_of_the_vcf_is_that_of_the_table(world: dict[str, Any], tmp_path: Path) -> None:
    names = [name for name in VCF_STATISTICS if name not in (*OF_MEMBERS, *BACKGROUND_STATISTICS)]
    run(world, table=tmp_path / "t.parquet", vcf_statistics=names)
    table = pd.read_parquet(tmp_path / "t.parquet")
    table = table[(table["chrom"] == "7") & (table["output"] == "2")]
    (line,) = [line for line in body(world["output"]) if line.startswith("7\t")]
    found = {name: float(info(line)[f"MCD_diff_2_{name}"]) for name in names}
    assert found == pytest.approx(table[names].iloc[0].to_dict(), rel=1e-6)


def test_provenance_is_in_the_vcf_and_in_the_table(world: dict[str, Any], tmp_path: Path) -> None:
    result = run(world, seed=9, command=["x"])
    run({**world, "output": None}, seed=9, table=tmp_path / "t.tsv", command=["x"])
    import gzip

    text = gzip.decompress(world["output"].read_bytes()).decode()
    line = next(x for x in text.splitlines() if x.startswith("##kipoi_mcdropout="))
    noted = json.loads(line.split("=", 1)[1])
    assert noted == json.loads(json.dumps(result.provenance))
    first = (tmp_path / "t.tsv").read_text().splitlines()[0]
    other_run = json.loads(first.removeprefix("# "))["kipoi_mcdropout"]
    for record in (noted, other_run):
        assert (record["seed"], record["n_draws"], record["command"]) == (9, 4, ["x"])
        assert record["sites"][0]["p"] == 0.4
        assert len(record["files"]["fasta"]["sha256"]) == 64


def test_strict_raises_only_if_something_was_skipped_and_the_output_is_there(
    world: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(SkippedAllelesError, match="17 of 24"):
        run(world, strict=True)
    assert len(body(world["output"])) == len(CASES)
    clean = write_vcf(tmp_path / "clean.vcf", [CASES[0][0]], CONTIGS, HEADER)
    result = run({**world, "vcf": clean, "output": tmp_path / "clean.vcf.gz"}, strict=True)
    assert result.ledger.scored == 1


def test_edge_skip(world: dict[str, Any]) -> None:
    result = run(world, edge="skip")
    assert result.ledger.skipped["edge"] == 2  # at 7:5 and c:3
    assert result.ledger.flags["edge_padded"] == 0
    assert run(world, overwrite=True).ledger.flags["edge_padded"] == 2


def test_a_wrong_reference_can_be_an_error(world: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"line \d+ .*c:50"):
        run(world, ref_mismatch="error")
    assert not world["output"].exists()


def test_the_contig_map_is_used(world: dict[str, Any]) -> None:
    assert run(world, contig_map={"lost": "chr7", "wrong": "wrong"}).ledger.skipped["contig_length"] == 0


def test_a_vcf_without_records_gives_empty_outputs(world: dict[str, Any], tmp_path: Path) -> None:
    empty = write_vcf(tmp_path / "empty.vcf", [], CONTIGS, HEADER)
    result = run({**world, "vcf": empty}, table=tmp_path / "t.parquet", q_values=True)
    assert result.ledger.alleles == 0
    assert body(world["output"]) == []
    assert "q_value" in pd.read_parquet(tmp_path / "t.parquet").columns
    assert bcftools("view", "-H", world["output"]) == ""


def test_standard_output(world: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    run(world)
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw))
    run({**world, "output": "-"})
    lines = [line for line in raw.getvalue().decode().splitlines() if not line.startswith("#")]
    assert lines == body(world["output"])


def test_info_ids_are_legal_and_differ_whatever_the_labels() -> None:
    labels = ["A549|DNase", "A549 DNase", "8988T", 'say "x"', "é", "ä", "a,b;c=d"]
    fields = info_fields("MCD", ["diff", "logit"], labels, range(7), ["effect_mean", "z"])
    ids = [field.id for field in fields]
    assert len(set(ids)) == len(ids) == 28
    assert all(re.fullmatch(r"[A-Za-z_][0-9A-Za-z_.]*", name) for name in ids)
    assert '\\"x\\"' in fields[2 * 3].line()
    assert "A549|DNase" in fields[0].line()


LABELS = [
    "A549|DNase", 'say "x"', "tab\there", "two\nlines\r", "#1", "", "<b>&amp;</b>", "50%25, a=b; c\\",
    "nan", "=cmd()", "\u00e9\u2028", "A549|DNase",
]  # fmt: skip


def test_labels_come_back_from_a_header_that_bcftools_has_read_and_written(tmp_path: Path) -> None:
    fields = info_fields("MCD", ["diff"], LABELS, range(len(LABELS)), ["z"])
    path = write_vcf(tmp_path / "a.vcf", ["c 5 . A C . . ."], {"c": 10}, [f.line() for f in fields])
    bcftools("view", "-Ob", "-o", tmp_path / "a.bcf", path)
    header = bcftools("view", "-h", tmp_path / "a.bcf")
    found = dict(re.findall(r'##INFO=<ID=(MCD\w+),.*Output="((?:[^"\\]|\\.)*)"', header))
    assert [unquoted(found[field.id]) for field in fields] == LABELS
    assert re.findall(r'Description="((?:[^"\\]|\\.)*)",Output', header) == [
        quoted(f"Score diff, model output {label}: {VCF_STATISTICS['z']}")[1:-1] for label in LABELS
    ]


@given(st.text())
def test_any_text_comes_back_from_a_header_line(text: str) -> None:
    assert unquoted(quoted(text)) == text
    assert len(quoted(text).splitlines()) == 1


def test_ids_of_scores_and_outputs_that_would_be_the_same_differ() -> None:
    fields = info_fields("MCD", ["logit", "logit_ref"], ["ref_X", "X", "X"], range(3), ["z"])
    assert len({field.id for field in fields}) == 6


def test_many_outputs_do_not_flood_the_vcf_unasked(world: dict[str, Any], tmp_path: Path) -> None:
    from torch import nn

    wide = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(4 * LENGTH, 100), nn.Sigmoid())
    options: dict[str, Any] = {"n_draws": 2, "length": LENGTH, "category_axis": 0}
    with pytest.raises(OutputError, match="--vcf_target"):
        score_variants(wide, **world, **options)
    table = tmp_path / "t.parquet"
    score_variants(wide, **world, **options, vcf_targets=["7", "9"], table=table)
    names = {name for line in body(world["output"]) for name in info(line)}
    assert {name.split("_")[2] for name in names if name.startswith("MCD_diff")} == {"7", "9"}
    assert pd.read_parquet(table).output.nunique() == 100


def test_output_that_was_annotated_before_is_refused_unless_the_prefix_differs(
    world: dict[str, Any], tmp_path: Path
) -> None:
    run(world)
    again = {**world, "vcf": world["output"], "output": tmp_path / "again.vcf"}
    with pytest.raises(InputError, match="info_prefix"):
        run(again)
    run(again, info_prefix="NEW")
    both = body(tmp_path / "again.vcf")
    assert [without_added(line, "NEW") for line in both] == body(world["output"])


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"output": None}, "output"),
        ({"output": "out.bcf"}, "bcftools view -Ob"),
        ({"output": "out.txt"}, "must end"),
        ({"table": "t.xlsx"}, "must end"),
        ({"table": "-"}, "standard output"),
        ({"output": "no/such/out.vcf"}, "folder"),
        ({"skipped": "out.vcf", "output": "out.vcf"}, "different files"),
        ({"output": "in.vcf", "overwrite": True}, "an output never replaces an input"),
        ({"output": "there.vcf"}, "overwrite"),
        ({"info_prefix": "1x"}, "info_prefix"),
        ({"vcf_statistics": ["mean"]}, "statistics"),
        ({"vcf_targets": ["1"]}, "target"),
    ],
)
def test_outputs_that_cannot_be_are_refused_before_any_work(
    world: dict[str, Any], options: dict[str, Any], complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = world["vcf"].parent
    monkeypatch.chdir(folder)
    (folder / "there.vcf").write_text("mine")
    before = {name: (folder / name).read_bytes() for name in os.listdir(folder)}
    with pytest.raises(McDropoutError, match=complaint):
        run({**world, **options})
    assert {name: (folder / name).read_bytes() for name in os.listdir(folder)} == before


def test_an_error_in_the_middle_leaves_no_file(world: dict[str, Any]) -> None:
    with world["vcf"].open("a") as file:
        file.write("c\t5\t.\n")
    folder = world["vcf"].parent
    before = sorted(os.listdir(folder))
    with pytest.raises(InputError, match=r"in\.vcf, line \d+"):
        run(world, table=folder / "t.tsv", skipped=folder / "s.tsv")
    assert sorted(os.listdir(folder)) == before


def test_a_header_without_contigs_is_given_those_of_the_genome(tmp_path: Path) -> None:
    world = {
        "vcf": write_vcf(tmp_path / "in.vcf", [f"c 60 . {B} {other(B)} . . ."]),
        "fasta": write_fasta(tmp_path / "g.fa", {"c": SEQUENCE, "d": "AC"}),
        "output": tmp_path / "out.vcf.gz",
    }
    run(world)
    header = bcftools("view", "-h", world["output"])
    assert re.findall("##contig=.*", header) == [
        "##contig=<ID=c,length=200>", "##contig=<ID=d,length=2>",
    ]  # fmt: skip
    bcftools("view", "-Ob", "-o", tmp_path / "x.bcf", world["output"])
