"""How many inputs are run at a time where nobody says it: as many as fit into memory, at most 32."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_models import LENGTH, Linear, fixed, one_hot
from torch import Tensor

import kipoi_mcdropout as mcd
from kipoi_mcdropout.cli.commands import ism, predict, score_variants
from kipoi_mcdropout.dropout.locked_model import POINT, LockedModel
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.engine import Engines, Job
from kipoi_mcdropout.engine.full import FullEngine
from kipoi_mcdropout.engine.incremental.example import example_batch
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.sequence.mutants import MutantBatch
from kipoi_mcdropout.sequence.one_hot import OneHotLayout

# The largest module is Flatten: 160 numbers in and 160 out, and twice that for what lies beside it.
BYTES = 2 * (160 + 160) * 4
SEEN: list[int] = []


class Watched(Linear):
    """Notes the size of each batch."""

    def forward(self, x: Tensor) -> Tensor:
        SEEN.append(len(x))
        return super().forward(x)


@pytest.fixture
def model() -> LockedModel:
    return LockedModel(fixed(Watched()))


@pytest.fixture
def batch() -> MutantBatch:
    return example_batch(one_hot(1), None, OneHotLayout((4, LENGTH), 0), 40)


@pytest.mark.parametrize(
    ("memory", "n"),
    [(0, 1), (BYTES, 1), (2 * BYTES - 1, 1), (7 * BYTES, 7), (32 * BYTES, 32), (10**9, 32)],
)
def test_as_many_as_fit(model: LockedModel, memory: int, n: int) -> None:
    x = torch.from_numpy(one_hot(5))
    with model.borrow():
        assert model.bytes_of_one(x) == BYTES
        assert model.fitting(x, memory) == n


@pytest.mark.parametrize(("memory", "n"), [(7 * BYTES, 7), (10**9, 32)])
def test_the_full_engine_runs_so_many(
    model: LockedModel, batch: MutantBatch, memory: int, n: int
) -> None:
    with model.borrow():
        expected = model.outputs(torch.from_numpy(batch.inputs(slice(0, 40))), 0, MaskBank(0))
        model.plan(torch.from_numpy(batch.references))
        SEEN.clear()
        blocks = list(FullEngine(model, MaskBank(0), None, memory).run(batch, [0]))
    assert [1, *[n] * (40 // n), 40 % n] == SEEN
    assert torch.allclose(torch.cat([b.alt[0] for b in blocks]), expected, atol=1e-6)


def test_a_number_that_is_given_is_taken(model: LockedModel, batch: MutantBatch) -> None:
    with model.borrow():
        model.plan(torch.from_numpy(batch.references))
        SEEN.clear()
        list(FullEngine(model, MaskBank(0), 40, BYTES).run(batch, [POINT]))
    assert SEEN == [1, 40]


def test_a_run_takes_the_memory_that_it_is_given() -> None:
    table = {}
    SEEN.clear()
    for memory in (3 * BYTES, None):
        running = mcd.RunOptions(engine="full", memory_bytes=memory)
        net = mcd.Model(fixed(Watched()))
        table[memory] = mcd.ism(net, one_hot(1), n_draws=3, running=running).table()
        assert (3 in SEEN) == (memory is not None)
        assert max(SEEN) == (3 if memory else 32)
        SEEN.clear()
    columns = ["effect_mean", "effect_sd"]
    assert np.allclose(table[None][columns], table[3 * BYTES][columns], atol=1e-6)


def test_predictions_run_so_many() -> None:
    SEEN.clear()
    mcd.mc_predict(mcd.Model(fixed(Watched())), one_hot(40), n_draws=2)
    assert max(SEEN) == 32
    SEEN.clear()
    mcd.mc_predict(mcd.Model(fixed(Watched())), one_hot(40), n_draws=2, batch_size=5)
    assert max(SEEN) == 5


def test_a_model_larger_than_the_memory_is_not_tried(model: LockedModel, batch: MutantBatch) -> None:
    """A trial runs several inputs at a time."""
    job = Job(10**6, 30)
    with model.borrow():
        choices = [
            Engines(model, MaskBank(0), memory_bytes=memory).choose(
                batch.references, None, batch.layout, job
            )
            for memory in (BYTES - 1, BYTES)
        ]
    assert choices[0].engine == "full"
    assert choices[0].reason.startswith("because one input takes about")
    assert choices[1].reason.startswith("estimated at")


def test_commands_leave_it_open() -> None:
    for command in (ism, predict, score_variants):
        assert command.get_parser().get_default("batch_size") is None


@pytest.mark.parametrize("size", [0, -1, 2.5, True])
def test_other_sizes_are_refused(size: object) -> None:
    with pytest.raises(InputError, match="batch_size must be"):
        mcd.RunOptions(batch_size=size)  # type: ignore[arg-type]
