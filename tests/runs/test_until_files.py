"""--until in the commands: the same bytes stopped, sharded, and whole; each file has the draws."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from run_world import World, contents, make_world, same_date

import kipoi_mcdropout as mcd
from kipoi_mcdropout.cli import run
from kipoi_mcdropout.files.read import read_effects, read_provenance
from kipoi_mcdropout.runs.ism.mutate import MutationOptions
from kipoi_mcdropout.runs.store import UnitStore
from kipoi_mcdropout.vcf.options import VariantOptions

FILES = {
    "ism": ["out.h5", "out.tsv", "out.parquet"],
    "score_variants": ["out.vcf", "t.parquet"],
}
OUTPUT = {"ism": ["-o", *FILES["ism"]], "score_variants": ["-o", "out.vcf", "-t", "t.parquet"]}
WORDS = ["--scores", "diff", "logit", "--n_draws", "70"]
UNTIL = ["--until", "0.15", "--threshold", "0.008", "0.03"]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    same_date(monkeypatch)
    monkeypatch.setattr("kipoi_mcdropout.vcf.score.chunk_alleles", lambda *_: 40)
    world = make_world(tmp_path)
    rows = world.bed.read_text().splitlines(keepends=True)
    world.bed.write_text("".join(rows[:3]))
    monkeypatch.chdir(tmp_path)
    return world


def run_in(world: World, folder: str, command: str, *more: str) -> Path:
    (world.folder / folder).mkdir(exist_ok=True)
    os.chdir(world.folder / folder)
    getattr(world, command)(*OUTPUT[command], *WORDS, *more)
    return world.folder / folder


class Stop(BaseException):
    """As a kill would have it."""


def stop_after_the_first(patch: pytest.MonkeyPatch) -> None:
    save = UnitStore.save

    def stopping(self: Any, *args: Any) -> None:
        save(self, *args)
        raise Stop

    patch.setattr(UnitStore, "save", stopping)


@pytest.mark.parametrize("engine", ["full", "incremental"])
@pytest.mark.parametrize("command", list(FILES))
def test_stopped_and_sharded(
    world: World, command: str, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*UNTIL, "--engine", engine]
    whole = contents(run_in(world, "whole", command, *words), FILES[command])
    used = read_effects(world.folder / "whole" / FILES[command][-1])["n_draws"]
    assert set(used) == {15, 31, 63, 70}
    record = read_provenance(world.folder / "whole" / FILES[command][-1])
    assert record["options"]["engine_used"] == engine

    with monkeypatch.context() as patch:
        stop_after_the_first(patch)
        with pytest.raises(Stop):
            run_in(world, "stopped", command, *words)
    assert contents(run_in(world, "stopped", command, *words, "--resume"), FILES[command]) == whole
    for i in (2, 1):
        run_in(world, "sharded", command, *words, "--shard", f"{i}/2")
    run("merge", "m", [str(world.folder / "sharded" / f"{FILES[command][0]}.shards"), "--remove"])
    assert contents(world.folder / "sharded", FILES[command]) == whole


def test_the_same_rows_in_every_file_of_ism(world: World) -> None:
    folder = run_in(world, "whole", "ism", *UNTIL)
    tables = [read_effects(folder / name) for name in FILES["ism"]]
    for table in tables:
        pd.testing.assert_frame_equal(table, tables[0])
        assert table["n_draws"].dtype == np.int64
    rows = tables[0]
    ratio = rows["effect_sd"] / rows["effect_mcse"]
    np.testing.assert_allclose(ratio**2, rows["n_draws"], rtol=1e-4)
    per_mutant = rows.groupby(["sequence", "position", "alt"])["n_draws"]
    assert (per_mutant.nunique() == 1).all(), "one number for all outputs and scores"
    diff = rows[rows["score"] == "diff"]
    variance = diff["ref_var"] + diff["alt_var"] - 2 * diff["ref_alt_cov"]
    np.testing.assert_allclose(variance, diff["effect_sd"] ** 2, rtol=1e-3, atol=1e-9)
    with h5py.File(folder / "out.h5") as file:
        assert file["scores/diff/n_draws"].shape == file["scores/diff/effect_mean"].shape
    record = read_provenance(folder / "out.h5")
    assert record["options"]["until"] == 0.15
    assert record["options"]["threshold"] == [0.008, 0.03]
    arrays = mcd.read(folder / "out.h5").to_xarray(score="diff")
    assert arrays["n_draws"].dims == arrays["ref_mean"].dims == ("sequence", "position", "alt", "output")
    assert float(arrays["n_draws"].max()) == 70


@pytest.mark.parametrize("command", list(FILES))
@pytest.mark.parametrize("never", ["0", "inf"])
def test_never_is_the_run_with_a_fixed_number(world: World, command: str, never: str) -> None:
    fixed = run_in(world, "fixed", command)
    same = run_in(world, "never", command, "--until", never)
    for name in FILES[command]:
        if name.endswith(".vcf"):  # its header has the command
            ours, theirs = ((f / name).read_text().splitlines() for f in (same, fixed))
            assert [x for x in ours if x[:2] != "##"] == [x for x in theirs if x[:2] != "##"]
            continue
        pd.testing.assert_frame_equal(read_effects(same / name), read_effects(fixed / name))
        ours, theirs = (read_provenance(folder / name) for folder in (same, fixed))
        assert ours["options"] == theirs["options"]


def test_rows_with_all_draws_are_those_of_the_fixed_run(world: World) -> None:
    fixed = read_effects(run_in(world, "fixed", "ism") / "out.parquet")
    until = read_effects(run_in(world, "until", "ism", *UNTIL) / "out.parquet")
    all_draws = (until["n_draws"] == 70).to_numpy()
    assert 0.05 < all_draws.mean() < 0.95
    for name in fixed.columns:
        if fixed[name].dtype.kind == "f":
            ours, theirs = until[name][all_draws], fixed[name][all_draws]
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=2e-6, err_msg=name)
    fewer = fixed["effect_mean"][~all_draws] - until["effect_mean"][~all_draws]
    assert (fewer != 0).mean() > 0.9
    assert (fewer.abs() / until["effect_mcse"][~all_draws]).quantile(0.95) < 3


def test_the_vcf_has_the_number_of_each_allele(world: World) -> None:
    folder = run_in(world, "whole", "score_variants", *UNTIL)
    text = (folder / "out.vcf").read_text()
    assert "##INFO=<ID=MCD_N_DRAWS,Number=A,Type=Integer," in text
    rows = read_effects(folder / "t.parquet").drop_duplicates(["line", "allele"])
    expected = dict(zip(rows["id"], rows["n_draws"], strict=True))
    found = {}
    for line in text.splitlines():
        if not line.startswith("#") and "MCD_SKIP" not in line:
            fields = dict(x.split("=") for x in line.split("\t")[7].split(";"))
            found[line.split("\t")[2]] = int(fields["MCD_N_DRAWS"])
    assert found == expected
    assert len(set(found.values())) > 2
    without = run_in(world, "without", "score_variants")
    assert "N_DRAWS" not in (without / "out.vcf").read_text().split("#CHROM")[1]


def test_a_run_is_not_taken_up_with_another_share(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        stop_after_the_first(patch)
        with pytest.raises(Stop):
            run_in(world, "stopped", "ism", *UNTIL)
    with pytest.raises(SystemExit):
        run_in(world, "stopped", "ism", "--until", "0.1", *UNTIL[2:], "--resume")
    assert "they differ in: until" in capsys.readouterr().err


def test_from_python_as_from_the_command(world: World) -> None:
    folder = run_in(world, "whole", "ism", "--until", "0.15", "--threshold", "0.008", "0.03")
    import kipoi

    model = kipoi.get_model(str(world.model), source="dir")
    chosen = MutationOptions(until=0.15, threshold=[0.008, 0.03])
    effects = mcd.ism(
        mcd.Model(model), fasta=world.fasta, regions=world.bed, n_draws=70, scores=["diff", "logit"],
        options=chosen,
    )  # fmt: skip
    ours, theirs = effects.table(), read_effects(folder / "out.h5")
    np.testing.assert_array_equal(ours["n_draws"], theirs["n_draws"])
    np.testing.assert_array_equal(ours["effect_mean"], theirs["effect_mean"])
    variants = mcd.score_variants(
        mcd.Model(model), world.vcf, world.fasta, n_draws=70,
        options=VariantOptions(until=0.15, threshold=0.008),
    )  # fmt: skip
    assert variants.table()["n_draws"].nunique() > 1
    assert "n_draws" in variants.to_xarray().data_vars
