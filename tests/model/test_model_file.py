"""`mcdropout.yaml` says what the flags say; flags win; what is wrong in it is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from network_files import LENGTH, Files, make_files

import kipoi_mcdropout as mcd
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.model.description import ModelDescription
from kipoi_mcdropout.model.settings import ModelSettings


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return make_files(tmp_path / "group" / "net")


def write(path: Path, **said: Any) -> Path:
    path.write_text(yaml.safe_dump(said))
    return path


def test_it_says_what_the_flags_say(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths in it lead from its folder, wherever it is read."""
    (files.folder / "names.txt").write_text("FOXA2\n\n  DNase \n")
    path = write(
        files.folder.parent / "mcdropout.yaml",
        model="net/net.py:Net", weights="net/weights.pt", model_kwargs={"p": 0.25},
        outputs="net/names.txt", input_shape=[4, LENGTH], alphabet="AGCT", category_axis=0,
        unknown="zero", ignore=["block"],
    )  # fmt: skip
    monkeypatch.chdir(files.folder.parent.parent)
    by_file = ModelDescription.of({"model": "group/mcdropout.yaml"})
    by_folder = ModelDescription.of({"model": "group"})
    by_flags = ModelDescription.of(
        {
            "model": "group/net/net.py:Net", "weights": "group/net/weights.pt",
            "model_kwargs": '{"p": 0.25}', "outputs": ["FOXA2", "DNase"], "input_shape": f"4,{LENGTH}",
            "alphabet": "agct", "category_axis": 0, "unknown": "zero", "ignore": ["block"],
        }
    )  # fmt: skip
    assert by_file == by_folder == by_flags
    assert by_file.settings == ModelSettings(
        ("FOXA2", "DNase"), (4, LENGTH), None, None, 0, "AGCT", "zero", None, ("block",), device="auto"
    )
    model = mcd.load_model(path)
    assert torch.equal(model.adapter.locked.module.head.weight, files.net.head.weight)
    assert model.adapter.locked.module.block[2].p == 0.25


def test_flags_win_and_are_said(files: Files) -> None:
    other = make_files(files.folder.parent / "other", seed=1)
    path = write(files.folder / "mcdropout.yaml", model="net.py:Net", weights="weights.pt", length=25)
    said: list[str] = []
    words = {"model": str(path), "weights": str(other.weights), "length": 25, "alphabet": "ACGT"}
    description = ModelDescription.of(words, said.append)
    assert said == [f"weights is {other.weights}, in place of {files.weights} in {path}"]
    assert description.source.weights == str(other.weights)
    assert description.settings.alphabet == "ACGT"


def test_a_kipoi_folder_may_have_one(tmp_path: Path) -> None:
    from toy import make_toy

    toy = make_toy(tmp_path)
    write(toy.model / "mcdropout.yaml", model=".", source="dir", ignore=["drop"])
    description = ModelDescription.of({"model": str(toy.model)})
    assert description.source.model == str(toy.model)
    assert description.source.is_kipoi
    assert description.settings.ignore == ("drop",)
    assert description.load().source == "dir"
    kipoi_alone = ModelDescription.of({"model": str(toy.model), "source": "dir"})
    assert kipoi_alone.settings.ignore == ()


WRONG = {
    "unknown": ({"model": "net.py:Net", "wieghts": "w.pt"}, "unknown key 'wieghts'; is it 'weights'"),
    "trust": ({"model": "net.py:Net", "trust_pickle": True}, "whoever runs the model decides"),
    "no model": ({"weights": "weights.pt"}, "must have the key model"),
    "list": (["net.py:Net"], "must have keys and values"),
    "type": ({"model": "net.py:Net", "length": "long"}, "length must be a whole number; got 'long'"),
    "labels": ({"model": "net.py:Net", "outputs": [True, "b"]}, "outputs must be texts; got True"),
    "shape": ({"model": "net.py:Net", "input_shape": "4x5"}, "shape of one input, such as 4,500"),
    "kwargs": ({"model": "net.py:Net", "model_kwargs": [1]}, "model_kwargs must be a dict"),
    "file": ({"model": "gone.py:Net"}, r"there is no file .*gone\.py"),
    "Kipoi": ({"model": "DeepSEA/predict", "model_kwargs": {"a": 1}}, "model_kwargs.*with Python code"),
    "source of code": ({"model": "net.py:Net", "source": "dir"}, "--source is for models of Kipoi"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named(files: Files, case: str) -> None:
    said, message = WRONG[case]
    path = files.folder / "mcdropout.yaml"
    path.write_text(yaml.safe_dump(said))
    with pytest.raises(InputError, match=message):
        mcd.load_model(path)


def test_files_that_are_none(files: Files) -> None:
    path = files.folder / "mcdropout.yaml"
    path.write_text("model: [")
    with pytest.raises(InputError, match="cannot be read as YAML"):
        mcd.load_model(path)
    with pytest.raises(InputError, match="there is no file"):
        mcd.load_model(files.folder / "other.yaml")
    with pytest.raises(InputError, match="give its folder"):
        mcd.load_model("example/model/model.yaml")
    (files.folder / "empty.txt").write_text("\n")
    with pytest.raises(InputError, match="a label in each line; it is empty"):
        mcd.load_model(files.named(), outputs=str(files.folder / "empty.txt"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"wieghts": "w.pt"}, "does not know 'wieghts'; is it 'weights'"),
        ({"model_kwargs": "{n: 3}"}, "must be a JSON object.*got '{n: 3}'"),
        ({"model_kwargs": "[1]"}, r"must be a JSON object, \{\.\.\.\}"),
        ({"trust_pickle": "yes"}, "must be true or false"),
    ],
)
def test_words_of_load_model(files: Files, words: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        mcd.load_model(files.named(), **words)


def test_outputs_of_another_number(files: Files) -> None:
    from network_files import sequences

    model = mcd.load_model(files.named(), weights=files.weights, outputs=["a", "b", "c"])
    with pytest.raises(InputError, match="a name for each of the model's 2 outputs; got 3: a, b, c"):
        mcd.mc_predict(model, sequences(), 2)
