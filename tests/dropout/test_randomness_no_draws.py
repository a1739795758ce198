"""n_draws = 0: predictions and effects with dropout off, of any model whose prediction is not random."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from toy import LENGTH, ToyNet, make_toy
from variant_call import score_variants

from kipoi_mcdropout.cli import cli_main, interpret_ism
from kipoi_mcdropout.errors import UnlockableDropoutError
from kipoi_mcdropout.plugin.mutation import MCDropoutISM
from kipoi_mcdropout.runs.predict import mc_predict

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")


class Randomised(nn.Module):
    """The toy network with something before it."""

    def __init__(self, net: nn.Module, before: nn.Module) -> None:
        super().__init__()
        self.before, self.net = before, net

    def forward(self, seq: Tensor) -> Tensor:
        return self.net(self.before(seq))


class DropPath(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x.new_empty(len(x), 1, 1).bernoulli_(0.5) / 0.5 if self.training else x


class LayerDrop(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x if self.training and random.random() < 0.5 else x


class NoTraining(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            raise ValueError("no training here")
        return x


class AlwaysRandom(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + random.random()


def plain() -> ToyNet:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return ToyNet(0.0)


MODELS = {
    "no dropout": lambda net: net,
    "DropPath": lambda net: Randomised(net, DropPath()),
    "LayerDrop": lambda net: Randomised(net, LayerDrop()),
    "no training mode": lambda net: Randomised(net, NoTraining()),
    "TorchScript": lambda net: torch.jit.script(net.eval()),
    "a scripted part": lambda net: Randomised(net, torch.jit.script(nn.Dropout(0.5))),
}


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.eye(4, dtype=np.float32)[np.random.default_rng(5).integers(0, 4, (3, LENGTH))]


@pytest.mark.parametrize("name", MODELS)
def test_point_predictions(name: str, x: np.ndarray) -> None:
    net = plain().eval()
    with torch.no_grad():
        expected = net(torch.from_numpy(x)).double().numpy()
    got = mc_predict(MODELS[name](net), x, n_draws=0)
    np.testing.assert_allclose(got.point, expected, rtol=1e-6)
    assert got.n_draws == 0
    assert got.n_nonfinite.sum() == 0
    assert all(np.isnan(values).all() for values in (got.mean, got.var, got.sd, got.mcse))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("engine", ["auto", "full"])
def test_point_effects_of_mutagenesis(name: str, engine: str, x: np.ndarray) -> None:
    net = plain().eval()
    ism = MCDropoutISM(MODELS[name](net), 0, n_draws=0, start=3, end=6, engine=engine)
    scores = ism.score(x[:1])["diff"]
    with torch.no_grad():
        reference = net(torch.from_numpy(x[:1]))
        for position in range(3, 6):
            for base in range(4):
                mutant = x[:1].copy()
                mutant[0, position] = np.eye(4)[base]
                expected = (net(torch.from_numpy(mutant)) - reference)[0].double().numpy()
                got = scores["effect_point"][0, position - 3, base]  # the window alone
                if x[0, position, base]:
                    assert np.isnan(got).all()
                else:
                    np.testing.assert_allclose(got, expected, atol=1e-6)
    assert np.isnan(scores["effect_sd"]).all()


@pytest.mark.parametrize("name", MODELS)
def test_point_effects_of_variants(name: str, tmp_path: Path) -> None:
    bases = "".join(np.random.default_rng(2).choice(list("ACGT"), 60))
    (tmp_path / "g.fa").write_text(f">c\n{bases}\n")
    alt = "ACGT"[("ACGT".index(bases[29]) + 1) % 4]
    (tmp_path / "in.vcf").write_text(
        "##fileformat=VCFv4.2\n##contig=<ID=c,length=60>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
        f"c\t30\t.\t{bases[29]}\t{alt}\t.\t.\t.\n"
    )
    net = plain().eval()
    score_variants(
        MODELS[name](net), tmp_path / "in.vcf", tmp_path / "g.fa", tmp_path / "out.vcf",
        tmp_path / "out.parquet", n_draws=0, length=LENGTH, category_axis=1,
    )  # fmt: skip
    row = pd.read_parquet(tmp_path / "out.parquet").iloc[0]
    start = 29 - (LENGTH - 1) // 2
    windows = [bases[start:29] + base + bases[30 : start + LENGTH] for base in (bases[29], alt)]
    one_hot = np.array([[[b == a for a in "ACGT"] for b in w] for w in windows], np.float32)
    with torch.no_grad():
        ref, mutant = net(torch.from_numpy(one_hot)).double().numpy()
    assert row.effect_point == pytest.approx(mutant[0] - ref[0], abs=1e-6)
    assert np.isnan(row.effect_sd)
    assert row.n_draws == 0
    assert "MCD" in (tmp_path / "out.vcf").read_text().splitlines()[-1]


def test_a_random_prediction_is_refused_without_draws_too(x: np.ndarray) -> None:
    model = Randomised(plain(), AlwaysRandom())
    for run in (
        lambda: mc_predict(model, x, n_draws=0),
        lambda: MCDropoutISM(model, 0, n_draws=0).score(x),
    ):
        with pytest.raises(
            UnlockableDropoutError, match=r"'before' \(AlwaysRandom\) uses Python's random"
        ):
            run()


@pytest.mark.parametrize("command", ["ism", "predict"])
def test_no_draws_on_the_command_line(command: str, tmp_path: Path) -> None:
    toy = make_toy(tmp_path / "toy", p=0.0)
    words: list[Any] = [
        toy.model,
        "--source",
        "dir",
        "--dataloader_args",
        json.dumps(toy.dataloader_args),
    ]
    words += ["--n_draws", "0", "-o", tmp_path / "out.tsv", tmp_path / "out.h5"]
    words = list(map(str, words))
    if command == "ism":
        interpret_ism("ism", [*words, "--model_input", "seq", "--start", "2", "--end", "4"])
    else:
        cli_main("mcdropout", [command, *words])
    table = pd.read_table(tmp_path / "out.tsv", skiprows=1)
    point = table["effect_point" if command == "ism" else "point"]
    assert point.notna().all()
    assert (point != 0).any()
    assert table["effect_sd" if command == "ism" else "sd"].isna().all()
