"""`init` writes a file that says what the flags say, and a folder that Kipoi itself runs the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kipoi
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from network_files import LENGTH, Files, make_files, sequences, trained
from toy import make_toy

import kipoi_mcdropout as mcd
from kipoi_mcdropout.cli import run
from kipoi_mcdropout.model.description import ModelDescription
from kipoi_mcdropout.model.settings import settings_as_dict


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    monkeypatch.chdir(tmp_path)
    return make_files(Path("user"))


def init(*words: Any) -> None:
    run("init", "init", [str(word) for word in words])


def refused(capsys: pytest.CaptureFixture[str], *words: Any) -> str:
    with pytest.raises(SystemExit) as stop:
        init(*words)
    assert stop.value.code == 2
    return capsys.readouterr().err


def flags(files: Files) -> list[str]:
    names = ["--outputs", "FOXA2", "yes", "--ignore", "block", "--unknown", "zero"]
    return [files.named(), "--weights", str(files.weights), "--model_kwargs", '{"p": 0.2}', *names]


@pytest.mark.parametrize("target", ["shared/deep/my.yaml", "shared/deep", "mcdropout.yaml"])
def test_the_file_says_what_the_flags_say(files: Files, tmp_path: Path, target: str) -> None:
    init(*flags(files), "-o", target)
    path = Path(target) if target.endswith(".yaml") else Path(target, "mcdropout.yaml")
    text = path.read_text()
    assert text.startswith("# ")
    assert str(tmp_path) not in text
    words = {
        "model": files.named(), "weights": str(files.weights), "model_kwargs": {"p": 0.2},
        "outputs": ["FOXA2", "yes"], "ignore": ["block"], "unknown": "zero", "input_shape": [4, LENGTH],
    }  # fmt: skip
    assert ModelDescription.of({"model": str(path)}) == ModelDescription.of(words)
    init(path, "-o", "elsewhere/again.yaml")
    again = ModelDescription.of({"model": "elsewhere/again.yaml"})
    assert again == ModelDescription.of(words)


def test_members_are_kept(files: Files) -> None:
    other = files.folder / "fold1.pt"
    torch.save(trained(1).state_dict(), other)
    init(files.named(), "--weights", files.weights, "--member", other, "-o", "shared/m.yaml")
    assert yaml.safe_load(Path("shared/m.yaml").read_text())["members"] == ["../user/fold1.pt"]
    weights = [source.weights for source in ModelDescription.of({"model": "shared/m.yaml"}).sources]
    assert weights == [str(files.weights), str(other)]


def test_what_cannot_be_found_out_is_left_out(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    files.code.write_text(
        "from torch import nn\n\n\ndef any_length():\n"
        "    return nn.Sequential(nn.Dropout(0.5), nn.AdaptiveMaxPool1d(1), nn.Flatten())\n"
    )
    init(files.named("any_length"), "-o", "any.yaml")
    assert "input_shape is not written: the model takes" in capsys.readouterr().err
    assert yaml.safe_load(Path("any.yaml").read_text()) == {"model": "user/net.py:any_length"}
    init(files.named("any_length"), "--length", "50", "--category_axis", "0", "-o", "fifty.yaml")
    assert yaml.safe_load(Path("fifty.yaml").read_text())["input_shape"] == [4, 50]


def genome() -> tuple[Path, Path]:
    """A genome and regions; the third is of another length, and the second holds an N."""
    bases = "".join(np.random.default_rng(3).choice(list("ACGT"), 4 * LENGTH))
    bases = bases[:40] + "n" + bases[41:].lower()
    Path("genome.fa").write_text(f">chr1\n{bases}\n")
    rows = [("chr1", 3, 3 + LENGTH, "a"), ("chr1", 31, 31 + LENGTH, "b"), ("chr1", 60, 65, "c")]
    Path("regions.bed").write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
    return Path("genome.fa"), Path("regions.bed")


CASES = {
    "with a neighbour": ("Net", [], True),
    "alone": ("Alone", [], False),
    "a function": ("make", ["--model_kwargs", '{"width": 3}'], False),
    "attribute": ("Alone.of", [], True),
    "network": ("ready", [], True),
    "other letters": ("Alone", ["--alphabet", "TGCA", "--unknown", "zero"], False),
}
ALONE = f"""
import torch
from torch import nn


class Alone(nn.Module):
    def __init__(self, width=5):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(4, width, 3), nn.ReLU(), nn.Dropout(0.4), nn.Flatten(),
            nn.Linear(width * {LENGTH - 2}, 2),
        )

    def forward(self, dna):
        return torch.sigmoid(self.layers(dna))

    @classmethod
    def of(cls):
        return cls()


def make(width):
    return Alone(width)


torch.manual_seed(5)
ready = Alone()
"""


@pytest.mark.filterwarnings("ignore:sequence b. 1 positions are N")
@pytest.mark.parametrize("case", CASES)
def test_kipoi_runs_the_folder_the_same(files: Files, case: str) -> None:
    name, more, has_code = CASES[case]
    code, weights = files.code, files.weights
    if name != "Net":
        code, weights = files.folder / "alone.py", files.folder / "alone.pt"
        code.write_text(ALONE)
        space: dict[str, Any] = {}
        exec(ALONE, space)
        torch.manual_seed(1)
        torch.save(space["Alone"](3 if name == "make" else 5).state_dict(), weights)
    words = [f"{code}:{name}", "--weights", weights, "--outputs", "FOXA2", "DNase", *more]
    init(*words, "--kipoi", "-o", "kipoi_model")
    folder = Path("kipoi_model")
    assert (folder / "code").is_dir() == has_code
    fasta, regions = genome()

    # The network, by Kipoi alone.
    settings = dict(zip([w.removeprefix("--") for w in more[::2]], more[1::2], strict=True))
    model = mcd.load_model(f"{code}:{name}", weights=weights, outputs=["FOXA2", "DNase"], **settings)
    theirs = kipoi.get_model(str(folder), source="dir")
    x = sequences(5)
    with torch.no_grad():
        expected = model.adapter.locked.module(torch.from_numpy(x)).numpy()
    assert np.array_equal(theirs.predict_on_batch(x), expected)
    assert theirs.pipeline.predict_example().shape == (2, 2)

    # Effects of what Kipoi's dataloader reads, and of what is read here.
    data = f'{{"fasta_file": "{fasta}", "intervals_file": "{regions}"}}'
    for model_words in (["kipoi_model"], ["kipoi_model", "--source", "dir", *more[:2]]):
        if model_words[-1] == '{"width": 3}':
            model_words = model_words[:-2]
        out = ["--n_draws", "3", "-o", "kipoi.tsv", "--overwrite"]
        run("ism", "ism", [*model_words, "--dataloader_args", data, *out])
        by_kipoi = pd.read_table("kipoi.tsv", skiprows=1)
        mcd.ism(model, fasta=fasta, regions=regions, n_draws=3, output="code.tsv",
                running=mcd.RunOptions(overwrite=True))  # fmt: skip
        by_code = pd.read_table("code.tsv", skiprows=1)
        columns = [c for c in by_code.columns if c not in ("name", "strand")]
        pd.testing.assert_frame_equal(by_kipoi[columns], by_code[columns], check_exact=True)
    beside = ModelDescription.of({"model": str(folder)})
    said = settings_as_dict(beside.settings)
    assert said["alphabet"] == model.alphabet
    assert said["category_axis"] == 0


def test_outputs_that_are_a_dict(files: Files) -> None:
    files.code.write_text(
        ALONE + "\n\nclass Two(Alone):\n    def forward(self, dna):\n        y = super().forward(dna)\n"
        "        return {'binding': y[:, :1], 'access': y}\n"
    )
    init(files.named("Two"), "--weights", "random", "--kipoi", "-o", "two")
    targets = yaml.safe_load(Path("two/model.yaml").read_text())["schema"]["targets"]
    assert {name: array["shape"] for name, array in targets.items()} == {
        "binding": "(1,)", "access": "(2,)",
    }  # fmt: skip
    given = kipoi.get_model("two", source="dir").predict_on_batch(sequences())
    assert {name: value.shape for name, value in given.items()} == {"binding": (2, 1), "access": (2, 2)}


def test_what_cannot_be_written(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    plain = [files.named(), "--weights", files.weights]
    assert "--kipoi writes a folder" in refused(capsys, *plain, "--kipoi", "-o", "x.yaml")
    member = [*plain, "--member", files.weights]
    assert "no models of several members" in refused(capsys, *member, "--kipoi", "-o", "x")
    toy = make_toy(Path("toy"))
    assert "made from Python code" in refused(capsys, toy.model, "--kipoi", "-o", "x")
    Path("here.yaml").write_text("mine")
    assert "here.yaml" in refused(capsys, *plain, "-o", "here.yaml")
    assert Path("here.yaml").read_text() == "mine"
    assert "a name for each" in refused(capsys, *plain, "--outputs", "a", "--kipoi", "-o", "x")
    assert not Path("x").exists()
