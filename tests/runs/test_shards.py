"""Shards, merged, are the run without shards, byte for byte."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from run_world import World, contents, make_world, same_date

from kipoi_mcdropout.cli import run
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.runs.shard import Shard

ISM_FILES = ["out.h5", "out.tsv", "out.tsv.gz", "out.parquet"]
VCF_FILES = ["out.vcf.gz", "t.parquet", "s.tsv"]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    same_date(monkeypatch)
    monkeypatch.setattr("kipoi_mcdropout.vcf.score.chunk_alleles", lambda *_: 20)
    world = make_world(tmp_path)
    monkeypatch.chdir(tmp_path)  # so that the commands, which are recorded, can be the same
    return world


def ism(world: World, folder: str, *more: str) -> None:
    (world.folder / folder).mkdir(exist_ok=True)
    os.chdir(world.folder / folder)
    world.ism("-s", "diff", "logit", "--keep_draws", *more, "-o", *ISM_FILES)


def score(world: World, folder: str, *more: str) -> None:
    (world.folder / folder).mkdir(exist_ok=True)
    os.chdir(world.folder / folder)
    files = ["-o", VCF_FILES[0], "-t", VCF_FILES[1], "--skipped", VCF_FILES[2]]
    world.score_variants("--q_values", *files, *more)


def merge(folder: Path, *more: str) -> None:
    run("merge", "kipoi mcdropout merge", [str(folder), *more])


@pytest.mark.parametrize("n", [1, 3, 9])
def test_ism(world: World, n: int) -> None:
    ism(world, "whole")
    for i in range(n, 0, -1):  # in any order
        ism(world, "sharded", "--shard", f"{i}/{n}")
    assert os.listdir(world.folder / "sharded") == ["out.h5.shards"]
    merge(world.folder / "sharded/out.h5.shards", "--remove")
    assert sorted(os.listdir(world.folder / "sharded")) == sorted(ISM_FILES)
    whole = contents(world.folder / "whole", ISM_FILES)
    assert contents(world.folder / "sharded", ISM_FILES) == whole


@pytest.mark.parametrize("n", [1, 3, 20])
def test_score_variants(world: World, n: int, capsys: pytest.CaptureFixture[str]) -> None:
    score(world, "whole")
    ledger = capsys.readouterr().err
    for i in range(1, n + 1):
        score(world, "sharded", f"--shard={i}/{n}")
    capsys.readouterr()
    merge(world.folder / "sharded/out.vcf.gz.shards")
    assert capsys.readouterr().err == ledger
    assert "skipped" in ledger
    whole = contents(world.folder / "whole", VCF_FILES)
    assert contents(world.folder / "sharded", VCF_FILES) == whole
    assert len(whole["s.tsv"].splitlines()) > 5


def test_a_stopped_shard_is_resumed(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    engine = ("--engine", "full")  # the reason for a choice would name the trap's code
    ism(world, "whole", *engine)
    score(world, "whole", *engine)
    world.set_trap("interrupt")
    for work, shard in ((ism, "2/3"), (score, "1/2")):
        with pytest.raises(SystemExit) as stop:
            work(world, "sharded", "--shard", shard, *engine)
        assert stop.value.code == 130
        assert "is kept" in capsys.readouterr().err
    for name, number in (("out.h5.shards", "2/3"), ("out.vcf.gz.shards", "1/2")):
        for i in range(1, int(number[-1]) + 1):
            other = f"{i}/{number[-1]}"
            if other != number:
                world.remove_trap()
                work = ism if name.startswith("out.h5") else score
                work(world, "sharded", "--shard", other, *engine)
        with pytest.raises(SystemExit) as stop:
            merge(world.folder / "sharded" / name)
        assert stop.value.code == 2
        assert f"not finished: shard {number}; run" in capsys.readouterr().err
    ism(world, "sharded", "--shard", "2/3", "--resume", *engine)
    score(world, "sharded", "--shard", "1/2", "--resume", *engine)
    merge(world.folder / "sharded/out.h5.shards")
    merge(world.folder / "sharded/out.vcf.gz.shards")
    for files in (ISM_FILES, VCF_FILES):
        assert contents(world.folder / "sharded", files) == contents(world.folder / "whole", files)


def test_what_does_not_belong_together_is_refused(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = world.folder / "sharded/out.h5.shards"
    ism(world, "sharded", "--shard", "1/3")
    with pytest.raises(SystemExit):
        merge(shards)
    assert "lacks shards 2/3, 3/3; run those first" in capsys.readouterr().err
    ism(world, "sharded", "--shard", "2/3")
    ism(world, "sharded", "--shard", "3/3", "--seed", "5")
    with pytest.raises(SystemExit):
        merge(shards)
    assert "1-of-3 and 3-of-3 are from different runs; they differ in: seed" in capsys.readouterr().err
    ism(world, "sharded", "--shard", "1/4")
    with pytest.raises(SystemExit):
        merge(shards)
    assert "shards of 3 and of 4" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        merge(world.folder)
    assert "has no shards" in capsys.readouterr().err
    assert os.listdir(world.folder / "sharded") == ["out.h5.shards"]


def test_outputs_that_exist_are_not_replaced(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    score(world, "sharded", "--shard", "1/1")
    merge(world.folder / "sharded/out.vcf.gz.shards")
    with pytest.raises(SystemExit):
        merge(world.folder / "sharded/out.vcf.gz.shards")
    assert "exists; add --overwrite" in capsys.readouterr().err
    merge(world.folder / "sharded/out.vcf.gz.shards", "--overwrite")


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "-1/2", "1/0"])
def test_bad_shards(text: str) -> None:
    with pytest.raises(InputError, match="shard"):
        Shard.parse(text)


def test_every_unit_has_one_shard() -> None:
    shards = [Shard(i, 3) for i in (1, 2, 3)]
    assert all(sum(shard.has(unit) for shard in shards) == 1 for unit in range(10))
