"""A run that is killed in the middle and resumed gives the files of the run that was not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from variant_call import score_variants
from variant_world import LENGTH, random_sequence, tiny_net, write_fasta, write_vcf

from kipoi_mcdropout.engine.full import FullEngine
from kipoi_mcdropout.errors import InputError

SEQUENCE = random_sequence(600, 31)
OUTPUTS = {"output": "out.vcf.gz", "table": "t.parquet", "skipped": "s.tsv"}


@pytest.fixture
def world(tmp_path: Path) -> dict[str, Any]:
    lines = [
        f"c {pos} . {SEQUENCE[pos - 1]} {'<DEL>' if pos % 7 == 0 else SEQUENCE[pos - 1] + 'A'} . . ."
        for pos in range(30, 570)
    ]
    return {
        "vcf": write_vcf(tmp_path / "in.vcf", lines, {"c": 600}),
        "fasta": write_fasta(tmp_path / "g.fa", {"c": SEQUENCE}),
    }


def run(world: dict[str, Any], folder: Path, engine: Any = FullEngine, **options: Any) -> None:
    outputs = {name: folder / file for name, file in OUTPUTS.items()}
    score_variants(
        tiny_net(), **world, **outputs, n_draws=3, length=LENGTH, category_axis=0, batch_size=1024 // 40,
        q_values=True, engine=engine, **options,
    )  # fmt: skip


class Stop(BaseException):
    """As a kill would have it: no handler of ours knows it."""


def stop_after(n: int) -> Any:
    calls = []

    class Stopping(FullEngine):
        def run(self, *args: Any) -> Any:
            calls.append(1)
            if len(calls) > n:
                raise Stop
            return super().run(*args)

    return Stopping


def contents(folder: Path) -> dict[str, bytes]:
    """Files of a run, without the date."""
    import gzip
    import re

    import pandas as pd

    raw = {name: (folder / name).read_bytes() for name in sorted(os.listdir(folder))}
    assert sorted(raw) == sorted(OUTPUTS.values())
    raw["out.vcf.gz"] = re.sub(rb'"date": "[^"]*"', b"", gzip.decompress(raw["out.vcf.gz"]))
    raw["t.parquet"] = pd.read_parquet(folder / "t.parquet").to_csv().encode()
    return raw


@pytest.mark.parametrize("stopped_after", [0, 1, 2])
def test_a_stopped_run_goes_on_to_the_same_files(
    world: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped_after: int
) -> None:
    monkeypatch.setattr("kipoi_mcdropout.vcf.score.chunk_alleles", lambda *_: 150)
    for name in ("whole", "resumed"):
        (tmp_path / name).mkdir()
    run(world, tmp_path / "whole")
    with pytest.raises(Stop):
        run(world, tmp_path / "resumed", engine=stop_after(stopped_after))
    left = os.listdir(tmp_path / "resumed")
    assert left == ([".out.vcf.gz.units"] if stopped_after else [])
    run(world, tmp_path / "resumed", resume=True)
    assert contents(tmp_path / "resumed") == contents(tmp_path / "whole")


def test_what_a_kill_left_half_written_is_replaced(
    world: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kipoi_mcdropout.vcf.score.chunk_alleles", lambda *_: 150)
    for name in ("whole", "resumed"):
        (tmp_path / name).mkdir()
    run(world, tmp_path / "whole")
    with pytest.raises(Stop):
        run(world, tmp_path / "resumed", engine=stop_after(2))
    hidden = (".out.vcf.gz.partial", ".t.parquet.partial", ".t.parquet.rows", ".s.tsv.lock",
              ".out.vcf.gz.units/000000001.unit.new")  # fmt: skip
    for name in hidden:
        (tmp_path / "resumed" / name).write_bytes(b"half a line that the kill cut off")
    run(world, tmp_path / "resumed", resume=True)
    assert contents(tmp_path / "resumed") == contents(tmp_path / "whole")


def test_other_options_or_inputs_cannot_be_resumed(
    world: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kipoi_mcdropout.vcf.score.chunk_alleles", lambda *_: 150)
    (tmp_path / "out").mkdir()
    with pytest.raises(Stop):
        run(world, tmp_path / "out", engine=stop_after(1))
    left = sorted(os.listdir(tmp_path / "out"))
    with pytest.raises(InputError, match="they differ in: seed"):
        run(world, tmp_path / "out", seed=1, resume=True)
    world["vcf"].write_text(world["vcf"].read_text().replace("\t.\n", "\tX\n"))
    with pytest.raises(InputError, match="they differ in: files"):
        run(world, tmp_path / "out", resume=True)
    assert sorted(os.listdir(tmp_path / "out")) == left


def test_resume_where_nothing_was_begun_begins(world: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    run(world, tmp_path / "out", resume=True)
    assert sorted(os.listdir(tmp_path / "out")) == sorted(OUTPUTS.values())
