"""The engine that `auto` chooses and the incremental one: the same bits stopped, sharded, and whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from run_world import World, contents, make_world, same_date

from kipoi_mcdropout.cli import run
from kipoi_mcdropout.files.read import read_provenance
from kipoi_mcdropout.runs.store import UnitStore

FILES = {"ism": ["out.h5", "out.tsv"], "score_variants": ["out.vcf.gz", "t.parquet"]}
WORDS = {
    "ism": ["-o", *FILES["ism"]],
    "score_variants": ["--q_values", "-o", "out.vcf.gz", "-t", "t.parquet"],
}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    same_date(monkeypatch)
    monkeypatch.setattr("kipoi_mcdropout.vcf.score.chunk_alleles", lambda *_: 40)
    # The toy is so small that whole inputs are always cheaper: choose by the count alone.
    monkeypatch.setattr("kipoi_mcdropout.engine.choose._MUST_WORK", 0.0)
    monkeypatch.setattr("kipoi_mcdropout.engine.choose._MUST_RUN", 0)
    monkeypatch.setattr("kipoi_mcdropout.engine.choose._CAPTURE_SHARE", float("inf"))
    monkeypatch.setattr("kipoi_mcdropout.engine.choose._MUST_GAIN", 0.99)
    world = make_world(tmp_path)
    # Without the trap, which no engine can see through; the first sequence is mostly unknown.
    source = (world.model / "model.py").read_text().replace("        spring(seq)\n", "")
    (world.model / "model.py").write_text(source)
    text = world.fasta.read_text()
    begin = text.index("\n") + 1
    world.fasta.write_text(text[: begin + 6] + "N" * 18 + text[begin + 24 :])
    monkeypatch.chdir(tmp_path)
    return world


class Stop(BaseException):
    """As a kill would have it."""


def run_in(world: World, folder: str, command: str, *more: str) -> None:
    (world.folder / folder).mkdir(exist_ok=True)
    os.chdir(world.folder / folder)
    getattr(world, command)(*WORDS[command], *more)


@pytest.mark.parametrize("engine", ["auto", "incremental"])
@pytest.mark.parametrize("command", list(FILES))
def test_stopped_and_sharded(
    world: World, command: str, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--engine", engine, *(["--memory", "0.3MB"] if command == "ism" else [])]
    run_in(world, "whole", command, *words)
    record = read_provenance(world.folder / "whole" / FILES[command][1])
    assert record["options"]["engine_used"] == "incremental", "the fast path is the one that is tested"
    whole = contents(world.folder / "whole", FILES[command])
    for n in (1, 2):
        save, saved = UnitStore.save, []

        def stopping(self: Any, *args: Any, n: int = n, save: Any = save, saved: Any = saved) -> None:
            if len(saved) == n:
                raise Stop
            saved.append(1)
            save(self, *args)

        with monkeypatch.context() as patch:
            patch.setattr(UnitStore, "save", stopping)
            with pytest.raises(Stop):
                run_in(world, f"stopped{n}", command, *words)
        run_in(world, f"stopped{n}", command, *words, "--resume")
        assert contents(world.folder / f"stopped{n}", FILES[command]) == whole
    for i in (2, 3, 1):
        run_in(world, "sharded", command, *words, "--shard", f"{i}/3")
    run("merge", "m", [str(world.folder / "sharded" / f"{FILES[command][0]}.shards"), "--remove"])
    assert contents(world.folder / "sharded", FILES[command]) == whole
