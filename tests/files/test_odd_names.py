"""Labels, contigs and names of sequences that look like something else come back as they were."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from toy import LENGTH, ToyNet, make_toy

from kipoi_mcdropout.cli import cli_main, interpret_ism
from kipoi_mcdropout.files.read import read_effects
from kipoi_mcdropout.files.read_tables import read_table

# Those of the first line look like numbers, missing values or truth values; the others have what text
# tables are made of.
LABELS = [
    "NA", "DNase", "007", "1.0", "nan", "True", "",
    'say "so"', "a tab\there", "two\nlines", "return\r", "#1", " space ", "<b>&amp;", "=1+1", "'",
    "Ärger", "a/b", "a_b", "..",
]  # fmt: skip
SUFFIXES = ("h5", "tsv", "tsv.gz", "parquet")
# The contig is called 1; two windows are the same, with the same name, and a third overlaps them.
WINDOWS = ["1\t0\t24\tNA", "1\t0\t24\tNA", "1\t10\t34\t01"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd")
    toy = make_toy(folder / "toy")
    for name, old, new in (
        ("model.py", "6 * 24, 3", f"6 * 24, {len(LABELS)}"),
        ("model.yaml", "[FOXA1, FOXA2, DNase]", json.dumps(LABELS, ensure_ascii=False)),
        ("model.yaml", "shape: (3,)", f"shape: ({len(LABELS)},)"),
    ):
        path = toy.model / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = ToyNet()
        net.dense = nn.Linear(6 * LENGTH, len(LABELS))
    torch.save(net.state_dict(), toy.model / "weights.pt")
    toy.fasta.write_text(toy.fasta.read_text().replace(">chr1", ">1"))
    toy.bed.write_text("\n".join(WINDOWS) + "\n")
    words = [str(toy.model), "--source", "dir", "--dataloader_args", json.dumps(toy.dataloader_args)]
    words += ["--model_input", "seq", "--n_draws", "4", "--keep_draws", "-o"]
    interpret_ism("ism", [*words, *(str(folder / f"r.{suffix}") for suffix in SUFFIXES)])
    return folder


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_gives_the_same_texts_and_types(folder: Path, suffix: str) -> None:
    table = read_effects(folder / f"r.{suffix}")
    assert list(dict.fromkeys(table["output"])) == LABELS
    assert set(table["chrom"]) == {"1"}
    assert list(dict.fromkeys(table["name"])) == ["NA", "01"]
    keys = ["sequence", "position", "alt", "output"]
    expected = read_effects(folder / "r.parquet")
    pd.testing.assert_frame_equal(
        table.sort_values(keys, ignore_index=True)[list(expected)],
        expected.sort_values(keys, ignore_index=True),
        check_exact=True,
    )


def test_other_readers_of_csv_get_the_texts_back(folder: Path) -> None:
    n = len(read_effects(folder / "r.parquet"))
    with (folder / "r.tsv").open(newline="") as text:
        next(text)
        rows = list(csv.DictReader(text, delimiter="\t"))
    assert len(rows) == n
    assert [row["output"] for row in rows[: len(LABELS)]] == LABELS
    frame = pd.read_table(folder / "r.tsv", skiprows=1, dtype=str, keep_default_na=False)
    assert frame["output"][: len(LABELS)].tolist() == LABELS
    commented = pd.read_table(folder / "r.tsv", comment="#", dtype=str, keep_default_na=False)
    assert commented["output"][: len(LABELS)].tolist() == LABELS


def test_r_gets_the_texts_back(folder: Path) -> None:
    program = shutil.which("Rscript")
    if program is None:
        pytest.skip("no Rscript on this machine (Debian: r-base-core)")
    lines = """
      texts <- c("name", "chrom", "strand", "ref", "alt", "output", "score")
      d <- read.delim("r.tsv", skip = 1, na.strings = "",
                      colClasses = setNames(rep("character", length(texts)), texts))
      stopifnot(is.numeric(d$effect_mean), is.character(d$chrom), identical(d$name[1], "NA"))
      for (label in d$output[seq_len(20)]) cat(if (is.na(label)) "" else label, "\\x1e", sep = "")
    """
    done = subprocess.run([program, "--vanilla", "-e", lines], cwd=folder, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    found = done.stdout.decode().split("\x1e")[:-1]
    assert found == [label.replace("\r", "\n") for label in LABELS]  # R makes line ends one kind


@pytest.mark.parametrize("command", ["mr", "export_mr"])
def test_mr_of_every_format_is_the_same(folder: Path, tmp_path: Path, command: str) -> None:
    """Sequences share the name NA, outputs are called 007 and 1.0, and windows overlap."""
    tables = {}
    for suffix in SUFFIXES:
        words = [command, str(folder / f"r.{suffix}"), "--exposure", "007", "--outcome", "1.0", "NA"]
        output = tmp_path / (f"{suffix}.tsv" if command == "mr" else suffix)
        if command == "mr":
            words += ["--n_bootstrap", "5", "--methods", "ivw", "egger"]
        cli_main("mcdropout", [*words, "-o", str(output)])
        path = output if command == "mr" else output / "1.0" / "twosamplemr.tsv"
        tables[suffix] = read_table(path)
    first = tables["parquet"]
    for table in tables.values():
        pd.testing.assert_frame_equal(table, first, rtol=1e-6)
    if command == "mr":
        assert set(first["exposure"]) == {"007"}
        assert set(first["outcome"]) == {"1.0", "NA"}
        assert (first["n_instruments"] == 3 * 34).all(), "each base of 34 once, in one of the windows"
    else:
        assert set(first["sequence"]) == {"NA (0)", "NA (1)", "01"}
        repeated = first["reason"] == "same_mutant_in_another_window"
        assert repeated.sum() == 3 * (24 + 14)
        names = first["SNP"][~repeated].str.split(":", expand=True)
        assert sorted(names[1].astype(int).unique()) == list(range(1, 35))
        assert (first["exposure"] == "007").all()
        assert (first["outcome"] == "1.0").all()


def test_each_outcome_has_its_folder_in_the_one_asked_for(folder: Path, tmp_path: Path) -> None:
    outcomes = ["a/b", "a_b", "..", "a tab\there", " space "]
    words = ["export_mr", str(folder / "r.parquet"), "--exposure", "DNase", "--outcome", *outcomes]
    cli_main("mcdropout", [*words, "--top_n", "5", "-o", str(tmp_path / "out")])
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    places = list((tmp_path / "out").iterdir())
    records = [json.loads((place / "provenance.json").read_text()) for place in places]
    assert {record["outcome"] for record in records} == set(outcomes)
    assert {place.name for place in places} >= {"a%2Fb", "a_b", "%2E."}


def test_calibrate_matches_names_of_a_contig_that_is_a_number(folder: Path, tmp_path: Path) -> None:
    rows = read_effects(folder / "r.tsv", ["007"])
    rows = rows[rows["sequence"] == 0]
    variant = "1:" + rows["pos"].astype(str) + ":" + rows["ref"] + ":" + rows["alt"]
    noise = np.random.default_rng(0).normal(size=len(rows))
    effect = rows["effect_mean"] + rows["effect_sd"] * noise
    measured = pd.DataFrame({"variant": variant, "effect": effect})
    measured.to_csv(tmp_path / "m.tsv", sep="\t", index=False)
    words = ["calibrate", str(folder / "r.tsv"), str(tmp_path / "m.tsv"), "--target", "007"]
    cli_main("mcdropout", [*words, "-o", str(tmp_path / "c.tsv")])
    assert (read_table(tmp_path / "c.tsv")["n"] == 72).all()
