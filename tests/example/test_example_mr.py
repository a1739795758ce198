"""End to end on the example: ISM, instruments, and an estimate of the slope that was planted."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from paths import ROOT

from kipoi_mcdropout.cli import cli_main

EXAMPLE = ROOT / "example"
RATIO_OF_HNF4A = 1.36 / 0.8  # planted: see example/README.md
SLOPE = json.loads((EXAMPLE / "data" / "truth.json").read_text())["slope_FOXA2_to_DNase"]


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("example")
    path = folder / "ism.h5"
    data = {"fasta_file": "genome.fa", "intervals_file": "regions.bed"}
    data = {name: str(EXAMPLE / "data" / file) for name, file in data.items()}
    words = ["ism", str(EXAMPLE / "model"), "--source", "dir", "--dataloader_args", json.dumps(data)]
    words += ["--model_input", "seq", "--scores", "logit"]
    words += ["--target", "FOXA2", "HNF4A", "CEBPB", "DNase"]
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


def test_the_answer_is_two_groups_with_the_planted_ratios(
    result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mutants = tmp_path / "instruments.tsv"
    words = ["--min_z", "2", "--one_per_position", "--save_instruments", str(mutants)]
    table = _estimate(result, tmp_path, *words)
    assert set(table["answer"]) == {"groups"}
    assert not table["shown"].any()
    # The intervals are those of the network, whose slope is near the planted one: 0.72 with more draws.
    assert table.loc["group_1", "estimate"] == pytest.approx(SLOPE, abs=0.04)
    lower, upper = table.loc["group_2", ["ci_lower", "ci_upper"]]
    assert lower < RATIO_OF_HNF4A < upper
    assert "answer: FOXA2 -> DNase: no single number: methods disagree: " in capsys.readouterr().err
    chosen = pd.read_table(mutants, skiprows=1, dtype={"group": str}).set_index("SNP")
    chosen = chosen[chosen["mr_keep"]]
    assert (chosen["group"] == "2").sum() == table.loc["group_2", "n_instruments"]
    # Sites that were put into the genome: their positions on chr1, 1-based.
    truth = json.loads((EXAMPLE / "data" / "truth.json").read_text())
    inside: dict[str, set[int]] = {"FOXA2": set(), "HNF4A": set()}
    for element in truth["elements"]:
        for site in element["sites"]:
            if site["factor"] in inside and element["contig"] == "chr1":
                inside[site["factor"]] |= set(range(site["start"] + 1, site["end"] + 1))
    for factor, group in (("FOXA2", "1"), ("HNF4A", "2")):
        of_site = chosen[chosen["position"].isin(inside[factor])]
        assert len(of_site) > 20
        assert (of_site["group"] == group).mean() > 0.9


def test_the_direct_effects_beside_each_other_are_the_planted_ones(
    result: Path, tmp_path: Path
) -> None:
    words = ["--min_z", "2", "--one_per_position", "--multivariable", str(tmp_path / "direct.tsv")]
    _estimate(result, tmp_path, *words, "--beside", "HNF4A", "CEBPB")
    direct = pd.read_table(tmp_path / "direct.tsv", skiprows=1)
    direct = direct[direct["method"] == "mv_ivw"].set_index("exposure")
    for exposure, planted in (("FOXA2", 0.7), ("HNF4A", 0.4), ("CEBPB", 0.4)):
        assert direct.loc[exposure, "ci_lower"] < planted < direct.loc[exposure, "ci_upper"]


def test_selection_on_half_of_the_draws_is_recorded_and_agrees(result: Path, tmp_path: Path) -> None:
    whole = _estimate(result, tmp_path, "--min_z", "2", "--one_per_position")
    half = _estimate(result, tmp_path, "--min_z", "2", "--one_per_position", "--select_draws", "half")
    assert half.n_draws.iloc[0] == 6
    assert "unsplit_selection" in whole.warnings.iloc[0]
    assert "unsplit_selection" not in half.warnings.iloc[0]
    assert half.loc["weighted_median", "estimate"] == pytest.approx(SLOPE, abs=0.08)
    # The weights come from all draws, so the halves cannot move the share of HNF4A's mutants.
    assert half.loc["ivw", "estimate"] == pytest.approx(whole.loc["ivw", "estimate"], abs=0.015)
    assert set(half["answer"]) <= {"groups", "methods_disagree"}  # six draws: no single number
    assert not half["shown"].any()
