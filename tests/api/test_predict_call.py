"""`mc_predict` and `kipoi mcdropout predict`: the same numbers, with the same record of their making."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from toy import Toy, make_toy

import kipoi_mcdropout as mcd
from kipoi_mcdropout.cli import run
from kipoi_mcdropout.errors import InputError, OutputError
from kipoi_mcdropout.files.read import read_provenance
from kipoi_mcdropout.model.load import load_kipoi_model

FILES = ("p.h5", "p.tsv", "p.parquet")
RANGES = ["name", "chrom", "start", "end", "strand"]  # only the command knows them


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return make_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def commanded(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command writes."""
    folder = tmp_path_factory.mktemp("command")
    words = [str(toy.model), "--source", "dir", "--dataloader_args"]
    words += [f"fasta_file={toy.fasta}", f"intervals_file={toy.bed}"]
    words += ["--n_draws", "4", "--seed", "2", "--target", "FOXA2", "DNase", "--keep_draws"]
    run("predict", "predict", [*words, "-o", *(str(folder / name) for name in FILES)])
    return folder


@pytest.fixture(scope="module")
def called(toy: Toy) -> mcd.Predictions:
    """What the function returns."""
    model = load_kipoi_model(str(toy.model), "dir")
    batch = next(model.default_dataloader(**toy.dataloader_args).batch_iter(batch_size=8))
    return mcd.mc_predict(
        model, batch["inputs"], 4, 2, targets=["FOXA2", "DNase"], keep_draws=True
    )


def of_the_computation(record: dict[str, Any]) -> dict[str, Any]:
    """A record without where the sequences were read, when, and by which words."""
    own = {name: value for name, value in record.items() if name not in ("date", "files", "command")}
    options = {k: v for k, v in record["options"].items() if not k.startswith("dataloader")}
    return {**own, "options": options}


def test_both_have_the_same_record(commanded: Path, called: mcd.Predictions) -> None:
    for name in FILES[1:]:
        record = read_provenance(commanded / name)
        assert of_the_computation(record) == of_the_computation(called.provenance)
        assert set(record) == set(called.provenance)
    assert record["command"][0] == "predict"
    assert called.provenance["command"] is None
    assert called.provenance["seed"] == 2
    assert called.provenance["n_draws"] == 4
    assert called.provenance["options"]["target"] == ["FOXA2", "DNase"]
    assert [site["name"] for site in called.provenance["sites"]] == ["drop"]
    assert len(called.provenance["model"]["weights_sha256"]) == 64


def test_both_write_the_same_files(
    commanded: Path, called: mcd.Predictions, tmp_path: Path
) -> None:
    called.save([tmp_path / name for name in FILES])
    for read, name in ((pd.read_parquet, "p.parquet"), (read_rows, "p.tsv")):
        ours, theirs = read(tmp_path / name), read(commanded / name)
        assert list(ours) == list(theirs)
        pd.testing.assert_frame_equal(
            ours.drop(columns=RANGES), theirs.drop(columns=RANGES), check_exact=True
        )
        assert read_provenance(tmp_path / name) == called.provenance
    with h5py.File(tmp_path / "p.h5") as ours, h5py.File(commanded / "p.h5") as theirs:
        assert sorted(ours["preds"]) == sorted(theirs["preds"])
        for name in ours["preds"]:
            np.testing.assert_array_equal(ours[f"preds/{name}"], theirs[f"preds/{name}"])
        np.testing.assert_array_equal(ours["preds/draws"][()].swapaxes(0, 1), called.draws)


def read_rows(path: Path) -> pd.DataFrame:
    return pd.read_table(path, skiprows=1)


def test_a_table_in_memory_is_that_of_the_file(called: mcd.Predictions, tmp_path: Path) -> None:
    called.save(tmp_path / "p.parquet")
    saved, table = pd.read_parquet(tmp_path / "p.parquet"), called.table()
    assert table["output"].tolist() == ["FOXA2", "DNase"] * 3
    for name in ("sequence", "mean", "var", "sd", "mcse", "point", "n_nonfinite", "n_draws"):
        np.testing.assert_array_equal(table[name], saved[name], err_msg=name)
    np.testing.assert_array_equal(table["mean"], called.mean.ravel().astype(np.float32))
    with pytest.raises(OutputError, match="exists"):
        called.save(tmp_path / "p.parquet")
    called.save(tmp_path / "p.parquet", overwrite=True)


def test_settings_are_those_of_the_model(toy: Toy) -> None:
    model = mcd.Model(load_kipoi_model(str(toy.model), "dir"), outputs=["a", "b", "c"])
    x = np.zeros((2, 24, 4), np.float32)
    record = mcd.mc_predict(model, x, 2, targets="b").provenance
    assert record["options"]["output_names"] == ["a", "b", "c"]
    assert record["options"]["outputs"] == 1
    with pytest.raises(InputError, match="a Model has its settings already"):
        mcd.mc_predict(model, x, 2, ignore=["drop"])
    with pytest.raises(InputError, match="batch_size must be at least 1; got 0"):
        mcd.mc_predict(model, x, 2, batch_size=0)
