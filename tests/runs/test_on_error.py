"""Units that fail: what is said, what is kept, and which exit code comes of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from run_world import World, make_world, same_date

from kipoi_mcdropout.cli import run
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.vcf.scoring import VariantWork


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    same_date(monkeypatch)
    monkeypatch.setattr("kipoi_mcdropout.vcf.score.chunk_alleles", lambda *_: 20)
    world = make_world(tmp_path)
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    return world


def ism(world: World, *more: str) -> int:
    return code_of(lambda: world.ism(*more, "-o", "out.h5", "out.tsv"))


def score(world: World, *more: str) -> int:
    return code_of(lambda: world.score_variants(*more, "-o", "out.vcf", "-t", "t.tsv"))


def code_of(call: Any) -> int:
    try:
        call()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def break_all(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def failing(*args: Any, **keywords: Any) -> Any:
        raise error

    monkeypatch.setattr("kipoi_mcdropout.effects.saturation.summarize_members", failing)
    monkeypatch.setattr(VariantWork, "__call__", failing)


@pytest.mark.parametrize(
    ("error", "code"), [(RuntimeError("no memory"), 1), (InputError("no bases"), 2)]
)
@pytest.mark.parametrize("command", [ism, score])
def test_where_every_unit_fails_there_is_no_result(
    world: World, command: Any, error: Exception, code: int,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    break_all(monkeypatch, error)
    assert command(world, "--on_error", "skip") == code
    text = capsys.readouterr().err
    assert "units failed, so there is no result. The first: " in text
    assert str(error) in text
    assert os.listdir() == []
    assert command(world) == code
    text = capsys.readouterr().err
    assert str(error) in text
    assert "--on_error" not in text
    assert "kept" not in text
    assert os.listdir() == []


def test_a_wrong_model_input_is_bad_input_at_once(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ism(world, "--model_input", "sequence", "--on_error", "skip") == 2
    assert "sequence" in capsys.readouterr().err
    assert os.listdir() == []


@pytest.mark.parametrize("n", [1, 2])
def test_shards_of_which_every_unit_failed_cannot_be_merged(
    world: World, n: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    break_all(monkeypatch, RuntimeError("no memory"))
    for i in range(1, n + 1):
        assert ism(world, "--on_error", "skip", "--shard", f"{i}/{n}") == 0
        assert score(world, "--on_error", "skip", "--shard", f"{i}/{n}") == 0
    for name in ("out.h5.shards", "out.vcf.shards"):
        capsys.readouterr()
        assert code_of(lambda name=name: run("merge", "m", [name])) == 1
        assert "units failed, so there is no result. The first: RuntimeError" in capsys.readouterr().err
    assert sorted(os.listdir()) == ["out.h5.shards", "out.vcf.shards"]


def test_a_failed_unit_is_tried_again_by_resume(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.set_trap("raise")
    assert ism(world, "--shard", "1/1", "--on_error", "skip") == 0
    assert score(world, "--shard", "1/1", "--on_error", "skip") == 0
    assert "failed" in capsys.readouterr().err
    world.remove_trap()
    for command in (ism, score):
        assert command(world, "--shard", "1/1", "--resume") == 0
        assert "nothing was done" not in capsys.readouterr().err
        assert command(world, "--shard", "1/1", "--resume") == 0
        assert "nothing was done" in capsys.readouterr().err
    for name in ("out.h5.shards", "out.vcf.shards"):
        run("merge", "m", [name, "--remove"])
    assert sorted(os.listdir()) == ["out.h5", "out.tsv", "out.vcf", "t.tsv"]
    assert "failed and" not in capsys.readouterr().err
    assert set(pd.read_table("out.tsv", skiprows=1)["sequence"]) == set(range(7))


def test_the_advice_to_skip_is_given_where_other_units_went_well(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.set_trap("raise")
    for command in (ism, score):
        assert command(world) == 1
        error = capsys.readouterr().err
        assert "RuntimeError: the trap has sprung, in the model's forward pass" in error
        assert "Use --on_error skip to continue without it. No output was" in error
        assert "The finished part is kept: run the same command with --resume" in error
