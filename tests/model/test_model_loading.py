"""Models of Kipoi that its own loader, or a dataloader, makes trouble with; what `predict` says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import kipoi
import numpy as np
import pandas as pd
import pytest
import torch
from toy import Toy, make_toy

from kipoi_mcdropout.cli import run
from kipoi_mcdropout.files.read import read_effects
from kipoi_mcdropout.files.record import sequence_name
from kipoi_mcdropout.model.load import load_kipoi_model
from kipoi_mcdropout.model.reference import ModelReference


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return make_toy(tmp_path)


def words(toy: Toy) -> list[str]:
    return [str(toy.model), "--source", "dir", "--dataloader_args", json.dumps(toy.dataloader_args)]


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_model_may_use_the_path_of_its_file(toy: Toy) -> None:
    here = "import os\nHERE = os.path.dirname(__file__)\nimport torch\n"
    edit(toy.model / "model.py", "import torch\n", here)
    with pytest.raises(NameError):
        kipoi.get_model(str(toy.model), source="dir")
    model = load_kipoi_model(str(toy.model), "dir")
    assert type(model.model).forward.__globals__["HERE"] == str(toy.model)


def test_weights_saved_on_a_gpu_are_loaded_without_one(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    load = torch.load

    def as_from_a_gpu(file: Any, map_location: Any = None, **options: Any) -> Any:
        asked.append(map_location)
        if map_location is None:
            raise RuntimeError("Attempting to deserialize object on a CUDA device")
        return load(file, map_location, **options)

    monkeypatch.setattr(torch, "load", as_from_a_gpu)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    model = load_kipoi_model(str(toy.model), "dir")
    assert asked == ["cpu"]
    assert torch.load is as_from_a_gpu
    ModelReference.of(model).load()
    assert asked == ["cpu", "cpu"]
    run("audit", "audit", words(toy))
    assert set(asked) == {"cpu"}


def test_audit_of_a_model_without_a_dataloader(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    edit(toy.model / "model.yaml", "default_dataloader: .\n", "")
    for name in ("dataloader.py", "dataloader.yaml"):
        (toy.model / name).unlink()
    run("audit", "audit", [str(toy.model), "--source", "dir"])
    said = capsys.readouterr()
    assert "0     drop    dropout  0.5  1 x 6 x 24  locked" in said.out
    assert "probed with a random input of the shape in its schema" in said.err


NAMES = {
    "metadata_name": ('"name": name', ["region0", "region1", "region2"]),
    "metadata_id": ('"id": np.bytes_(name)', ["region0", "region1", "region2"]),
    "neither": ('"other": name', ["0", "1", "2"]),
}


@pytest.mark.parametrize("case", NAMES)
def test_sequences_have_the_names_that_the_dataloader_gives(toy: Toy, tmp_path: Path, case: str) -> None:
    said, expected = NAMES[case]
    edit(toy.model / "dataloader.py", '{"ranges": ranges}', "{" + said + "}")
    paths = [str(tmp_path / f"out.{suffix}") for suffix in ("h5", "tsv", "parquet")]
    small = ["--n_draws", "2", "-o", *paths, "--overwrite"]
    run("ism", "ism", [*words(toy), "--model_input", "seq", "--end", "2", *small])
    for path in paths:
        assert list(dict.fromkeys(read_effects(path)["name"].astype(str))) == expected
    run("predict", "predict", [*words(toy), *small])
    assert list(dict.fromkeys(pd.read_parquet(paths[2])["name"])) == expected


def test_the_id_of_a_range_comes_first() -> None:
    where = {f"ranges/{key}": 1 for key in ("chr", "start", "end", "id", "strand")}
    assert sequence_name({**where, "ranges/id": "a", "name": "b"}, 7) == "a"
    assert sequence_name({**where, "ranges/id": "", "name": "b"}, 7) == "b"
    assert sequence_name({"id": "c"}, 7) == "c"
    assert sequence_name({}, 7) == "7"


def test_predictions_that_are_no_numbers_are_said(
    toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = "return torch.sigmoid(self.dense(self.drop(x).flatten(1)))"
    scale = "torch.tensor([1, 1e25, 1])"
    odd = "y + torch.tensor([0, 0, float('inf')])"
    new = f"y = self.dense(self.drop(x).flatten(1)) * {scale}\n        return {odd}"
    edit(toy.model / "model.py", old, new)
    out = tmp_path / "p.parquet"
    run("predict", "predict", [*words(toy), "--n_draws", "3", "-o", str(out), str(tmp_path / "p.h5")])
    error = capsys.readouterr().err
    table = pd.read_parquet(out)
    infinite = table[table.output == "DNase"]
    assert infinite[["mean", "point"]].isna().all(axis=None)
    assert (infinite["n_nonfinite"] == 3).all()
    large = table[table.output == "FOXA2"]
    assert large["mean"].notna().all()
    assert large["var"].isna().all()
    assert (large["n_nonfinite"] == 0).all()
    assert "6 predictions are NaN, first for sequence region0, output 'FOXA2'" in error
    assert "too large for 32 bits" in error
    assert "6 predictions are NaN; look at the column n_nonfinite" in error
    assert np.isfinite(table[table.output == "FOXA1"]["sd"]).all()


def test_predict_without_draws_needs_no_dropout(tmp_path: Path) -> None:
    toy = make_toy(tmp_path / "still", p=0.0)
    out = tmp_path / "p.tsv"
    run("predict", "predict", [*words(toy), "--n_draws", "0", "-o", str(out)])
    table = pd.read_table(out, skiprows=1)
    assert table["point"].notna().all()
    assert table["mean"].isna().all()
    assert (table["n_draws"] == 0).all()
    assert (table["n_nonfinite"] == 0).all()
