"""A run of ISM that was stopped goes on, and its files are those of the run that was not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from run_world import N_SEQUENCES, World, contents, make_world, same_date

from kipoi_mcdropout.effects.members import summarize_members
from kipoi_mcdropout.files.read import read_effects
from kipoi_mcdropout.runs.store import UnitStore

FILES = ["out.h5", "out.tsv", "out.tsv.gz", "out.parquet"]
OPTIONS = ["-s", "diff", "logit", "--quantiles", "0.1", "--keep_draws"]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    same_date(monkeypatch)
    world = make_world(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    return world


def words(world: World, name: str, *more: str) -> list[str]:
    os.chdir(world.folder / name)  # so that the commands, which are recorded, can be the same
    return [*OPTIONS, *more, "-o", *FILES]


class Stop(BaseException):
    """As a kill would have it: no handler of ours knows it."""


def stop_after(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    save = UnitStore.save
    saved: list[int] = []

    def stopping(self: Any, *args: Any) -> None:
        if len(saved) == n:
            raise Stop
        saved.append(1)
        save(self, *args)

    monkeypatch.setattr(UnitStore, "save", stopping)


@pytest.mark.parametrize("n", [1, 4])
def test_a_stopped_run_goes_on_to_the_same_bytes(
    world: World, monkeypatch: pytest.MonkeyPatch, n: int
) -> None:
    with monkeypatch.context() as patch:
        stop_after(n, patch)
        with pytest.raises(Stop):
            world.ism(*words(world, "stopped"))
    left = os.listdir(world.folder / "stopped")
    assert left == [".out.h5.units"], "nothing half-written under an output's name"
    computed: list[int] = []

    def counting(*args: Any, **keywords: Any) -> Any:
        computed.append(1)
        return summarize_members(*args, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr("kipoi_mcdropout.effects.saturation.summarize_members", counting)
        world.ism(*words(world, "stopped", "--resume"))
    assert len(computed) == N_SEQUENCES - n, "finished sequences are not computed again"
    world.ism(*words(world, "whole"))
    assert sorted(os.listdir(world.folder / "stopped")) == sorted(FILES)
    assert contents(world.folder / "stopped", FILES) == contents(world.folder / "whole", FILES)


def test_another_run_cannot_be_resumed(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        stop_after(2, patch)
        with pytest.raises(Stop):
            world.ism(*words(world, "stopped"))
    for option, named in (
        ("--seed 1", "seed"),
        ("--quantiles 0.2", "quantiles"),
        ("--start 2", "start"),
    ):
        with pytest.raises(SystemExit) as stop:
            world.ism(*words(world, "stopped", "--resume", *option.split()))
        assert stop.value.code == 2
        assert f"they differ in: {named}" in capsys.readouterr().err
    world.bed.write_text("".join(world.bed.read_text().splitlines(keepends=True)[::-1]))
    with pytest.raises(SystemExit):
        world.ism(*words(world, "stopped", "--resume"))
    assert "they differ in: files" in capsys.readouterr().err
    assert os.listdir(world.folder / "stopped") == [".out.h5.units"]
    world.ism(*words(world, "stopped"))  # without --resume it begins anew
    assert sorted(os.listdir(world.folder / "stopped")) == sorted(FILES)


def test_other_sequences_from_the_same_files_are_noticed(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loader = world.model / "dataloader.py"
    order = 'lines][:: -1 if __import__("os").path.exists(intervals_file + ".reversed") else 1]'
    loader.write_text(loader.read_text().replace("lines]", order, 1))
    with monkeypatch.context() as patch:
        stop_after(2, patch)
        with pytest.raises(Stop):
            world.ism(*words(world, "stopped"))
    world.bed.with_name(world.bed.name + ".reversed").touch()
    with pytest.raises(SystemExit) as stop:
        world.ism(*words(world, "stopped", "--resume"))
    assert stop.value.code == 2
    assert "unit 0 of the data has changed" in capsys.readouterr().err


def test_a_sequence_that_fails_stops_the_run_or_is_named(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.set_trap("raise")
    with pytest.raises(SystemExit) as stop:
        world.ism(*words(world, "stopped"))
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert "sequence 4 (region4): RuntimeError: the trap has sprung" in error
    assert "--on_error skip" in error
    assert "The finished part is kept: run the same command with --resume" in error
    world.ism(*words(world, "stopped", "--on_error", "skip", "--resume"))
    assert "1 sequences failed" in capsys.readouterr().err
    failed = pd.read_table(world.folder / "stopped/out.h5.failed.tsv")
    assert failed.values[:, :2].tolist() == [[4, "region4"]]
    assert "RuntimeError: the trap has sprung" in failed["reason"][0]
    assert "module 'ToyNet' (ToyNet), model.py line " in failed["reason"][0]
    world.remove_trap()
    world.ism(*words(world, "whole"))
    for name in FILES:
        kept = read_effects(world.folder / "stopped" / name)
        assert set(kept["sequence"]) == {0, 1, 2, 3, 5, 6}
        whole = read_effects(world.folder / "whole" / name)
        expected = whole[whole["sequence"] != 4].reset_index(drop=True)
        pd.testing.assert_frame_equal(kept, expected)


def test_a_failure_before_anything_was_done_leaves_nothing(world: World) -> None:
    with pytest.raises(SystemExit):
        world.ism(*words(world, "stopped", "--target", "nonsense"))
    assert os.listdir(world.folder / "stopped") == []
