"""End to end on the example: ISM, instruments, and an estimate of the slope that was planted."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from paths import ROOT

from kipoi_mcdropout.cli import cli_main

EXAMPLE = ROOT / "example"
SLOPE = json.loads((EXAMPLE / "data" / "truth.json").read_text())["slope_FOXA2_to_DNase"]


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("example")
    path = folder / "ism.h5"
    data = {"fasta_file": "genome.fa", "intervals_file": "regions.bed"}
    data = {name: str(EXAMPLE / "data" / file) for name, file in data.items()}
    words = ["ism", str(EXAMPLE / "model"), "--source", "dir", "--dataloader_args", json.dumps(data)]
    words += ["--model_input", "seq", "--scores", "logit", "--target", "FOXA2", "DNase"]
    cli_main("mcdropout", [*words, "--n_draws", "12", "--keep_draws", "-o", str(path)])
    return path


def _estimate(result: Path, folder: Path, *words: str) -> pd.DataFrame:
    command = ["mr", str(result), "--exposure", "FOXA2", "--outcome", "DNase", "--n_bootstrap", "200"]
    cli_main("mcdropout", [*command, *words, "-o", str(folder / "mr.tsv"), "--overwrite"])
    return pd.read_table(folder / "mr.tsv", skiprows=1).set_index("method")


def test_robust_methods_find_the_planted_slope(
    result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = _estimate(result, tmp_path, "--min_z", "2", "--one_per_position")
    assert table.n_instruments.iloc[0] > 100
    assert SLOPE == 0.7
    assert table.loc["weighted_median", "estimate"] == pytest.approx(SLOPE, abs=0.06)
    assert table.loc["weighted_mode", "estimate"] == pytest.approx(SLOPE, abs=0.06)
    # HNF4A acts on both outputs: what trusts every instrument is pulled up, and the user is told.
    assert table.loc["ivw", "estimate"] > SLOPE + 0.05
    assert "scatter_beyond_draws" in table.warnings.iloc[0]
    assert "warning: FOXA2 -> DNase: scatter_beyond_draws" in capsys.readouterr().err


def test_selection_on_half_of_the_draws_is_recorded_and_agrees(result: Path, tmp_path: Path) -> None:
    whole = _estimate(result, tmp_path, "--min_z", "2", "--one_per_position")
    half = _estimate(result, tmp_path, "--min_z", "2", "--one_per_position", "--select_draws", "half")
    assert half.n_draws.iloc[0] == 6
    assert "unsplit_selection" in whole.warnings.iloc[0]
    assert "unsplit_selection" not in half.warnings.iloc[0]
    assert half.loc["weighted_median", "estimate"] == pytest.approx(SLOPE, abs=0.08)
