"""`kipoi mcdropout evaluate` end to end: a result, measured effects, a table, a figure, a report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from toy import make_toy

import kipoi_mcdropout as mcd
from kipoi_mcdropout.cli import cli_main, interpret_ism
from kipoi_mcdropout.files.measured import read_measured
from kipoi_mcdropout.files.read import read_provenance
from kipoi_mcdropout.files.read_tables import read_table
from kipoi_mcdropout.reports import write_report
from kipoi_mcdropout.reports.evaluation import evaluation_table

N_SAMPLES = 200


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`r.h5` and `measured.tsv`: what DNase's effects and their sd say, with noise."""
    folder = tmp_path_factory.mktemp("evaluate")
    toy = make_toy(folder / "toy")
    words = [str(toy.model), "--source", "dir", "--dataloader_args", json.dumps(toy.dataloader_args)]
    words += ["--model_input", "seq", "--n_draws", "12", "-s", "diff", "deepsea_effect"]
    interpret_ism("ism", [*words, "-o", str(folder / "r.h5")])
    rows = mcd.read(folder / "r.h5").table("DNase", "diff")
    random = np.random.default_rng(0)
    measured = pd.DataFrame(
        {
            "variant": rows.chrom + ":" + rows.pos.astype(str) + ":" + rows.ref + ":" + rows.alt,
            "effect": rows.effect_mean + rows.effect_sd * random.normal(size=len(rows)),
            "element": rows.name + "x",
        }
    )
    measured["large"] = (measured.effect.abs() > measured.effect.abs().median()).astype(int)
    measured.to_csv(folder / "measured.tsv", sep="\t", index=False)
    return folder


def command(world: Path, *words: str) -> list[str]:
    start = ["evaluate", str(world / "r.h5"), str(world / "measured.tsv"), "--target", "DNase"]
    return [*start, "--score", "diff", "--n_bootstrap", str(N_SAMPLES), *words]


def test_the_table_is_what_python_gives(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--label", "large", "--plot", str(tmp_path / "e.png"), str(tmp_path / "e.svg")]
    cli_main("mcdropout", command(world, *words, "-o", str(tmp_path / "e.tsv")))
    told = capsys.readouterr().err
    table = read_table(tmp_path / "e.tsv")
    measured = read_measured(world / "measured.tsv", ["large"])
    options = mcd.EvaluationOptions(n_bootstrap=N_SAMPLES)
    result = mcd.evaluate(
        mcd.read(world / "r.h5"), measured, target="DNase", score="diff", label="large", options=options
    )
    np.testing.assert_allclose(table["value"], result.table["value"])
    np.testing.assert_allclose(table["lower"], result.table["lower"])
    assert set(table["target"]) == {"DNase"}
    assert set(table["score"]) == {"diff"}
    record = read_provenance(tmp_path / "e.tsv")["evaluation"]
    assert record["sentences"] == result.sentences
    assert record["options"]["n_bootstrap"] == N_SAMPLES
    for sentence in result.sentences:
        assert sentence in told
    assert len(result.sentences) == 7
    assert f"{result.n} variants in {result.n_clusters} clusters" in told
    assert "warning: few_clusters:" in told
    assert (tmp_path / "e.png").read_bytes()[1:4] == b"PNG"
    assert b"evaluation" in (tmp_path / "e.svg").read_bytes()  # the provenance


def test_a_report_has_a_section(world: Path, tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    cli_main("mcdropout", command(world, "-o", str(tmp_path / "diff.tsv")))
    words = ["report", str(world / "r.h5"), str(tmp_path / "diff.tsv"), "-o", str(tmp_path / "r.html")]
    cli_main("mcdropout", [*words, "--no_figures"])
    page = (tmp_path / "r.html").read_text()
    sentences = read_provenance(tmp_path / "diff.tsv")["evaluation"]["sentences"]
    assert "Against measured effects" in page
    assert sentences[0] in page
    assert "<code>few_clusters</code>" in page


def test_a_table_has_a_report_of_its_own(world: Path, tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    measured = read_measured(world / "measured.tsv", ["large"])
    options = mcd.EvaluationOptions(n_bootstrap=N_SAMPLES)
    effects = mcd.read(world / "r.h5")
    result = mcd.evaluate(
        effects, measured, target="DNase", score="diff", label="large", options=options
    )
    facts = write_report([_written(result.table, tmp_path)], tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "<h1><bdi>Predicted and measured effects</bdi></h1>" in page
    assert "Difference: auPRC, by |z| minus by |effect|" in page
    assert "Sign accuracy against the share of variants kept, for effects" in page
    assert "no allele or sequence was skipped" not in page  # nothing of that kind was looked at
    (one,) = facts.evaluations
    assert one.sentences == result.sentences
    assert (one.n, one.warnings) == (result.n, [])  # a bare table has no warnings
    table = evaluation_table(one)
    assert [row[0].text for row in table.rows[:3]] == [
        "Pearson's correlation", "Spearman's correlation", "Share of right signs",
    ]  # fmt: skip
    assert len(table.rows) == 3 + 4 * 2 + 1 + 4 + 3 * 3  # the curves at half, and no squared errors


def _written(table: pd.DataFrame, folder: Path) -> Path:
    table.to_csv(folder / "bare.tsv", sep="\t", index=False)
    return folder / "bare.tsv"


def test_the_clusters_of_a_column(world: Path, tmp_path: Path) -> None:
    words = [
        "--cluster",
        "element",
        "--coverage",
        "0.25",
        "--level",
        "0.8",
        "-o",
        str(tmp_path / "e.tsv"),
    ]
    cli_main("mcdropout", command(world, *words))
    record = read_provenance(tmp_path / "e.tsv")["evaluation"]
    assert record["n_clusters"] == 3
    table = read_table(tmp_path / "e.tsv")
    assert set(table["level"]) == {0.8}
    differences = table[(table["minus"] == "effect") & (table["quantity"] == "sign_accuracy")]
    assert set(differences["coverage"]) == {0.25}


BAD = {
    "no sign": (["--score", "deepsea_effect"], "has no sign"),
    "no score": (["--score", "logit"], "logit"),
    "no column": (["--label", "none"], "lacks none"),
    "no cluster": (["--cluster", "none"], "lacks none"),
    "not yes or no": (["--label", "element"], "labels must be 1 or 0"),
    "coverage": (["--coverage", "2"], "coverage must lie between 0 and 1"),
    "plot": (["--plot", "a.jpg"], "must end in one of .png"),
    "target": (["--target", "CTCF"], "names none of the model's 3 outputs"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_explained(
    case: str, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, message = BAD[case]
    with pytest.raises(SystemExit) as stop:
        cli_main("mcdropout", command(world, "-o", str(tmp_path / "e.tsv"), *words))
    assert stop.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_labels_alone_need_no_effects(world: Path, tmp_path: Path) -> None:
    measured = pd.read_table(world / "measured.tsv").drop(columns="effect")
    measured.to_csv(tmp_path / "labels.tsv", sep="\t", index=False)
    words = command(world, "--label", "large", "-o", str(tmp_path / "e.tsv"))
    words[2] = str(tmp_path / "labels.tsv")
    cli_main("mcdropout", words)
    assert set(read_table(tmp_path / "e.tsv")["quantity"]) == {"auprc", "label_share"}
    words.remove("--label")
    words.remove("large")
    with pytest.raises(SystemExit):
        cli_main("mcdropout", [*words, "--overwrite"])
