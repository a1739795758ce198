"""Damaged, foreign and copied parts of a run are refused by name, and never filled up."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_world import World, contents, make_folders

from kipoi_mcdropout.cli import run
from kipoi_mcdropout.runs.store import UnitStore

FILES = {"ism": ["out.h5", "out.tsv"], "score_variants": ["out.vcf.gz", "t.parquet"]}
WORDS = {
    "ism": ["-s", "diff", "-o", *FILES["ism"]],
    "score_variants": ["-o", "out.vcf.gz", "-t", "t.parquet"],
}
COMMANDS = list(FILES)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return make_folders(tmp_path, monkeypatch, "whole", "stopped")


def run_in(world: World, folder: str, command: str, *more: str) -> None:
    os.chdir(world.folder / folder)
    getattr(world, command)(*WORDS[command], *more)


class Stop(BaseException):
    """As a kill would have it."""


def stop_after(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    save, saved = UnitStore.save, []

    def stopping(self: Any, *args: Any) -> None:
        if len(saved) == n:
            raise Stop
        saved.append(1)
        save(self, *args)

    monkeypatch.setattr(UnitStore, "save", stopping)


def stopped(world: World, command: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The units of a run that was stopped after four of them."""
    with monkeypatch.context() as patch:
        stop_after(4, patch)
        with pytest.raises(Stop):
            run_in(world, "stopped", command)
    return world.folder / "stopped" / f".{FILES[command][0]}.units"


def unit(folder: Path, number: int) -> Path:
    return folder / f"{number:09d}.unit"


def cut(folder: Path) -> None:
    unit(folder, 2).write_bytes(unit(folder, 2).read_bytes()[:-100])


def emptied(folder: Path) -> None:
    unit(folder, 2).write_bytes(b"")


def flipped(folder: Path) -> None:
    data = bytearray(unit(folder, 2).read_bytes())
    data[len(data) // 2] ^= 1
    unit(folder, 2).write_bytes(data)


def swapped(folder: Path) -> None:
    a, b = unit(folder, 1).read_bytes(), unit(folder, 2).read_bytes()
    unit(folder, 1).write_bytes(b)
    unit(folder, 2).write_bytes(a)


DAMAGE: list[tuple[Callable[[Path], None], str]] = [
    (cut, "000000002.unit is damaged"),
    (emptied, "000000002.unit is damaged"),
    (flipped, "000000002.unit is damaged"),
    (swapped, "000000001.unit must hold unit 1; it holds unit 2"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGE)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_damaged_unit_is_named_and_can_be_computed_again(
    world: World, command: str, damage: Callable[[Path], None], message: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    units = stopped(world, command, monkeypatch)
    damage(units)
    with pytest.raises(SystemExit) as stop:
        run_in(world, "stopped", command, "--resume")
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Remove that file" in error
    assert os.listdir(world.folder / "stopped") == [units.name], "no output, nothing else"
    for number in (1, 2):
        unit(units, number).unlink()
    run_in(world, "stopped", command, "--resume")
    run_in(world, "whole", command)
    whole = contents(world.folder / "whole", FILES[command])
    assert contents(world.folder / "stopped", FILES[command]) == whole


@pytest.mark.parametrize("command", COMMANDS)
def test_a_unit_of_another_run_is_named(
    world: World, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = unit(stopped(world, command, monkeypatch), 2).read_bytes()
    shutil.rmtree(world.folder / "stopped")
    (world.folder / "stopped").mkdir()
    words_of_another = ["--seed", "5"]
    with monkeypatch.context() as patch:
        stop_after(4, patch)
        with pytest.raises(Stop):
            run_in(world, "stopped", command, *words_of_another)
    units = world.folder / "stopped" / f".{FILES[command][0]}.units"
    unit(units, 2).write_bytes(foreign)
    with pytest.raises(SystemExit) as stop:
        run_in(world, "stopped", command, *words_of_another, "--resume")
    assert stop.value.code == 2
    assert "000000002.unit is from another run" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"\xff\x00\x01", b"{}"])
def test_a_damaged_run_file_is_named(
    world: World, content: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    units = stopped(world, "ism", monkeypatch)
    (units / "run.json").write_bytes(content)
    with pytest.raises(SystemExit) as stop:
        run_in(world, "stopped", "ism", "--resume")
    assert stop.value.code == 2
    assert "run.json is missing or damaged" in capsys.readouterr().err
    run_in(world, "stopped", "ism")  # without --resume it begins anew
    assert sorted(os.listdir(world.folder / "stopped")) == sorted(FILES["ism"])


@pytest.mark.parametrize("command", COMMANDS)
def test_resumed_with_more_outputs_all_are_whole(
    world: World, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {"ism": ["more.tsv.gz"], "score_variants": ["--skipped", "more.tsv"]}[command]
    stopped(world, command, monkeypatch)
    run_in(world, "stopped", command, *more, "--resume")
    run_in(world, "whole", command, *more)
    names = [*FILES[command], more[-1]]
    assert sorted(os.listdir(world.folder / "stopped")) == sorted(names)
    whole, resumed = (contents(world.folder / name, names[-1:]) for name in ("whole", "stopped"))
    if command == "score_variants":
        assert resumed == whole
        assert len(whole["more.tsv"].splitlines()) > 5
    else:  # the record is that of the command that was begun
        import pandas as pd

        a, b = (pd.read_table(world.folder / n / names[-1], skiprows=1) for n in ("stopped", "whole"))
        pd.testing.assert_frame_equal(a, b, check_exact=True)


def shards(world: World, command: str, n: int) -> Path:
    for i in range(1, n + 1):
        run_in(world, "stopped", command, "--shard", f"{i}/{n}")
    return world.folder / "stopped" / f"{FILES[command][0]}.shards"


def merge(folder: Path) -> None:
    run("merge", "kipoi mcdropout merge", [str(folder)])


@pytest.mark.parametrize("command", COMMANDS)
def test_copied_and_renamed_shards(
    world: World, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shards(world, command, 3)
    shutil.copytree(folder / "1-of-3", folder / "1-of-3.bak")
    with pytest.raises(SystemExit) as stop:
        merge(folder)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "1-of-3 and" in error
    assert "1-of-3.bak both contain shard 1/3" in error
    shutil.rmtree(folder / "1-of-3")
    (folder / "2-of-3").rename(folder / "the second")  # what run.json says counts, not the name
    merge(folder)
    run_in(world, "whole", command)
    whole = contents(world.folder / "whole", FILES[command])
    assert contents(world.folder / "stopped", FILES[command]) == whole


@pytest.mark.parametrize(("damage", "message"), DAMAGE[:3])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_damaged_unit_of_a_shard_leaves_no_output(
    world: World, command: str, damage: Callable[[Path], None], message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder = shards(world, command, 3)
    damage(folder / "3-of-3")
    with pytest.raises(SystemExit) as stop:
        merge(folder)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert os.listdir(world.folder / "stopped") == [folder.name]
    run_in(world, "stopped", command, "--shard", "3/3")
    merge(folder)
    run_in(world, "whole", command)
    whole = contents(world.folder / "whole", FILES[command])
    assert contents(world.folder / "stopped", FILES[command]) == whole


def test_a_merge_needs_the_vcf_of_the_shards(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shards(world, "score_variants", 2)
    text = world.vcf.read_text()
    changed = text.replace("X=15", "X=16")
    for content, message in ((changed, "has changed"), (None, "is missing")):
        world.vcf.unlink() if content is None else world.vcf.write_text(content)
        with pytest.raises(SystemExit) as stop:
            merge(folder)
        assert stop.value.code == 2
        assert message in capsys.readouterr().err
    world.vcf.write_text(text)
    merge(folder)


def test_a_complete_shard_has_nothing_left_to_do(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in COMMANDS:
        run_in(world, "stopped", command, "--shard", "1/2")
        capsys.readouterr()
        run_in(world, "stopped", command, "--shard", "1/2", "--resume")
        assert "nothing was done" in capsys.readouterr().err
