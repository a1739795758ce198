"""Sequences with many outputs are cut into blocks of substitutions: units of their own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from run_world import N_SEQUENCES, World, contents, make_world, same_date

from kipoi_mcdropout.cli import run
from kipoi_mcdropout.files.read import read_draws, read_effects
from kipoi_mcdropout.runs.store import UnitStore

FILES = ["out.h5", "out.tsv", "out.parquet"]
PER_SEQUENCE = 5  # blocks: 24 positions, 5 in a block
# positions x bases x (outputs, bytes, scores, statistics and draws)
BYTES = 5 * 3 * (3 * 8 * 2 * (16 + 3) + 24)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    same_date(monkeypatch)
    world = make_world(tmp_path)
    monkeypatch.chdir(tmp_path)
    return world


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kipoi_mcdropout.effects.saturation._BLOCK_BYTES", BYTES)


def ism(world: World, folder: str, *more: str, files: list[str] = FILES) -> None:
    (world.folder / folder).mkdir(exist_ok=True)
    os.chdir(world.folder / folder)
    world.ism("-s", "diff", "logit", "--keep_draws", "--quantiles", "0.1", *more, "-o", *files)


def effects(path: Path) -> pd.DataFrame:
    """The rows in their order; the formats differ in the order of the columns."""
    table = read_effects(path)
    return table[sorted(table)].astype({"n_nonfinite": int, "n_saturated": int})


class Stop(BaseException):
    """As a kill would have it."""


def test_blocks_give_what_whole_sequences_give(
    world: World, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    ism(world, "one")
    request.getfixturevalue("blocks")
    numbers: list[int] = []
    save = UnitStore.save
    monkeypatch.setattr(UnitStore, "save", lambda self, n, *a: numbers.append(n) or save(self, n, *a))
    ism(world, "many")
    assert numbers == list(range(N_SEQUENCES * PER_SEQUENCE))
    whole = effects(world.folder / "one/out.h5")
    assert len(whole) == N_SEQUENCES * 24 * 3 * 3 * 2
    for name in FILES:
        found = effects(world.folder / "many" / name)
        pd.testing.assert_frame_equal(found, effects(world.folder / "many/out.h5"), check_dtype=False)
        pd.testing.assert_frame_equal(found, whole, rtol=1e-5, atol=1e-6, check_dtype=False)
    one, many = (read_draws(world.folder / name / "out.h5", score="logit") for name in ("one", "many"))
    np.testing.assert_allclose(many, one, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("blocks")
def test_positions_without_a_base_stay_missing(world: World) -> None:
    text = world.fasta.read_text()
    begin = text.index("\n") + 1 + 24  # the second sequence
    world.fasta.write_text(text[: begin + 3] + "N" * 6 + text[begin + 9 :])
    ism(world, "out")
    table = effects(world.folder / "out/out.h5")
    mutated = set(table.loc[table["sequence"] == 1, "position"])
    assert mutated == {*range(3), *range(9, 24)}
    with h5py.File(world.folder / "out/out.h5") as file:
        grid = file["scores/diff/effect_mean"][1]
        assert np.isnan(grid[3:9]).all()
        assert (np.isnan(grid[9:]).sum(axis=(1, 2)) == 3).all(), "the reference base of each position"
    pd.testing.assert_frame_equal(
        table, effects(world.folder / "out/out.parquet"), check_dtype=False
    )


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("n", [1, 7, 12])
def test_stopped_within_a_sequence_and_resumed(
    world: World, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, saved = UnitStore.save, []

    def stopping(self: Any, *args: Any) -> None:
        if len(saved) == n:
            raise Stop
        saved.append(1)
        save(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(UnitStore, "save", stopping)
        with pytest.raises(Stop):
            ism(world, "stopped")
    ism(world, "stopped", "--resume")
    ism(world, "whole")
    assert contents(world.folder / "stopped", FILES) == contents(world.folder / "whole", FILES)


@pytest.mark.usefixtures("blocks")
def test_shards_share_the_blocks_of_a_sequence(world: World) -> None:
    for i in (2, 1):
        ism(world, "sharded", "--shard", f"{i}/2")
    n = [len(list((world.folder / f"sharded/out.h5.shards/{i}-of-2").glob("*.unit"))) for i in (1, 2)]
    assert n == [18, 17]
    run("merge", "m", [str(world.folder / "sharded/out.h5.shards"), "--remove"])
    ism(world, "whole")
    assert contents(world.folder / "sharded", FILES) == contents(world.folder / "whole", FILES)


@pytest.mark.usefixtures("blocks")
def test_a_sequence_with_a_failed_block_is_left_out_whole(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kipoi_mcdropout.effects.saturation import SaturationMutagenesis

    block = SaturationMutagenesis.block

    def failing(self: Any, sequence: Any, rows: slice, progress: Any = None) -> Any:
        trapped = "".join("ACGT"[code] for code in sequence.codes[:11]) == "A" * 10 + "C"
        if trapped and rows.start > 30:
            raise RuntimeError("no memory")
        return block(self, sequence, rows, progress)

    with monkeypatch.context() as patch:
        patch.setattr(SaturationMutagenesis, "block", failing)
        ism(world, "out", "--on_error", "skip")
    for name in FILES:
        assert set(read_effects(world.folder / "out" / name)["sequence"]) == {0, 1, 2, 3, 5, 6}
    failed = pd.read_table(world.folder / "out/out.h5.failed.tsv")
    assert failed.values.tolist() == [[4, "region4", "RuntimeError: no memory"]]
    ism(world, "out", "--overwrite")
    assert sorted(os.listdir(world.folder / "out")) == sorted(FILES), "the old table of failures goes"


@pytest.mark.usefixtures("blocks")
def test_standard_output(world: World, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    ism(world, "whole", files=["out.tsv"])
    capfdbinary.readouterr()
    ism(world, "pipe", files=["-"])
    out = capfdbinary.readouterr().out
    whole = (world.folder / "whole/out.tsv").read_bytes()
    assert out.splitlines()[1:] == whole.splitlines()[1:]
    assert len(out.splitlines()) == 2 + N_SEQUENCES * 24 * 3 * 3 * 2
    assert os.listdir(world.folder / "pipe") == []
