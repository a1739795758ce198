"""Results depend on the model, the inputs and the options, never on what was run before."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import collect, substitutions
from torch import nn
from zoo import LENGTH, ZOO, build

from kipoi_mcdropout.dropout.locked_model import LockedModel
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.engine import IncrementalEngine
from kipoi_mcdropout.engine.incremental.references import References
from kipoi_mcdropout.plugin.mutation import MCDropoutISM
from kipoi_mcdropout.sequence.mutants import MutantBatch

ISM_LENGTH = 240
MEMORY = 3_000_000  # so little that a sequence is cut into several slices


def network() -> nn.Module:
    torch.manual_seed(0)
    positions = ((ISM_LENGTH - 7) // 4 - 4) // 2 - 4
    return nn.Sequential(
        nn.Conv1d(4, 24, 8), nn.ReLU(), nn.MaxPool1d(4), nn.Dropout(0.2), nn.Conv1d(24, 32, 5),
        nn.ReLU(), nn.MaxPool1d(2), nn.Dropout(0.2), nn.Conv1d(32, 48, 5), nn.ReLU(), nn.Dropout(0.5),
        nn.Flatten(), nn.Linear(48 * positions, 20), nn.ReLU(), nn.Linear(20, 5), nn.Sigmoid(),
    )  # fmt: skip


def scorer(engine: str) -> MCDropoutISM:
    model = SimpleNamespace(model=network(), schema=None)
    return MCDropoutISM(
        model, None, category_axis=0, n_draws=6, engine=engine, memory_bytes=MEMORY, verify=False
    )


@pytest.fixture(scope="module", autouse=True)
def _captured_however_small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kipoi_mcdropout.engine.choose._CAPTURE_SHARE", float("inf"))
        yield


@pytest.fixture(scope="module")
def sequences() -> np.ndarray:
    """Four sequences, of which only the first 40 bases of the first are known."""
    codes = np.random.default_rng(3).integers(0, 4, (4, ISM_LENGTH))
    x = np.eye(4, dtype=np.float32)[codes].transpose(0, 2, 1).copy()
    x[0, :, 40:] = 0.25
    return x


@pytest.fixture(scope="module", params=["auto", "incremental"])
def alone(request: pytest.FixtureRequest, sequences: np.ndarray) -> tuple[str, list[Any]]:
    """Each sequence by itself, in a process that has done nothing else."""
    engine = request.param
    return engine, [list(flat(scorer(engine), x[None])) for x in sequences]


def flat(ism: MCDropoutISM, batch: np.ndarray) -> Any:
    """All arrays of all sequences of a batch."""
    for effects in ism.effects(batch):
        for summary in effects.summaries:
            yield {**summary.reference, **summary.mutant}


def test_auto_runs_the_incremental_engine(sequences: np.ndarray) -> None:
    assert scorer("auto").mutagenesis.choice(sequences).engine == "incremental"


@pytest.mark.parametrize(
    "batches", [[[0, 1, 2, 3]], [[0], [1], [2, 3]], [[3, 2], [1, 0]], [[1, 0, 1]]], ids=str
)
def test_ism_is_the_same_after_other_sequences(
    batches: list[list[int]], sequences: np.ndarray, alone: tuple[str, list[Any]]
) -> None:
    engine, expected = alone
    ism = scorer(engine)
    for rows in batches:
        for row, found in zip(rows, flat(ism, sequences[rows]), strict=True):
            for name, values in expected[row][0].items():
                np.testing.assert_array_equal(found[name], values, err_msg=f"{name} of {row}")


@pytest.mark.parametrize("name", ["deepsea", "Gated", "BothStrands", "Dilated"])
def test_a_batch_is_the_same_after_other_batches(name: str) -> None:
    def engine() -> IncrementalEngine:
        return IncrementalEngine(model, MaskBank(3), memory_bytes=200_000)

    def run(engine: IncrementalEngine, batch: MutantBatch) -> list[torch.Tensor]:
        with model.borrow():
            return list(collect(engine, batch, [-1, 0, 1, 2]))

    model = LockedModel(build(name, torch.float32))
    one = substitutions(LENGTH, only=150, dtype=np.float32)
    many = substitutions(LENGTH, references=9, only=5, dtype=np.float32, seed=1)
    few = substitutions(LENGTH, references=2, only=2, dtype=np.float32, seed=2)
    fresh = [run(engine(), batch) for batch in (one, many, few)]
    used = engine()
    for i, batch in ((2, few), (1, many), (0, one), (1, many), (2, few), (0, one)):
        for a, b in zip(run(used, batch), fresh[i], strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("name", ZOO)
def test_what_is_looked_at_is_told_by_the_plan(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[References] = []
    original = References.__init__

    def init(self: References, *arguments: Any) -> None:
        original(self, *arguments)
        made.append(self)

    monkeypatch.setattr(References, "__init__", init)
    model = LockedModel(build(name))
    engine = IncrementalEngine(model, MaskBank(3))
    with model.borrow():
        for batch in (substitutions(LENGTH), substitutions(LENGTH, references=3, only=9)):
            collect(engine, batch, [-1, 0])
            assert made[-1].wanted == engine.compiled(batch).looked_at
