"""Runs that are killed at any moment and resumed: the files are those of the run that was not killed.

KIPOI_MCDROPOUT_KILLS=20 kills so often at random moments; few moments are tried by default.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from killing import start, stop_when
from run_world import World, contents, make_folders

from kipoi_mcdropout.files.atomic import AtomicFile

KILLS = int(os.environ.get("KIPOI_MCDROPOUT_KILLS", "2"))
FILES = {
    "ism": ["out.h5", "out.tsv.gz", "out.parquet"],
    "score_variants": ["out.vcf.gz", "t.parquet", "s.tsv"],
}
WORDS = {
    "ism": ["-s", "diff", "logit", "--keep_draws", "-o", *FILES["ism"]],
    "score_variants": ["--q_values", "-o", "out.vcf.gz", "-t", "t.parquet", "--skipped", "s.tsv"],
}
COMMANDS = list(FILES)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return make_folders(tmp_path, monkeypatch, "whole", "killed")


def run_here(world: World, command: str, folder: str, *more: str) -> None:
    os.chdir(world.folder / folder)
    getattr(world, command)(*WORDS[command], *more)


def assert_as_whole(world: World, command: str) -> None:
    """Names and bytes are those of the run that was not killed; nothing is left behind."""
    assert sorted(os.listdir(world.folder / "killed")) == sorted(FILES[command])
    whole = contents(world.folder / "whole", FILES[command])
    assert contents(world.folder / "killed", FILES[command]) == whole


def a_moment(units: Path, outputs: list[Path], chance: random.Random) -> Callable[[], bool]:
    """Something to wait for: some more units, an output in the making, or one that has its name."""

    def n_units() -> int:
        return len(list(units.glob("*.unit")))

    kind, enough = chance.choice(["units", "units", "partial", "named"]), n_units() + chance.randrange(5)
    output = chance.choice(outputs)
    if kind == "units":
        return lambda: n_units() > enough
    if kind == "partial":
        return output.with_name(f".{output.name}.partial").exists
    return output.exists


@pytest.mark.parametrize("command", COMMANDS)
def test_killed_at_random_moments(world: World, command: str) -> None:
    run_here(world, command, "whole", "--resume")
    folder, chance = world.folder / "killed", random.Random(command)
    outputs = [folder / name for name in FILES[command]]
    units = folder / f".{FILES[command][0]}.units"
    kills = 0
    while kills < KILLS:
        process = start(world.folder, folder, command, [*WORDS[command], "--resume"])
        error = stop_when(process, a_moment(units, outputs, chance), after_s=chance.random() * 0.05)
        assert process.returncode in (0, -signal.SIGKILL), error
        if process.returncode == 0:
            assert_as_whole(world, command)
            shutil.rmtree(folder)
            folder.mkdir()
        kills += process.returncode != 0
    run_here(world, command, "killed", "--resume")
    assert_as_whole(world, command)


@pytest.mark.parametrize(
    ("command", "where"),
    [
        ("ism", "AtomicFile.rename.1"),
        ("score_variants", "AtomicFile.rename.2"),
        ("score_variants", "UnitStore.remove.0"),
    ],
)
def test_killed_while_outputs_get_their_names(world: World, command: str, where: str) -> None:
    folder = world.folder / "killed"
    process = start(world.folder, folder, command, WORDS[command], where)
    error = process.communicate()[1]
    assert process.returncode == -signal.SIGKILL, error
    named = [name for name in FILES[command] if (folder / name).exists()]
    assert len(named) == (3 if "remove" in where else int(where[-1]))
    run_here(world, command, "killed", "--resume")
    run_here(world, command, "whole")
    assert_as_whole(world, command)


class Stop(BaseException):
    """Nobody expects it."""


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("n", [0, 1, 2])
def test_an_error_while_outputs_get_their_names(
    world: World, command: str, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, calls = AtomicFile.rename, []

    def failing(self: AtomicFile) -> None:
        calls.append(1)
        if len(calls) > n:
            raise Stop
        rename(self)

    with monkeypatch.context() as patch:
        patch.setattr(AtomicFile, "rename", failing)
        with pytest.raises(Stop):
            run_here(world, command, "killed")
    run_here(world, command, "killed", "--resume")
    run_here(world, command, "whole")
    assert_as_whole(world, command)


@pytest.mark.parametrize(
    ("command", "number"), [("ism", signal.SIGTERM), ("score_variants", signal.SIGHUP)]
)
def test_signals_of_job_systems(world: World, command: str, number: signal.Signals) -> None:
    folder = world.folder / "killed"
    first = FILES[command][0]
    units = folder / f".{first}.units"
    process = start(world.folder, folder, command, WORDS[command])
    error = stop_when(process, lambda: len(list(units.glob("*.unit"))) > 2, number)
    if process.returncode != 0:  # it was not quicker
        assert process.returncode == 128 + number
        assert f"stopped by {number.name}. No output was written. The finished part is kept" in error
        assert os.listdir(folder) == [units.name]
        run_here(world, command, "killed", "--resume")
    run_here(world, command, "whole")
    assert_as_whole(world, command)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_complete_run_has_nothing_left_to_do(
    world: World, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run_here(world, command, "killed")
    before = contents(world.folder / "killed", FILES[command])
    capsys.readouterr()
    for more in (["--resume"], ["--resume", "--overwrite"]):
        run_here(world, command, "killed", *more)
        assert "nothing was done" in capsys.readouterr().err
        assert contents(world.folder / "killed", FILES[command]) == before
    with pytest.raises(SystemExit) as stop:
        run_here(world, command, "killed", "--resume", "--seed", "1")
    assert stop.value.code == 2
    assert "is from a run with other inputs or options; they differ in: seed" in capsys.readouterr().err
    run_here(world, command, "killed", "--resume", "--overwrite", "--seed", "1")
    assert contents(world.folder / "killed", FILES[command]) != before
