"""Two runs never write one output at once, and what a run leaves is removed by the next."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import filelock
import pytest
from killing import start
from run_world import World, make_world, same_date

from kipoi_mcdropout.errors import OutputError
from kipoi_mcdropout.files.atomic import AtomicFile, atomic_path, replace_file, write_tsv
from kipoi_mcdropout.files.lock import OutputLock


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    same_date(monkeypatch)
    monkeypatch.setattr("kipoi_mcdropout.vcf.score.chunk_alleles", lambda *_: 20)
    world = make_world(tmp_path)
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    return world


@pytest.mark.parametrize(
    ("command", "words", "second"),
    [
        ("ism", ["-o", "out.h5", "out.tsv"], ["-o", "other.h5", "out.tsv"]),
        ("score_variants", ["-o", "o.vcf", "-t", "t.tsv"], ["-o", "other.vcf", "-t", "t.tsv"]),
    ],
)
def test_a_second_run_on_an_output_is_refused_by_name(
    world: World, command: str, words: list[str], second: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    lock = OutputLock(Path(words[-1]).absolute())
    before = os.listdir()
    for more in ([], ["--overwrite"], ["--resume"]):
        with pytest.raises(SystemExit) as stop:
            getattr(world, command)(*second, *more)
        assert stop.value.code == 2
        assert f"another run is writing {Path.cwd() / words[-1]}" in capsys.readouterr().err
        assert os.listdir() == before, "the second run has left nothing and removed nothing"
    lock.release()
    getattr(world, command)(*second)
    assert sorted(os.listdir()) == sorted(word for word in second if word[0] != "-")


@pytest.mark.parametrize("is_held", [True, False], ids=["locked", "not yet locked"])
def test_ctrl_c_while_the_lock_is_taken_leaves_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_held: bool
) -> None:
    acquire, calls = filelock.FileLock.acquire, []

    def interrupted(self: filelock.FileLock) -> None:
        calls.append(self)
        if len(calls) > 1 or is_held:
            acquire(self)
        else:
            Path(self.lock_file).touch()
        if len(calls) == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(filelock.FileLock, "acquire", interrupted)
        with pytest.raises(KeyboardInterrupt):
            OutputLock(tmp_path / "a.tsv")
    assert list(tmp_path.iterdir()) == []
    OutputLock(tmp_path / "a.tsv").release()


def test_a_second_run_of_a_shard_is_refused(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.ism("-o", "out.h5", "--shard", "1/2")
    lock = OutputLock(Path("out.h5.shards/1-of-2").absolute())
    with pytest.raises(SystemExit):
        world.ism("-o", "out.h5", "--shard", "1/2")
    assert "another run is writing" in capsys.readouterr().err
    world.ism("-o", "out.h5", "--shard", "2/2")
    lock.release()
    assert sorted(os.listdir("out.h5.shards")) == ["1-of-2", "2-of-2"]


HOLD = """
import sys
from pathlib import Path
from kipoi_mcdropout.files.atomic import AtomicFile
file = AtomicFile(Path(sys.argv[1]))
file.temporary.write_text("half")
print("ready", flush=True)
sys.stdin.read()
"""


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        with pytest.raises(OutputError, match="another run is writing"):
            AtomicFile(path)
        assert (tmp_path / ".t.tsv.partial").read_text() == "half"
        process.send_signal(signal.SIGKILL)
    with atomic_path(path) as temporary:
        assert not temporary.exists()
        temporary.write_text("whole")
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"t.tsv": "whole"}


def test_what_a_killed_run_has_left_is_removed_by_the_next(world: World) -> None:
    process = start(world.folder, Path.cwd(), "ism", ["-o", "out.h5", "out.tsv"], "UnitStore.save.3")
    process.communicate()
    left = sorted(os.listdir())
    of_h5, of_tsv = ["lock", "partial", "units"], ["lock", "partial"]
    assert left == [*(f".out.h5.{x}" for x in of_h5), *(f".out.tsv.{x}" for x in of_tsv)]
    world.ism("-o", "out.tsv", "out.h5")  # begins anew, also where the order is another
    assert sorted(os.listdir()) == ["out.h5", "out.tsv"]


def test_files_have_the_permissions_of_the_user(tmp_path: Path) -> None:
    import pandas as pd

    usual = tmp_path / "usual"
    usual.touch()
    write_tsv(pd.DataFrame({"a": [1]}), tmp_path / "t.tsv")
    assert (tmp_path / "t.tsv").stat().st_mode == usual.stat().st_mode


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/t.txt").write_text("old")
    (tmp_path / "t.txt").symlink_to("data/t.txt")
    with atomic_path(tmp_path / "t.txt", overwrite=True) as temporary:
        temporary.write_text("new")
    assert (tmp_path / "t.txt").is_symlink()
    assert (tmp_path / "data/t.txt").read_text() == "new"
    assert os.listdir(tmp_path / "data") == ["t.txt"]


def test_data_are_synced_before_they_have_their_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    fsync, replace = os.fsync, os.replace

    def path_of(handle: int) -> str:
        return os.readlink(f"/proc/self/fd/{handle}")

    monkeypatch.setattr(os, "fsync", lambda n: events.append(path_of(n)) or fsync(n))
    monkeypatch.setattr(os, "replace", lambda a, b: events.append(f"to {b}") or replace(a, b))
    replace_file(tmp_path / "a", [b"1", b"2"])
    with atomic_path(tmp_path / "b") as temporary:
        temporary.write_text("3")
    assert (tmp_path / "a").read_bytes() == b"12"
    assert events == [
        str(tmp_path / "a.new"), f"to {tmp_path / 'a'}", str(tmp_path),
        str(tmp_path / ".b.partial"), f"to {tmp_path / 'b'}", str(tmp_path),
    ]  # fmt: skip


def test_a_name_that_is_too_long_is_refused_before_anything_is_done(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("x" * 250 + ".h5", "x" * 400 + ".h5"):
        with pytest.raises(SystemExit) as stop:
            world.ism("-o", name)
        assert stop.value.code == 2
        assert "must have at most 235 bytes" in capsys.readouterr().err
    assert os.listdir() == []
    world.ism("-o", "x" * 232 + ".h5")
    assert os.listdir() == ["x" * 232 + ".h5"]
