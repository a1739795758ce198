"""Calibrated intervals in the annotated VCF and in the table of `score_variants`."""

from __future__ import annotations

import json
from pathlib import Path

import cyvcf2
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from toy import Toy, make_toy
from variant_world import write_vcf

from kipoi_mcdropout.cli import cli_main
from kipoi_mcdropout.effects.columns import INTERVAL_STATISTICS
from kipoi_mcdropout.files.read import read_effects, read_provenance
from kipoi_mcdropout.significance.add_intervals import ConformalOptions


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return make_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def folder(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VCF, its table, and a calibration of the output DNase."""
    made = tmp_path_factory.mktemp("vcf")
    name, text = next(
        (r.split()[0], "".join(r.split("\n")[1:]).upper()) for r in toy.fasta.read_text().split(">")[1:]
    )
    lines = [
        f"{name} {pos} . {ref} {','.join(base for base in 'ACGT' if base != ref)} . . ."
        for pos, ref in enumerate(text, start=1)
        if ref in "ACGT"
    ]
    lines[3] = lines[3].replace(",", ",<DEL>,", 1)
    write_vcf(made / "in.vcf", lines, {name: len(text)})
    score(toy, made, "-t", str(made / "t.parquet"))
    rows = read_effects(made / "t.parquet", ["DNase"], "diff")
    error = 2 * rows["effect_sd"] * np.random.default_rng(0).normal(size=len(rows))
    variant = rows["chrom"] + ":" + rows["pos"].astype(str) + ":" + rows["ref"] + ":" + rows["alt"]
    measured = pd.DataFrame({"variant": variant, "effect": rows["effect_mean"] + error})
    measured.to_csv(made / "measured.tsv", sep="\t", index=False)
    words = ["calibrate", str(made / "t.parquet"), str(made / "measured.tsv"), "--target", "DNase"]
    cli_main("mcdropout", [*words, "--score", "diff", "--conformal", str(made / "c.json")])
    return made


def score(toy: Toy, folder: Path, *words: str) -> None:
    files = [str(toy.model), "--source", "dir", "-i", str(folder / "in.vcf"), "-f", str(toy.fasta)]
    cli_main("mcdropout", ["score_variants", *files, "--n_draws", "6", "-s", "diff", "logit", *words])


def conformal(folder: Path) -> list[str]:
    return ["--conformal", str(folder / "c.json"), "--level", "0.9"]


@pytest.fixture(scope="module")
def added(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The table with intervals that were added afterwards."""
    path = tmp_path_factory.mktemp("added") / "i.parquet"
    cli_main("mcdropout", ["intervals", str(folder / "t.parquet"), *conformal(folder), "-o", str(path)])
    return read_effects(path)


@pytest.mark.parametrize("suffix", ["parquet", "tsv"])
def test_the_table_is_that_to_which_intervals_are_added_later(
    suffix: str, toy: Toy, folder: Path, added: pd.DataFrame, tmp_path: Path
) -> None:
    score(toy, folder, "-t", str(tmp_path / f"t.{suffix}"), *conformal(folder))
    table = read_effects(tmp_path / f"t.{suffix}")
    assert sorted(table) == sorted(added)
    pd.testing.assert_frame_equal(table[list(added)], added)
    assert table["ci_lower"].notna().sum() == len(table) // 6  # one of 3 outputs and of 2 scores
    recorded = ConformalOptions.of_record(read_provenance(tmp_path / f"t.{suffix}"))
    assert recorded is not None
    assert recorded.level == 0.9


def test_the_vcf_has_the_same_numbers_and_says_the_level(
    toy: Toy, folder: Path, added: pd.DataFrame, tmp_path: Path
) -> None:
    out = tmp_path / "o.vcf.gz"
    score(toy, folder, "-o", str(out), *conformal(folder))
    reader = cyvcf2.VCF(str(out))
    declared = {h["ID"]: h.info() for h in reader.header_iter() if h["HeaderType"] == "INFO"}
    ids = {name: f"MCD_diff_DNase_{name}" for name in INTERVAL_STATISTICS}
    assert {name for name in declared if name.endswith(INTERVAL_STATISTICS)} == set(ids.values())
    for name in ("ci_lower", "ci_upper"):
        assert "holds 0.9 of measured effects" in declared[ids[name]]["Description"]
        assert declared[ids[name]]["Number"] == "A"
        assert declared[ids[name]]["Type"] == "Float"
    rows = added[(added["output"] == "DNase") & (added["score"] == "diff")]
    by_allele = rows.set_index(["pos", "alt"])
    n = 0
    for record in reader:
        for i, alt in enumerate(record.ALT):
            for name, own in ids.items():
                values = np.atleast_1d(record.INFO[own])
                if alt == "<DEL>":
                    assert values[i] is None or np.isnan(float(values[i]))
                    continue
                assert_allclose(values[i], by_allele.loc[(record.POS, alt), name], rtol=2e-6)
                n += 1
    assert n == 3 * len(rows)


def test_the_header_names_the_calibration_without_its_tables(
    toy: Toy, folder: Path, tmp_path: Path
) -> None:
    score(toy, folder, "-o", str(tmp_path / "o.vcf"), *conformal(folder))
    (line,) = [
        line
        for line in (tmp_path / "o.vcf").read_text().splitlines()
        if line.startswith("##kipoi_mcdropout=")
    ]
    (named,) = json.loads(line.partition("=")[2])["options"]["conformal"]["calibrations"]
    assert named["output"] == "DNase"
    assert len(named["source"]["model_sha256"]) == 64
    assert "groups" not in named
    assert "sign" not in named


def test_shards_and_a_merge_give_the_same(toy: Toy, folder: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole.vcf", tmp_path / "parts.vcf"
    score(toy, folder, "-o", str(whole), "-t", f"{whole}.parquet", *conformal(folder))
    for i in (1, 2):
        words = ["-o", str(parts), "-t", f"{parts}.parquet", "--shard", f"{i}/2"]
        score(toy, folder, *words, *conformal(folder))
    cli_main("mcdropout", ["merge", f"{parts}.shards"])
    bodies = [
        [line for line in path.read_text().splitlines() if not line.startswith("##kipoi_mcdropout")]
        for path in (whole, parts)
    ]
    assert bodies[0] == bodies[1]
    tables = [read_effects(f"{path}.parquet") for path in (whole, parts)]
    pd.testing.assert_frame_equal(*tables)
    assert "ci_lower" in tables[0]


def test_an_output_that_the_vcf_does_not_carry_has_no_field(
    toy: Toy, folder: Path, tmp_path: Path
) -> None:
    words = ["-o", str(tmp_path / "o.vcf"), "-t", str(tmp_path / "t.tsv"), "--vcf_target", "FOXA2"]
    score(toy, folder, *words, *conformal(folder))
    assert "ci_lower" not in (tmp_path / "o.vcf").read_text()
    assert read_effects(tmp_path / "t.tsv", ["DNase"], "diff")["ci_lower"].notna().all()


def test_a_calibration_that_does_not_fit_is_refused(
    toy: Toy, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, message in (
        (["--rc"], "was made with rc False; the result has rc True"),
        (["--target", "FOXA1"], "does not fit: the result has the outputs FOXA1"),
    ):
        with pytest.raises(SystemExit) as stop:
            score(toy, folder, "-o", str(tmp_path / "o.vcf"), *words, *conformal(folder))
        assert stop.value.code == 2
        assert message in capsys.readouterr().err.splitlines()[-1]
        assert list(tmp_path.iterdir()) == []
