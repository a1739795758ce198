"""One engine for a run: every process of it is told the name, and none chooses for itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import substitutions
from torch import nn
from variant_world import LENGTH as WINDOW
from variant_world import random_sequence, tiny_net, write_fasta, write_vcf
from zoo import LENGTH, build

import kipoi_mcdropout as mcd
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.engine import Engines, IncrementalEngine
from kipoi_mcdropout.engine.explain import engine_plan, seconds_per_pair
from kipoi_mcdropout.engine.incremental.rules.convolution import Convolution
from kipoi_mcdropout.model.adapter import KipoiModel
from kipoi_mcdropout.model.model import Model
from kipoi_mcdropout.plugin.mutation import MCDropoutISM
from kipoi_mcdropout.sequence.one_hot import OneHotLayout
from kipoi_mcdropout.vcf.scoring import EngineChoice

pytestmark = pytest.mark.usefixtures("small_models_are_captured")


@pytest.fixture(autouse=True)
def any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the smallest networks are worth the incremental engine."""
    monkeypatch.setattr("kipoi_mcdropout.engine.choose._MUST_WORK", 0)


class AnyLength(nn.Module):
    """Takes sequences of any length."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.dropout(torch.relu(self.conv(x)), 0.2, self.training)
        return x.mean(2)[:, :3]


def ism(net: nn.Module, **options: Any) -> MCDropoutISM:
    return MCDropoutISM(SimpleNamespace(model=net, schema=None), None, category_axis=0, **options)


def one_hot(length: int) -> np.ndarray:
    codes = np.random.default_rng(0).integers(0, 4, (1, length))
    return np.eye(4, dtype=np.float32)[codes].transpose(0, 2, 1)


def test_a_fixed_engine_serves_sequences_of_any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = ism(AnyLength())
    choice = scorer.mutagenesis.fix_engine(one_hot(60))
    assert choice.engine == "incremental"
    monkeypatch.setattr(Engines, "choose", None)
    assert scorer.mutagenesis.choice(one_hot(31)) == choice
    assert scorer.score(one_hot(31))["diff"]["effect_sd"].shape == (1, 4, 31, 3)


def test_without_it_each_shape_has_its_own_choice() -> None:
    short, long = one_hot(6), one_hot(60)
    forwards, backwards = ism(AnyLength(), n_draws=2), ism(AnyLength(), n_draws=2)
    one = [str(forwards.mutagenesis.choice(x)) for x in (short, long)]
    other = [str(backwards.mutagenesis.choice(x)) for x in (long, short)]
    assert one == other[::-1]
    assert one[0] != one[1]


def test_a_named_engine_is_not_questioned() -> None:
    choice = ism(AnyLength(), engine="full").mutagenesis.choice(one_hot(60))
    assert str(choice) == "full, as requested"


def test_an_engine_that_fails_is_said_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Convolution, "__init__", lambda *_: [][0])
    scorer = ism(AnyLength(), n_draws=2)
    with pytest.warns(UserWarning, match=r"engine: full, the rule .* conv1d in module 'conv' failed"):
        scorer.score(one_hot(60))
    scorer.score(one_hot(60))  # once is enough


def test_variant_jobs_get_the_decided_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kipoi_mcdropout.engine.choose._MUST_GAIN", 0.7)
    model = Model(build("dense_dropout_only", torch.float32), input_shape=(4, LENGTH))
    asked = EngineChoice("auto", 32, 10**9, False)
    decided, choice = asked.decide(model, MaskBank(0), 512, 512, 1, 4, (True,))
    assert decided.engine == (choice.engine,) == ("incremental",)
    (member,) = decided.members(model, MaskBank(0), (True,))
    assert isinstance(member.engine.engine, IncrementalEngine)
    # References are run whole by both engines, so half of the cost stays.
    assert choice.reason.startswith("estimated at 0.6")


def test_short_runs_are_those_of_few_units() -> None:
    """What a trial costs is paid once a run, not once a sequence."""
    scorer = ism(AnyLength(), n_draws=2)
    few, many = scorer.mutagenesis, ism(AnyLength(), n_draws=2).mutagenesis
    x = one_hot(20)  # 60 mutants, and 180 forward passes
    assert few.fix_engine(x, 2).reason.startswith("because 360 forward passes are too few")
    assert many.fix_engine(x, 3).reason.startswith("estimated at")


def test_the_number_of_sequences_is_that_of_the_run() -> None:
    model = Model(AnyLength(), input_shape=(4, 20))
    for n, words in ((2, "because 360"), (3, "estimated at")):
        effects = mcd.ism(model, np.repeat(one_hot(20), n, 0), n_draws=2)
        assert effects.provenance["engine_reason"].startswith(words)


def test_a_vcf_is_as_long_as_it_is(tmp_path: Path) -> None:
    """The number of its records counts, not that of the largest chunk."""
    text = random_sequence(20 * WINDOW, 0)
    fasta = write_fasta(tmp_path / "genome.fa", {"chr1": text})
    model = mcd.Model(tiny_net(), input_shape=(4, WINDOW))
    for n, words in ((133, "because 399 forward passes"), (134, "estimated at")):
        places = [WINDOW + 2 * i for i in range(n)]
        records = [f"chr1 {i + 1} . {text[i]} {'C' if text[i] != 'C' else 'G'} . . ." for i in places]
        effects = mcd.score_variants(
            model, write_vcf(tmp_path / f"{n}.vcf", records), fasta, n_draws=2
        )
        assert effects.provenance["engine_reason"].startswith(words)


class Counting:
    """An engine that takes so many seconds for a mutant in a draw."""

    def __init__(self, per_pair: float) -> None:
        self.per_pair, self.time, self.runs = per_pair, 0.0, 0

    def run(self, batch: Any, draws: Any, selected: Any = None) -> Iterator[Any]:
        self.runs += 1
        self.time += self.per_pair * batch.n_mutants * len(draws)
        yield from ()


@pytest.mark.parametrize(("per_pair", "runs"), [(60.0, 1), (0.5, 1), (0.1, 2), (0.001, 4)])
def test_audit_times_for_seconds_only(per_pair: float, runs: int) -> None:
    trials = [(substitutions(LENGTH, only=n), range(d)) for n, d in ((2, 1), (16, 2), (60, 4), (150, 4))]
    engine = Counting(per_pair)
    found = seconds_per_pair(engine, trials, 10.0, lambda: engine.time)
    assert found == pytest.approx(per_pair)
    assert engine.runs == runs
    assert engine.time <= max(10, 2 * per_pair)


def test_audit_says_what_takes_time() -> None:
    said: list[str] = []
    model = KipoiModel(build("dense_dropout_only", torch.float32))
    x = model.arrays(one_hot(LENGTH))
    plan = engine_plan(model.locked, x, None, OneHotLayout.of(x, 0), said.append)
    assert plan.engine == "incremental"
    assert plan.seconds > 0
    assert [text.split(":")[0] for text in said] == [
        "choosing the engine", "timing the engine incremental",
    ]  # fmt: skip
