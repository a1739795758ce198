"""From an ISM result to estimates, exports and calibration, by the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from toy import make_toy

from kipoi_mcdropout.cli import cli_main, interpret_ism
from kipoi_mcdropout.files.read import read_draws, read_effects, read_provenance
from kipoi_mcdropout.files.read_tables import read_table
from kipoi_mcdropout.mr import instruments_from_table, mr_estimate


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mr")
    toy = make_toy(folder / "toy")
    words = [str(toy.model), "--source", "dir", "--dataloader_args", json.dumps(toy.dataloader_args)]
    words += ["--model_input", "seq", "--n_draws", "12", "-s", "diff", "deepsea_effect", "--keep_draws"]
    interpret_ism("ism", [*words, "-o", str(folder / "r.h5"), str(folder / "r.parquet")])
    return folder / "r.h5"


def test_mr_of_a_result_is_mr_of_its_table_and_draws(result: Path, tmp_path: Path) -> None:
    words = ["mr", str(result), "--exposure", "FOXA2", "--score", "diff", "--n_bootstrap", "50"]
    words += ["-o", str(tmp_path / "mr.tsv"), "--leave_one_out", str(tmp_path / "loo.tsv")]
    words += ["--across_sequences", str(tmp_path / "meta.tsv"), "--outcome", "DNase", "FOXA1"]
    cli_main("mcdropout", words)
    table = pd.read_table(tmp_path / "mr.tsv", skiprows=1)
    assert set(table.outcome) == {"DNase", "FOXA1"}
    assert table.q_value.notna().any()

    rows = read_effects(result, ["FOXA2", "DNase"], "diff")
    rows["sequence"] = rows["name"]
    draws = read_draws(result, ["FOXA2", "DNase"], "diff")
    instruments = instruments_from_table(rows, "FOXA2", "DNase", draws=draws, score="diff")
    for method in ("ivw_bootstrap_draws", "egger", "ivw"):
        expected = mr_estimate(instruments, method, n_bootstrap=50)
        row = table[(table.method == method) & (table.outcome == "DNase")].iloc[0]
        assert row.estimate == pytest.approx(expected.estimate, rel=1e-9)
        assert row.se == pytest.approx(expected.se, rel=1e-9)
    loo = pd.read_table(tmp_path / "loo.tsv", skiprows=1)
    assert len(loo) == 2 * (instruments.n_kept + 1)
    meta = pd.read_table(tmp_path / "meta.tsv", skiprows=1)
    assert list(meta.sequence[:4]) == ["region0", "region1", "region2", "(combined)"]


def test_export_writes_what_the_r_packages_read(result: Path, tmp_path: Path) -> None:
    words = ["export_mr", str(result), "--exposure", "FOXA2", "--outcome", "DNase", "--score", "diff"]
    cli_main("mcdropout", [*words, "--top_n", "9", "-o", str(tmp_path / "out")])
    table = pd.read_table(tmp_path / "out" / "twosamplemr.tsv")
    assert table.mr_keep.sum() == 9
    assert {"SNP", "beta.exposure", "se.outcome", "effect_allele.exposure"} <= set(table)
    assert "TwoSampleMR" in (tmp_path / "out" / "README.txt").read_text()


def test_every_command_takes_the_mutants_of_one_file(
    result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = ["--exposure", "FOXA2", "--outcome", "DNase", "--score", "diff"]
    chosen, exported = tmp_path / "instruments.tsv", tmp_path / "out"
    words = ["mr", str(result), *pair, "--top_n", "20", "--n_bootstrap", "50"]
    cli_main("mcdropout", [*words, "-o", str(tmp_path / "mr.tsv"), "--save_instruments", str(chosen)])
    table = pd.read_table(tmp_path / "mr.tsv", skiprows=1)
    said = capsys.readouterr().err
    assert f"answer: FOXA2 -> DNase: {table['advice'][0]}" in said
    assert table["advice"].nunique() == table["answer"].nunique() == 1
    record = json.loads((tmp_path / "mr.tsv").read_text().splitlines()[0][2:])["kipoi_mcdropout"]
    assert record["advice"] == [["FOXA2", "DNase", table["advice"][0]]]
    mutants = read_table(chosen)
    kept = mutants["SNP"][mutants["mr_keep"].astype(str).str.upper() == "TRUE"]
    assert len(kept) == 20
    from_file = [str(result), *pair, "--instruments", str(chosen)]
    cli_main("mcdropout", ["export_mr", *from_file, "-o", str(exported)])
    assert set(pd.read_table(exported / "mr_input.tsv")["snps"]) == set(kept)
    again = ["mr", *from_file, "--n_bootstrap", "50", "-o", str(tmp_path / "again.tsv")]
    cli_main("mcdropout", again)
    pd.testing.assert_frame_equal(
        pd.read_table(tmp_path / "again.tsv", skiprows=1).drop(columns="warnings"),
        table.drop(columns="warnings"),
    )
    for more, message in (
        (["--top_n", "3"], "leave out --top_n, or --instruments"),
        (["--outcome", "FOXA1"], "has no instruments of FOXA2 -> FOXA1"),
        (["--instruments", str(tmp_path / "mr.tsv")], "is no table of instruments"),
    ):
        with pytest.raises(SystemExit) as stop:
            cli_main("mcdropout", ["export_mr", *from_file, *more, "-o", str(tmp_path / "no")])
        assert stop.value.code == 2
        assert message in capsys.readouterr().err.splitlines()[-1]


def test_the_direct_effect_beside_another_exposure(
    result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["mr", str(result), "--exposure", "FOXA2", "--outcome", "DNase", "--score", "diff"]
    words += ["--n_bootstrap", "20", "-o", str(tmp_path / "mr.tsv")]
    direct = tmp_path / "direct.tsv"
    cli_main("mcdropout", [*words, "--beside", "FOXA1", "--multivariable", str(direct)])
    table = pd.read_table(direct, skiprows=1)
    assert table["exposure"].tolist() == ["FOXA2", "FOXA1"] * 2
    assert table["method"].tolist() == ["mv_ivw"] * 2 + ["mv_egger"] * 2
    rows = read_effects(result, ["FOXA2", "FOXA1", "DNase"], "diff")
    x1, x2, y = (rows[rows["output"] == o].reset_index(drop=True) for o in ("FOXA2", "FOXA1", "DNase"))
    used = (x1["effect_sd"] > 1e-6) & (y["effect_sd"] > 1e-6)
    sd = y["effect_sd"][used].to_numpy()
    design = np.column_stack([x1["effect_mean"], x2["effect_mean"]])[used] / sd[:, None]
    expected = np.linalg.lstsq(design, y["effect_mean"][used] / sd, rcond=None)[0]
    np.testing.assert_allclose(table["estimate"][:2], expected, rtol=1e-4)
    with pytest.raises(SystemExit):
        cli_main("mcdropout", [*words, "--overwrite", "--beside", "FOXA1"])
    assert "need each other" in capsys.readouterr().err.splitlines()[-1]


BAD = {
    "same": (["--outcome", "FOXA2"], "must differ"),
    "unknown output": (["--outcome", "CTCF"], "names none of the model's 3 outputs"),
    "no sign": (["--outcome", "DNase", "--score", "deepsea_effect"], "sign"),
    "several scores": (["--outcome", "DNase"], "--score must be one of"),
    "nothing left": (["--outcome", "DNase", "--score", "diff", "--min_z", "1e9"], "left"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_explained(
    case: str, result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, message = BAD[case]
    command = ["mr", str(result), "--exposure", "FOXA2", "-o", str(tmp_path / "a.tsv")]
    with pytest.raises(SystemExit) as stop:
        cli_main("mcdropout", [*command, *words])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_calibrate_recovers_an_sd_that_is_half_too_small(
    result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = read_effects(result.with_suffix(".parquet"), ["DNase"], "diff")
    random = np.random.default_rng(0)
    variant = rows.chrom + ":" + rows.pos.astype(str) + ":" + rows.ref + ":" + rows.alt
    effect = rows.effect_mean + 2 * rows.effect_sd * random.normal(size=len(rows))
    measured = pd.DataFrame({"variant": variant, "effect": effect, "se": 0.0})
    measured.to_csv(tmp_path / "measured.tsv", sep="\t", index=False)
    words = ["calibrate", str(result), str(tmp_path / "measured.tsv"), "--target", "DNase"]
    words += ["--score", "diff", "-o", str(tmp_path / "c.tsv"), "--scaled", str(tmp_path / "s.tsv")]
    cli_main("mcdropout", words)
    coverage = read_table(tmp_path / "c.tsv").set_index("level")
    assert (coverage["n"] == len(rows)).all()
    assert (coverage["align"] == "none").all()
    assert {"lambda", "sd_scale", "slope", "intercept", "correlation"} <= set(coverage)
    record = read_provenance(tmp_path / "c.tsv")
    assert record["calibration"]["n"] == len(rows)
    assert record["seed"] == 0
    assert coverage.loc[0.95, "observed"] < 0.8
    assert coverage.loc[0.95, "scaled"] == pytest.approx(0.95, abs=0.06)
    scaled = pd.read_table(tmp_path / "s.tsv", skiprows=1)
    first = (tmp_path / "s.tsv").read_text().splitlines()[0]
    sd_scale = json.loads(first[2:])["kipoi_mcdropout"]["calibration"]["sd_scale"]
    assert sd_scale == pytest.approx(2, rel=0.25)
    np.testing.assert_allclose(scaled.effect_sd, rows.effect_sd * sd_scale, rtol=1e-5)
    assert (scaled.position == rows.position).all()
    assert scaled.position.max() < 24
    assert (scaled.pos == rows.pos).all()
    assert scaled.pos.max() > 24
    assert "lambda" in capsys.readouterr().err


def test_a_line_that_hides_everything_is_warned_of_by_name(
    result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = read_effects(result, ["DNase"], "diff")
    variant = rows.chrom + ":" + rows.pos.astype(str) + ":" + rows.ref + ":" + rows.alt
    measured = pd.DataFrame({"variant": variant, "effect": -rows.effect_mean})
    measured.to_csv(tmp_path / "measured.tsv", sep="\t", index=False)
    words = ["calibrate", str(result), str(tmp_path / "measured.tsv"), "--target", "2"]
    words += ["--score", "diff", "--align", "linear"]
    cli_main("mcdropout", [*words, "-o", str(tmp_path / "c.tsv")])
    said = capsys.readouterr().err
    assert "warning: negative_correlation: " in said
    assert "correlation of measured and predicted effects -1 " in said
    assert "+ -1 * predicted" in said
    table = read_table(tmp_path / "c.tsv")
    assert (table["slope"] < 0).all()
    assert "negative_correlation" in table["cautions"][0]
    assert (table["observed"] == 1).all()


@pytest.mark.parametrize("field", ["0,35", "n.d.", "<0.01"])
def test_a_measured_effect_that_is_no_number_is_named_with_its_line(
    field: str, result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.tsv").write_text(f"variant\teffect\na\t1\nb\t{field}\n")
    words = ["calibrate", str(result), str(tmp_path / "m.tsv"), "--target", "DNase", "--score", "diff"]
    with pytest.raises(SystemExit) as stop:
        cli_main("mcdropout", [*words, "-o", str(tmp_path / "c.tsv")])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"line 3: {field!r}" in line
    assert not (tmp_path / "c.tsv").exists()


def test_a_factor_found_elsewhere_is_applied_to_the_sd(
    result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = read_effects(result, ["DNase"], "diff")
    words = ["calibrate", str(result), "--target", "DNase", "--score", "diff"]
    cli_main("mcdropout", [*words, "--sd_scale", "1.5", "--scaled", str(tmp_path / "s.tsv")])
    scaled = pd.read_table(tmp_path / "s.tsv", skiprows=1)
    np.testing.assert_allclose(scaled.effect_sd, rows.effect_sd * 1.5, rtol=1e-5)
    first = (tmp_path / "s.tsv").read_text().splitlines()[0]
    assert json.loads(first[2:])["kipoi_mcdropout"]["calibration"] == {"sd_scale": 1.5}
    for more, message in (
        ([], "give a table of measured effects"),
        (["--sd_scale", "2"], "give --scaled FILE too"),
        (["--sd_scale", "-1", "--scaled", str(tmp_path / "x.tsv")], "must be positive"),
        (["--sd_scale", "2", "--scaled", "-", "-o", "-"], "and the table of measured effects"),
    ):
        with pytest.raises(SystemExit) as stop:
            cli_main("mcdropout", [*words, *more])
        assert stop.value.code == 2
        assert message in capsys.readouterr().err
