"""The incremental engine equals the oracle on networks that use every rule."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import DRAWS, error_against_oracle, kinds, substitutions, with_mutants
from zoo import LENGTH, ZOO, build

from kipoi_mcdropout.engine.incremental.tail import Tail
from kipoi_mcdropout.sequence.one_hot import OneHotLayout

pytestmark = pytest.mark.no_cover  # it takes twice the time, and other tests run the same lines


@pytest.mark.parametrize("name", ZOO)
def test_float64(name: str) -> None:
    error, _ = error_against_oracle(build(name), substitutions(LENGTH))
    assert error < 1e-10


@pytest.mark.parametrize("name", ZOO)
def test_float32_and_several_references(name: str) -> None:
    batch = substitutions(LENGTH, references=3, only=25, dtype=np.float32, seed=4)
    error, _ = error_against_oracle(build(name, torch.float32), batch)
    assert error < 1e-5


@pytest.mark.parametrize("name", ZOO)
def test_insertions_deletions_and_runs_of_bases(name: str) -> None:
    rng = np.random.default_rng(7)
    references = rng.integers(0, 4, (2, LENGTH)).astype(np.uint8)
    owner, mutants = [], []
    for r in range(2):
        for position, n_deleted, n_inserted in (
            (0, 0, 1), (3, 2, 2), (10, 1, 0), (20, 5, 5), (31, 0, 7), (LENGTH - 2, 2, 2),
            (LENGTH - 1, 1, 1), (50, 3, 0), (25, 13, 13),
        ):  # fmt: skip
            inserted = rng.integers(0, 4, n_inserted)
            left, right = references[r, :position], references[r, position + n_deleted :]
            tail = rng.integers(0, 4, 8)
            mutants.append(np.concatenate([left, inserted, right, tail])[:LENGTH])
            owner.append(r)
        mutants.append(references[r].copy())
        owner.append(r)
    unknown = references[0].copy()
    unknown[[5, 6]] = 4, 5
    codes = np.stack([*mutants, unknown]).astype(np.uint8)
    batch = with_mutants(OneHotLayout((4, LENGTH), 0), references, codes, [*owner, 0])
    error, _ = error_against_oracle(build(name), batch)
    assert error < 1e-10


@pytest.mark.parametrize("name", ["deepsea", "DummyAxis"])
def test_nothing_dropped_is_computed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    original = Tail.run
    monkeypatch.setattr(Tail, "pays", lambda *_: True)
    monkeypatch.setattr(Tail, "run", lambda *a: runs.append(1) or original(*a))
    for batch in (substitutions(LENGTH), substitutions(LENGTH, references=3, only=20)):
        error, _ = error_against_oracle(build(name), batch)
        assert error < 1e-10
    assert runs


def test_what_is_local_is_not_computed_densely() -> None:
    _, plan = error_against_oracle(build("Gated"), substitutions(LENGTH))
    local = ("conv1d", "layer_norm", "glu", "softmax", "site", "pad", "mul", "transpose", "exp")
    assert {kinds(plan)[name] for name in local} == {"windows"}
    _, plan = error_against_oracle(build("BothStrands"), substitutions(LENGTH))
    assert [s.kind for s in plan.steps.values() if s.node.name == "conv1d"] == ["windows"] * 3
    _, plan = error_against_oracle(build("SqueezeExcite"), substitutions(LENGTH))
    assert kinds(plan)["site"] == "windows"
    assert kinds(plan)["mul"] == "dense"


@pytest.mark.parametrize("memory_bytes", [3_000, 60_000, 10**9])
@pytest.mark.parametrize("name", ["deepsea", "Attention", "Dilated"])
def test_any_memory_budget(name: str, memory_bytes: int) -> None:
    batch = substitutions(LENGTH, references=2, only=40)
    error, _ = error_against_oracle(build(name), batch, memory_bytes=memory_bytes)
    assert error < 1e-10


@pytest.mark.parametrize("draws", [(-1,), (4,), tuple(range(19)), (3, 1, -1, 2)])
def test_any_draws(draws: tuple[int, ...]) -> None:
    error, _ = error_against_oracle(build("deepsea"), substitutions(LENGTH, only=30), draws)
    assert error < 1e-10


def test_one_mutant_of_one_reference() -> None:
    for name in ("deepsea", "Recurrent", "Dilated"):
        error, _ = error_against_oracle(build(name), substitutions(LENGTH, only=1), DRAWS)
        assert error < 1e-10
