"""`kipoi mcdropout plot` from a result to files, and its refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from toy import make_toy

from kipoi_mcdropout.cli import cli_main, interpret_ism
from kipoi_mcdropout.cli.commands.plot import KINDS, get_parser
from kipoi_mcdropout.files.read import read_effects

TABLE_KINDS = ["mean_variance", "ism", "effects", "ref_alt_covariance", "convergence", "volcano"]


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plots")
    toy = make_toy(folder / "toy")
    words = [str(toy.model), "--source", "dir", "--dataloader_args", json.dumps(toy.dataloader_args)]
    words += ["--model_input", "seq", "--n_draws", "8", "-s", "diff", "logit", "deepsea_effect"]
    words += ["--keep_draws", "-o", str(folder / "r.h5"), str(folder / "r.parquet")]
    interpret_ism("ism", words)
    return folder / "r.h5"


def plot(*words: object) -> None:
    cli_main("mcdropout", ["plot", *map(str, words)])


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """The message of a command that must exit with code 2."""
    with pytest.raises(SystemExit) as stop:
        plot(*words)
    assert stop.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("kind", TABLE_KINDS)
def test_a_figure_of_each_kind_in_all_formats(kind: str, result: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"fig.{form}" for form in ("png", "svg", "pdf")]
    plot(kind, result, "--target", "FOXA2", "-o", *files, "--dpi", 80)
    for path, start in zip(files, (b"\x89PNG", b"<?xml", b"%PDF"), strict=True):
        assert path.read_bytes().startswith(start)
    again = tmp_path / "again.svg"
    plot(kind, result, "--target", "FOXA2", "-o", again, "--dpi", 80)
    assert again.read_bytes() == files[1].read_bytes()


def test_mr_and_its_outcomes(result: Path, tmp_path: Path) -> None:
    words = ["mr", result, "--exposure", "FOXA2", "--outcome", "DNase", "FOXA1", "--score", "diff"]
    plot(*words, "--top_n", 12, "--leave_out", "sequence", "-o", tmp_path / "mr.svg")
    svg = (tmp_path / "mr.svg").read_text()
    assert svg.count("<!-- MR-Egger: ") == 2  # a legend for each outcome
    assert "each sequence in turn" in svg


def test_calibration_of_measured_effects(result: Path, tmp_path: Path) -> None:
    rows = read_effects(result, ["DNase"], "diff")
    rows = rows[rows.effect_sd > 0]
    effect = rows.effect_mean + 2 * rows.effect_sd * np.random.default_rng(0).normal(size=len(rows))
    variant = rows.chrom + ":" + rows.pos.astype(str) + ":" + rows.ref + ":" + rows.alt
    table = pd.DataFrame({"variant": variant, "effect": effect, "se": 0.0})
    table.to_csv(tmp_path / "measured.tsv", sep="\t", index=False)
    words = ["calibration", result, "--target", "DNase", "--score", "diff", "-o", tmp_path / "c.svg"]
    plot(*words, "--measured", tmp_path / "measured.tsv")
    assert f"{len(rows)} variants" in (tmp_path / "c.svg").read_text()


def test_all_of_a_few_outputs_are_shown_side_by_side(result: Path, tmp_path: Path) -> None:
    plot("volcano", result, "-o", tmp_path / "v.svg", "--labels", 0)
    svg = (tmp_path / "v.svg").read_text()
    for output in ("FOXA1", "FOXA2", "DNase"):
        assert f"<!-- effect on {output} (alt − ref) -->" in svg
    plot("volcano", result.with_suffix(".parquet"), "--target", "FOXA*", "-o", tmp_path / "w.svg")
    assert "DNase" not in (tmp_path / "w.svg").read_text()


def test_the_width_asked_for_and_the_provenance(result: Path, tmp_path: Path) -> None:
    plot("effects", result, "--target", "DNase", "-o", tmp_path / "e.svg", "--width_mm", 120)
    svg = (tmp_path / "e.svg").read_text()
    assert f'width="{120 / 25.4 * 72:.6g}' in svg.replace("pt", "")
    assert "weights_sha256" in svg
    assert "kind" in svg


def test_a_table_written_anew_by_other_software_is_plotted(result: Path, tmp_path: Path) -> None:
    read_effects(result, ["DNase"], "diff").to_parquet(tmp_path / "mine.parquet")
    plot("mean_variance", tmp_path / "mine.parquet", "-o", tmp_path / "m.png")
    assert (tmp_path / "m.png").stat().st_size > 1000


BAD = {
    "unknown output": (["volcano", "--target", "CTCF"], "names none of the model's 3 outputs"),
    "unknown score": (["volcano", "--score", "ref"], "score 'ref' is not in"),
    "score without difference": (
        ["ref_alt_covariance", "--score", "deepsea_effect"],
        "--score diff or logit",
    ),
    "unknown sequence": (
        ["effects", "--target", "DNase", "--sequence", "x"],
        "has 3: region0, region1, region2",
    ),
    "several outputs": (["ism"], "one output; name one with --target: FOXA1, FOXA2, DNase"),
    "empty window": (["ism", "--target", "DNase", "--start", "90"], "contains no mutant"),
    "suffix": (["volcano", "-o", "a.jpg"], "must end in one of .png, .svg, .pdf"),
    "width": (
        ["volcano", "--width_mm", "3"],
        "--width_mm of plot volcano must lie between 60 and 1000; got 3",
    ),
    "dpi": (["volcano", "--dpi", "1"], "--dpi must lie between 30 and 2400"),
    "tolerance": (["convergence", "--target", "DNase", "--tolerance", "7"], "tolerance must lie"),
    "no kind": (["heatmap"], "invalid choice: 'heatmap'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_explained(
    case: str,
    result: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (kind, *words), message = BAD[case]
    if "-o" not in words:
        words += ["-o", "fig.png"]
    assert message in refused(capsys, kind, result, *words)
    assert list(tmp_path.iterdir()) == []


def test_what_the_file_lacks_is_named(
    result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["-o", tmp_path / "fig.png"]
    parquet = result.with_suffix(".parquet")
    assert "only HDF5 does" in refused(capsys, "convergence", parquet, "--target", "DNase", *out)
    assert "there is no result file" in refused(capsys, "volcano", tmp_path / "none.h5", *out)
    other = read_effects(result, ["DNase"], "diff").drop(columns="ref_var")
    other.to_parquet(tmp_path / "less.parquet")
    message = refused(capsys, "ref_alt_covariance", tmp_path / "less.parquet", *out)
    assert "lacks ref_var" in message
    words = ["calibration", result, "--target", "DNase", "--measured", tmp_path / "none.tsv", *out]
    assert "there is no file" in refused(capsys, *words)


def test_files_are_kept_without_overwrite(
    result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "fig.png"
    old.write_text("mine")
    words = ["volcano", result, "--target", "DNase", "-o", old]
    assert "exists; add --overwrite" in refused(capsys, *words)
    assert old.read_text() == "mine"
    plot(*words, "--overwrite")
    assert old.read_bytes().startswith(b"\x89PNG")


def test_many_outputs_must_be_chosen(
    result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = read_effects(result, ["DNase"], "diff")
    many = pd.concat([one.assign(output=f"output_{i}") for i in range(20)])
    many.to_parquet(tmp_path / "many.parquet")
    out = ["-o", tmp_path / "fig.png"]
    assert "20 outputs are too many" in refused(capsys, "volcano", tmp_path / "many.parquet", *out)
    words = ["volcano", tmp_path / "many.parquet", "--target", "output_*", *out]
    assert "name up to 12 with --target" in refused(capsys, *words)


def test_help_of_every_kind_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    parser = get_parser()
    for kind in KINDS:
        with pytest.raises(SystemExit) as stop:
            parser.parse_args([kind, "--help"])
        assert stop.value.code == 0
        assert f"kipoi mcdropout plot {kind}" in capsys.readouterr().out.split("example:")[1]
