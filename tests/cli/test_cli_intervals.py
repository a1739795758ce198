"""From measured effects to intervals and shrunken effects, by the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from toy import Toy, make_toy

from kipoi_mcdropout.cli import cli_main, interpret_ism
from kipoi_mcdropout.effects.columns import INTERVAL_STATISTICS
from kipoi_mcdropout.errors import InputError, InputWarning
from kipoi_mcdropout.files.calibration import read_calibration, read_conformal
from kipoi_mcdropout.files.read import read_effects, read_provenance
from kipoi_mcdropout.significance.add_intervals import ConformalOptions, add_intervals
from kipoi_mcdropout.significance.add_shrinkage import add_shrinkage


def ism(toy: Toy, *words: str) -> None:
    data = json.dumps(toy.dataloader_args)
    fixed = [str(toy.model), "--source", "dir", "--dataloader_args", data, "--model_input", "seq"]
    interpret_ism("ism", [*fixed, "--n_draws", "8", "-s", "diff", "logit", *words])


def write_measured(result: Path, output: str, path: Path, seed: int = 0) -> pd.DataFrame:
    """Measured effects of the score diff, with errors of twice the sd."""
    rows = read_effects(result, [output], "diff")
    error = 2 * rows["effect_sd"] * np.random.default_rng(seed).normal(size=len(rows))
    variant = rows["chrom"] + ":" + rows["pos"].astype(str) + ":" + rows["ref"] + ":" + rows["alt"]
    measured = pd.DataFrame({"variant": variant, "effect": rows["effect_mean"] + error})
    measured.to_csv(path, sep="\t", index=False)
    return measured


def calibrate(result: Path, measured: Path, output: str, *words: str) -> None:
    fixed = ["calibrate", str(result), str(measured), "--target", output, "--score", "diff"]
    cli_main("mcdropout", [*fixed, *words])


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return make_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def folder(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result in three formats, measured effects, and calibrations of two outputs."""
    made = tmp_path_factory.mktemp("intervals")
    ism(toy, "-o", *(str(made / f"r.{suffix}") for suffix in ("h5", "tsv", "parquet")))
    for output in ("DNase", "FOXA2"):
        write_measured(made / "r.h5", output, made / f"{output}.tsv")
        calibrate(
            made / "r.h5", made / f"{output}.tsv", output, "--conformal", str(made / f"{output}.json")
        )
    return made


def test_the_file_says_what_it_is_of(folder: Path) -> None:
    values = json.loads((folder / "DNase.json").read_text())
    record = read_provenance(folder / "r.h5")
    assert (values["format"], values["output"], values["score"]) == (
        "kipoi_mcdropout calibration", "DNase", "diff",
    )  # fmt: skip
    assert values["source"]["model"] == record["model"]["name"]
    assert len(values["source"]["model_sha256"]) == 64
    assert values["n"] == len(read_effects(folder / "r.h5", ["DNase"], "diff"))
    assert sum(group["n"] for group in values["groups"]) == values["n"]
    assert values["made"]["result"]["seed"] == 0
    assert values["made"]["files"]["measured"]["path"].endswith("DNase.tsv")
    assert "--conformal" in values["made"]["command"]
    assert [caution[0] for caution in values["cautions"]] == ["few_sequences"]


@pytest.mark.parametrize("suffix", ["h5", "tsv", "parquet"])
@pytest.mark.parametrize("output", ["tsv", "tsv.gz", "parquet"])
def test_intervals_are_those_of_the_calibrations(
    suffix: str, output: str, folder: Path, tmp_path: Path
) -> None:
    result, path = folder / f"r.{suffix}", tmp_path / f"i.{output}"
    both = [str(folder / "DNase.json"), str(folder / "FOXA2.json")]
    words = ["intervals", str(result), "--conformal", *both, "--level", "0.8", "-o", str(path)]
    cli_main("mcdropout", words)
    before, after = read_effects(result), read_effects(path)
    assert list(after) == [*before, *INTERVAL_STATISTICS]
    pd.testing.assert_frame_equal(after[list(before)], before)
    for name in ("DNase", "FOXA2"):
        rows = ((after["output"] == name) & (after["score"] == "diff")).to_numpy()
        calibration = read_calibration(folder / f"{name}.json")
        found = calibration.intervals(before["effect_mean"][rows], before["effect_sd"][rows], 0.8)
        for column, values in zip(INTERVAL_STATISTICS, found, strict=True):
            assert after[column].dtype == np.float32
            assert_array_equal(after[column][rows], values.astype(np.float32))
    others = (after["output"] == "FOXA1") | (after["score"] == "logit")
    assert after.loc[others, list(INTERVAL_STATISTICS)].isna().all(axis=None)
    recorded = ConformalOptions.of_record(read_provenance(path))
    assert recorded is not None
    assert recorded.to_dict() == read_conformal(both, 0.8).to_dict()


def test_the_intervals_hold_the_measurements_that_they_should(folder: Path, tmp_path: Path) -> None:
    measured = write_measured(folder / "r.h5", "DNase", tmp_path / "new.tsv", seed=1)
    path = tmp_path / "i.tsv"
    words = ["intervals", str(folder / "r.h5"), "--conformal", str(folder / "DNase.json")]
    cli_main("mcdropout", [*words, "-o", str(path)])
    rows = read_effects(path, ["DNase"], "diff")
    held = measured["effect"].between(rows["ci_lower"], rows["ci_upper"])
    plain = (measured["effect"] - rows["effect_mean"]).abs() <= 1.96 * rows["effect_sd"]
    assert held.mean() > 0.89  # of 210 new measurements
    assert plain.mean() < 0.8


def test_bins_and_what_is_merged_are_told(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = read_effects(folder / "r.h5", ["DNase"], "diff")["effect_mean"].abs()
    bins = [f"{sizes.quantile(0.5):.6f}", f"{sizes.quantile(0.97):.6f}"]
    words = ["--conformal", str(tmp_path / "c.json"), "--bins", *bins]
    calibrate(folder / "r.h5", folder / "DNase.tsv", "DNase", *words)
    said = capsys.readouterr().err
    assert "merged_groups: level 0.95 needs 19 effects in each group" in said
    assert f"|effect| below {float(bins[0]):.3g}: " in said
    assert len(read_calibration(tmp_path / "c.json").groups.n) == 2


def test_shrunken_effects_are_those_of_python(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s.parquet"
    words = ["shrink", str(folder / "r.h5"), "--target", "DNase", "FOXA2", "--score", "logit"]
    cli_main("mcdropout", [*words, "-o", str(path)])
    rows = read_effects(folder / "r.h5", ["DNase", "FOXA2"], "logit")
    expected = add_shrinkage(rows)
    after = read_effects(path)
    assert_array_equal(after["effect_posterior"], expected.shrunken["effect_posterior"])
    assert_array_equal(after["lfsr"], expected.shrunken["lfsr"])
    assert read_provenance(path)["shrinkage"] == expected.fits
    assert "DNase (logit): 210 effects, of which about" in capsys.readouterr().err


WITH = "intervals r.h5 -o o.tsv --conformal"
OF_DNASE = "--target DNase --score diff"
BAD = {
    f"{WITH} DNase.tsv": "cannot be read",
    f"{WITH} x.json": "is no calibration of intervals",
    f"{WITH} v.json": "has version 99",
    f"{WITH} cut.json": "cannot be read",
    f"{WITH} no.json": "there is no file",
    f"{WITH} DNase.json --level 0.999": "level 0.999 needs at least 999 effects in each group",
    f"{WITH} DNase.json DNase.json": "several are of DNase, score diff",
    f"{WITH} model.json": "is of the model",
    "intervals r.h5 --conformal DNase.json -o o.h5": "must end in one of",
    "intervals r.h5 --conformal DNase.json -o r.tsv": "r.tsv exists",
    f"calibrate r.h5 DNase.tsv {OF_DNASE} --bins 1 -o o.tsv": "--bins is used by --conformal only",
    f"calibrate r.h5 DNase.tsv {OF_DNASE}": "give one of them (or both)",
    f"calibrate r.h5 {OF_DNASE} --sd_scale 2 --scaled o.tsv --conformal o.json": "one of them (or both)",
    f"calibrate r.h5 DNase.tsv {OF_DNASE} --conformal o.tsv": "must end in one of .json",
    "shrink s.parquet -o o.tsv": "effect_posterior, lfsr already",
}


@pytest.fixture(scope="module")
def bad(folder: Path) -> Path:
    """The folder with files that are refused."""
    values = json.loads((folder / "DNase.json").read_text())
    source = {**values["source"], "model_sha256": "0" * 64}
    (folder / "x.json").write_text('{"a": 1}')
    (folder / "v.json").write_text(json.dumps({**values, "format_version": 99}))
    (folder / "model.json").write_text(json.dumps({**values, "source": source}))
    (folder / "cut.json").write_text(json.dumps({k: v for k, v in values.items() if k != "groups"}))
    cli_main("mcdropout", ["shrink", str(folder / "r.h5"), "-o", str(folder / "s.parquet")])
    return folder


@pytest.mark.parametrize("words", BAD)
def test_bad_input_is_explained_and_nothing_is_written(
    words: str, bad: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(bad)
    before = {path: path.stat().st_mtime_ns for path in bad.iterdir()}
    with pytest.raises(SystemExit) as stop:
        cli_main("mcdropout", words.split())
    assert stop.value.code == 2
    assert BAD[words] in capsys.readouterr().err.splitlines()[-1]
    assert {path: path.stat().st_mtime_ns for path in bad.iterdir()} == before


def test_standard_output_gets_the_table(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["intervals", str(folder / "r.h5"), "--conformal", str(folder / "DNase.json"), "-o", "-"]
    cli_main("mcdropout", words)
    lines = capfd.readouterr().out.splitlines()
    assert lines[1].split("\t")[-3:] == list(INTERVAL_STATISTICS)
    rows = read_effects(folder / "r.h5")
    assert len(lines) == 2 + len(rows)
    assert_allclose(
        float(lines[2].split("\t")[list(rows).index("effect_mean")]), rows["effect_mean"][0], rtol=1e-6
    )


def test_a_calibration_is_not_overwritten(folder: Path) -> None:
    from kipoi_mcdropout.errors import OutputError
    from kipoi_mcdropout.files.calibration import write_calibration

    calibration = read_calibration(folder / "DNase.json")
    with pytest.raises(OutputError, match="exists"):
        write_calibration(calibration, folder / "DNase.json")
    with pytest.raises(InputError, match="there is no file"):
        read_calibration(folder / "none.json")


@pytest.fixture(scope="module")
def added(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The result with intervals that were added afterwards."""
    path = tmp_path_factory.mktemp("added") / "i.parquet"
    cli_main("mcdropout", ["intervals", str(folder / "r.h5"), *conformal(folder), "-o", str(path)])
    return read_effects(path)


def conformal(folder: Path) -> list[str]:
    files = [str(folder / f"{output}.json") for output in ("DNase", "FOXA2")]
    return ["--conformal", *files, "--level", "0.8"]


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    """Equal tables, whatever the order of their columns."""
    assert sorted(one) == sorted(other)
    pd.testing.assert_frame_equal(one[list(other)], other)


def test_ism_with_a_calibration_is_ism_and_then_intervals(
    toy: Toy, folder: Path, added: pd.DataFrame, tmp_path: Path
) -> None:
    paths = [tmp_path / f"r.{suffix}" for suffix in ("h5", "tsv", "parquet")]
    ism(toy, *conformal(folder), "-o", *map(str, paths))
    for path in paths:
        found = read_effects(path)
        same(found, added)
        assert list(found) == list(read_effects(paths[0]))
        recorded = ConformalOptions.of_record(read_provenance(path))
        assert recorded is not None
        assert recorded.level == 0.8
    assert added["ci_lower"].notna().sum() == 2 * 210


def test_shards_and_a_merge_give_the_same(
    toy: Toy, folder: Path, added: pd.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "r.parquet"
    for i in (1, 2):
        ism(toy, *conformal(folder), "-o", str(path), "--shard", f"{i}/2")
    cli_main("mcdropout", ["merge", f"{path}.shards"])
    same(read_effects(path), added)


def test_in_memory_it_is_the_same(toy: Toy, folder: Path) -> None:
    import kipoi_mcdropout as mcd

    kipoi_model = mcd.load_kipoi_model(str(toy.model), source="dir")
    asked = read_conformal([folder / "DNase.json", folder / "FOXA2.json"], 0.8)

    def effects(**options: Any) -> mcd.Effects:
        with pytest.warns(InputWarning, match="2 positions are N"):
            return mcd.ism(
                kipoi_model, fasta=toy.fasta, regions=toy.bed, n_draws=8, scores=["diff", "logit"],
                options=mcd.MutationOptions(**options),
            )  # fmt: skip

    plain = effects()
    same(effects(conformal=asked).table(), add_intervals(plain.table(), plain.provenance, asked))


def test_a_calibration_that_does_not_fit_the_run_is_refused(
    toy: Toy, bad: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["-o", str(tmp_path / "r.tsv")]
    for words, message in (
        (["--conformal", str(bad / "model.json")], "is of the model"),
        (["--conformal", str(bad / "DNase.json"), "--target", "FOXA1"], "does not fit: the result has"),
        (["--conformal", str(bad / "DNase.json"), "--level", "0.999"], "level 0.999 needs"),
        (["--conformal", str(bad / "DNase.json"), "--n_draws", "0"], "the result has no draws"),
    ):
        with pytest.raises(SystemExit) as stop:
            ism(toy, *words, *out)
        assert stop.value.code == 2
        assert message in capsys.readouterr().err.splitlines()[-1]
        assert list(tmp_path.iterdir()) == []


def test_another_number_of_draws_is_warned_of(
    toy: Toy, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ism(toy, *conformal(folder), "--n_draws", "4", "-o", str(tmp_path / "r.tsv"))
    assert "was made with 8 draws; the result has 4" in capsys.readouterr().err
