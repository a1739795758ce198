"""The commands with a Kipoi model of tokens: the numbers are those of the model of one-hot sequences."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from toy import LENGTH, Toy, make_toy
from variant_world import write_vcf

from kipoi_mcdropout.cli import cli_main

TOKENS = {"A": 5, "C": 6, "G": 7, "T": 8, "N": 1}
VOCABULARY = "A=5,C=6,G=7,T=8,N=1,prefix=2,suffix=3"
TOKENS_PY = """
import torch
from torch import nn


class ToyNet(nn.Module):
    def __init__(self, p=0.5):
        super().__init__()
        self.embed = nn.Embedding(9, 4)
        self.conv = nn.Conv1d(4, 6, 5, padding=2)
        self.drop = nn.Dropout(p)
        self.dense = nn.Linear(6 * 24, 3)

    def forward(self, seq):
        x = torch.relu(self.conv(self.embed(seq[:, 1:-1]).transpose(1, 2)))
        return torch.sigmoid(self.dense(self.drop(x).flatten(1)))
"""


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Toy, Toy, Path]:
    """The toy, the same with tokens, and a folder with a tokenizer."""
    plain = make_toy(tmp_path_factory.mktemp("plain"))
    other = make_toy(tmp_path_factory.mktemp("tokens"))
    (other.model / "model.py").write_text(TOKENS_PY)
    for name in ("model.yaml", "dataloader.yaml"):
        path = other.model / name
        path.write_text(path.read_text().replace("(24, 4)", "(26,)"))
    loader = other.model / "dataloader.py"
    old = 'one_hot = np.array([[base == letter for letter in "ACGT"] for base in text], np.float32)'
    assert old in loader.read_text()
    new = 'one_hot = np.array([2, *("?N???ACGT".index(base) for base in text), 3])'
    loader.write_text(loader.read_text().replace(old, new))
    weights = torch.load(other.model / "weights.pt")
    weights["embed.weight"] = torch.cat([torch.zeros(5, 4), torch.eye(4)])
    torch.save(weights, other.model / "weights.pt")
    tokenizer = tmp_path_factory.mktemp("tokenizer")
    (tokenizer / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"ACGT"])
    )
    (tokenizer / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    return plain, other, tokenizer


def run(*words: str) -> None:
    cli_main("mcdropout", list(words))


def test_ism(toys: tuple[Toy, Toy, Path], tmp_path: Path) -> None:
    plain, other, tokenizer = toys
    tables = {}
    for name, toy, more in (
        ("plain", plain, ()), ("text", other, ("--vocabulary", VOCABULARY)),
        ("folder", other, ("--vocabulary", str(tokenizer))),
        ("JSON", other, ("--imp_score_kwargs", json.dumps({"vocabulary": TOKENS}))),
    ):  # fmt: skip
        path = tmp_path / f"{name}.parquet"
        data = json.dumps(toy.dataloader_args)
        run("ism", str(toy.model), "--source", "dir", "--dataloader_args", data, "--model_input", "seq",
            "--n_draws", "3", "-o", str(path), *more)  # fmt: skip
        order = ["sequence", "position", "alt", "output"]
        tables[name] = pd.read_parquet(path).sort_values(order).reset_index(drop=True)
    assert len(tables["plain"]) == 3 * 3 * (3 * LENGTH - 2)
    for name, table in tables.items():
        assert table[["name", "pos", "ref", "alt"]].equals(
            tables["plain"][["name", "pos", "ref", "alt"]]
        )
        np.testing.assert_allclose(
            table["effect_mean"], tables["plain"]["effect_mean"], atol=1e-6, err_msg=name
        )


def test_score_variants(toys: tuple[Toy, Toy, Path], tmp_path: Path) -> None:
    plain, other, tokenizer = toys
    genome = plain.fasta.read_text().splitlines()[1].upper()
    records = [
        f"chr1 {p} . {genome[p - 1]} {'ACGT'.replace(genome[p - 1], '')[0]} . . ." for p in (3, 30, 40)
    ]
    vcf = write_vcf(tmp_path / "in.vcf", records, {"chr1": len(genome)})
    tables = []
    for toy, more in ((plain, ("--unknown", "zero")), (other, ("--vocabulary", str(tokenizer)))):
        path = tmp_path / f"{len(tables)}.parquet"
        run("score_variants", str(toy.model), "--source", "dir", "-i", str(vcf), "-f", str(toy.fasta),
            "-t", str(path), "--rc", "--n_draws", "3", *more)  # fmt: skip
        tables.append(pd.read_parquet(path))
    assert len(tables[0]) == 9
    assert tables[0]["effect_mean"].abs().min() > 0
    np.testing.assert_allclose(tables[1]["effect_mean"], tables[0]["effect_mean"], atol=1e-6)


def test_code_and_its_description(toys: tuple[Toy, Toy, Path], tmp_path: Path) -> None:
    """A network in a Python file: by flags, and by a mcdropout.yaml with the tokenizer beside it."""
    _, other, tokenizer = toys
    (tmp_path / "net.py").write_text(TOKENS_PY)
    weights = str(other.model / "weights.pt")
    genome = other.fasta.read_text().splitlines()[1].upper()
    alt = "C" if genome[39] == "A" else "A"
    vcf = write_vcf(tmp_path / "in.vcf", [f"chr1 40 . {genome[39]} {alt} . . ."])
    yaml = {"model": "net.py:ToyNet", "weights": weights, "vocabulary": "tokens", "input_shape": [26]}
    (tmp_path / "mcdropout.yaml").write_text(json.dumps(yaml))
    shutil.copytree(tokenizer, tmp_path / "tokens")
    tables = []
    for words in (
        [str(other.model), "--source", "dir", "--vocabulary", VOCABULARY],
        [
            f"{tmp_path}/net.py:ToyNet",
            "--weights",
            weights,
            "--vocabulary",
            VOCABULARY,
            "--length",
            "24",
        ],
        [str(tmp_path)],
        [str(tmp_path), "--vocabulary", "A=5,C=6,G=7,T=8,N=0,prefix=2,suffix=3"],
    ):
        path = tmp_path / f"{len(tables)}.parquet"
        run(
            "score_variants",
            *words,
            "-i",
            str(vcf),
            "-f",
            str(other.fasta),
            "-t",
            str(path),
            "--n_draws",
            "3",
        )
        tables.append(pd.read_parquet(path)["effect_mean"].tolist())
    assert tables[0] == tables[1] == tables[2] == tables[3]
    assert min(map(abs, tables[0])) > 0


def test_audit(toys: tuple[Toy, Toy, Path], capsys: pytest.CaptureFixture[str]) -> None:
    run("audit", str(toys[1].model), "--source", "dir", "--vocabulary", VOCABULARY)
    printed = capsys.readouterr().out
    (line,) = [line for line in printed.splitlines() if line.startswith("embedding")]
    assert line.split()[:3] == ["embedding", "embed", "windows,"]
    assert "difference of table rows" in line
    assert f"a sequence with {3 * LENGTH} substitutions" in printed
    with pytest.raises(SystemExit) as stopped:
        run("audit", str(toys[1].model), "--source", "dir")
    assert stopped.value.code == 2
    assert (
        "has an embedding and one input, of shape (26,). If these are tokens" in capsys.readouterr().err
    )
