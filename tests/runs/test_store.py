"""A store is taken up again, and merged with others, only if it is of the same run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.runs.merge import sharded_run
from kipoi_mcdropout.runs.store import RunState, UnitStore

STATE = RunState("ism", {"seed": 1}, {"n_draws": 2}, {"files": ["a.h5"]})


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (replace(STATE, fingerprint={"seed": 2}), "they differ in: seed."),
        (replace(STATE, kind="score_variants"), "they differ in: command."),
        (replace(STATE, shard=[1, 2]), "they differ in: shard."),
        (replace(STATE, fingerprint={"seed": 1, "x": 0}, shard=[1, 2]), "they differ in: x, shard."),
    ],
)
def test_a_run_is_resumed_only_with_the_same_options(
    tmp_path: Path, other: RunState, named: str
) -> None:
    store = UnitStore.begin(tmp_path / "store", STATE)
    store.update(complete=True)
    with pytest.raises(InputError, match=named):
        UnitStore.reopen(store.folder, other)
    assert UnitStore.reopen(store.folder, STATE).state == replace(STATE, complete=True)


def test_a_run_with_other_outputs_is_written_again_from_its_units(tmp_path: Path) -> None:
    store = UnitStore.begin(tmp_path / "store", STATE)
    store.update(complete=True)
    other = replace(STATE, outputs={"files": ["b.tsv"]})
    assert UnitStore.reopen(store.folder, other).state == other
    assert UnitStore.read(store.folder).state == other, "also on the disk"


def shard(folder: Path, index: int, n_units: int = 5) -> None:
    state = replace(STATE, shard=[index, 2], n_units=n_units, complete=True)
    UnitStore.begin(folder / f"shard{index}", state)


def test_shards_of_a_run_are_found_in_their_order(tmp_path: Path) -> None:
    shard(tmp_path, 2)
    shard(tmp_path, 1)
    assert sharded_run(tmp_path).state.shard == [1, 2]


def test_a_whole_run_is_no_shard(tmp_path: Path) -> None:
    shard(tmp_path, 1)
    UnitStore.begin(tmp_path / "whole", replace(STATE, n_units=5, complete=True))
    with pytest.raises(InputError, match="whole is a whole run and not a shard; move it out of"):
        sharded_run(tmp_path)


def test_shards_that_read_different_data_are_refused(tmp_path: Path) -> None:
    shard(tmp_path, 1, n_units=5)
    shard(tmp_path, 2, n_units=6)
    with pytest.raises(InputError, match="the shards read different numbers of units: 5, 6"):
        sharded_run(tmp_path)
