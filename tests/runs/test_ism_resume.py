"""A run of ISM that was stopped goes on, and its files are those of the run that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import pandas as pd
import pytest
from run_world import N_SEQUENCES, World, contents, make_world, same_date

from kipoi_mcdropout.effects import summarize_effects
from kipoi_mcdropout.ism_run import spool as spool_module
from kipoi_mcdropout.results import read_effects

FILES = ["out.h5", "out.tsv", "out.tsv.gz", "out.parquet"]
OPTIONS = ["-s", "diff", "logit", "--quantiles", "0.1", "--keep_draws"]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    same_date(monkeypatch)
    world = make_world(tmp_path)
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    return world


def words(world: World, name: str, *more: str) -> list[str]:
    return [*OPTIONS, *more, "-o", *(str(world.folder / name / file) for file in FILES)]


class Stop(BaseException):
    """As a kill would have it: no handler of ours knows it."""


def stop_after(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    save = spool_module.Spool.save
    saved: list[int] = []

    def stopping(self: Any, *args: Any) -> None:
        if len(saved) == n:
            raise Stop
        saved.append(1)
        save(self, *args)

    monkeypatch.setattr(spool_module.Spool, "save", stopping)


@pytest.mark.parametrize("n", [1, 4])
def test_a_stopped_run_goes_on_to_the_same_bytes(
    world: World, monkeypatch: pytest.MonkeyPatch, n: int
) -> None:
    with monkeypatch.context() as patch:
        stop_after(n, patch)
        with pytest.raises(Stop):
            world.ism(*words(world, "stopped"))
    left = os.listdir(world.folder / "stopped")
    assert left == [".out.h5.spool"], "nothing half-written under an output's name"
    computed: list[int] = []

    def counting(*args: Any, **keywords: Any) -> Any:
        computed.append(1)
        return summarize_effects(*args, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr("kipoi_mcdropout.saturation.summarize_effects", counting)
        world.ism(*words(world, "stopped", "--resume"))
    assert len(computed) == N_SEQUENCES - n, "finished sequences are not computed again"
    world.ism(*words(world, "whole"))
    assert sorted(os.listdir(world.folder / "stopped")) == sorted(FILES)
    with (
        h5py.File(world.folder / "stopped/out.h5") as mine,
        h5py.File(world.folder / "whole/out.h5") as other,
    ):
        commands = [file.attrs["provenance"] for file in (mine, other)]
    assert commands[0].replace(', "--resume"', "").replace("stopped/", "whole/") == commands[1]
    assert len(contents(world.folder / "stopped", FILES)["out.h5"]) > 1000
    for name in FILES:
        pd.testing.assert_frame_equal(
            read_effects(world.folder / "stopped" / name), read_effects(world.folder / "whole" / name)
        )


KILLED = """
import os, signal, sys
sys.path[:0] = sys.argv[1:3]
from kipoi_mcdropout.ism_run import spool
from run_world import World
import test_ism_resume as t
from pathlib import Path
folder = Path(sys.argv[3])
save = spool.Spool.save
def kill(self, record, digest):
    if record.index == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    save(self, record, digest)
spool.Spool.save = kill
world = World(folder, folder / "model", folder / "genome.fa", folder / "regions.bed", folder / "in.vcf")
world.ism(*t.words(world, "stopped"))
"""


def test_sigkill_and_resume(world: World) -> None:
    here = Path(__file__).parent
    command = [sys.executable, "-c", KILLED, str(here), str(here.parent), str(world.folder)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert (world.folder / "stopped/.out.h5.spool/000000002.npz").is_file()
    world.ism(*words(world, "stopped", "--resume"))
    world.ism(*words(world, "whole"))
    left = {name for name in os.listdir(world.folder / "stopped") if not name.endswith(".partial")}
    assert left == set(FILES)
    for name in FILES:
        pd.testing.assert_frame_equal(
            read_effects(world.folder / "stopped" / name), read_effects(world.folder / "whole" / name)
        )


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
        assert f"different: {named}" in capsys.readouterr().err
    world.bed.write_text("".join(world.bed.read_text().splitlines(keepends=True)[::-1]))
    with pytest.raises(SystemExit):
        world.ism(*words(world, "stopped", "--resume"))
    assert "different: files" in capsys.readouterr().err
    assert os.listdir(world.folder / "stopped") == [".out.h5.spool"]
    world.ism(*words(world, "stopped"))  # without --resume it begins anew
    assert sorted(os.listdir(world.folder / "stopped")) == sorted(FILES)


def test_other_sequences_from_the_same_files_are_noticed(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        stop_after(2, patch)
        with pytest.raises(Stop):
            world.ism(*words(world, "stopped"))
    loader = world.model / "dataloader.py"
    loader.write_text(loader.read_text().replace("self.rows = [", "self.rows = [*reversed([", 1).replace(
        "for c, s, e, n in lines]", "for c, s, e, n in lines])]", 1
    ))  # fmt: skip
    with pytest.raises(SystemExit) as stop:
        world.ism(*words(world, "stopped", "--resume"))
    assert stop.value.code == 2
    assert "gives another sequence 0" in capsys.readouterr().err


def test_a_sequence_that_fails_stops_the_run_or_is_named(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.set_trap("raise")
    with pytest.raises(SystemExit) as stop:
        world.ism(*words(world, "stopped"))
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert "sequence 4 (region4): RuntimeError: the trap has sprung" in error
    assert "--on_error skip" in error and "kept for --resume" in error
    world.ism(*words(world, "stopped", "--resume", "--on_error", "skip"))
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
