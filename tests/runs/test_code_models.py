"""A model by its code and weights gives what its Kipoi directory gives, however it is computed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from run_world import World, make_world

from kipoi_mcdropout.cli import run
from kipoi_mcdropout.files.read import read_provenance
from kipoi_mcdropout.runs.store import UnitStore

OUTPUTS = ["FOXA1", "FOXA2", "DNase"]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("kipoi_mcdropout.vcf.score.chunk_alleles", lambda *_: 20)
    monkeypatch.chdir(tmp_path)
    return make_world(tmp_path)


def code_words(world: World) -> list[str]:
    weights = ["--weights", str(world.model / "weights.pt"), "--model_kwargs", '{"p": 0.5}']
    return [f"{world.model / 'model.py'}:ToyNet", *weights, "--outputs", *OUTPUTS]


def yaml_words(world: World) -> list[str]:
    said = {
        "model": "model/model.py:ToyNet", "weights": "model/weights.pt", "model_kwargs": {"p": 0.5},
        "outputs": OUTPUTS,
    }  # fmt: skip
    (world.folder / "mcdropout.yaml").write_text(yaml.safe_dump(said))
    return [str(world.folder)]


def run_all(world: World, model: list[str], name: str, *more: str) -> dict[str, pd.DataFrame]:
    """Effects of substitutions and of variants, and predictions, as tables."""
    paths = {kind: world.folder / f"{name}_{kind}.tsv" for kind in ("ism", "predict", "vcf")}
    data = json.dumps({"fasta_file": str(world.fasta), "intervals_file": str(world.bed)})
    loader = [] if model == world.model_words else ["--dataloader", str(world.model)]
    loader += ["--dataloader_source", "dir"] if loader else []
    read = [*model, *loader, "--dataloader_args", data, "--n_draws", "3"]
    run("ism", "ism", [*read, *more, "-o", str(paths["ism"])])
    run("predict", "predict", [*read, "-o", str(paths["predict"])])
    vcf = ["-i", str(world.vcf), "-f", str(world.fasta), "--n_draws", "3", "-t", str(paths["vcf"])]
    run("score_variants", "score_variants", [*model, *vcf, *more])
    return {kind: pd.read_table(path, skiprows=1) for kind, path in paths.items()}


def same(one: dict[str, pd.DataFrame], other: dict[str, pd.DataFrame]) -> None:
    for kind, table in one.items():
        assert len(table) > 10
        pd.testing.assert_frame_equal(table, other[kind], check_exact=True)


def test_the_numbers_of_the_kipoi_directory(world: World) -> None:
    kipoi = run_all(world, world.model_words, "kipoi")
    assert set(kipoi["ism"]["output"]) == set(OUTPUTS)
    same(kipoi, run_all(world, code_words(world), "code"))
    same(kipoi, run_all(world, yaml_words(world), "yaml"))


def test_the_record_says_which_files(world: World) -> None:
    run_all(world, code_words(world), "code")
    for kind in ("ism", "predict", "vcf"):
        record = read_provenance(world.folder / f"code_{kind}.tsv")
        assert record["model"]["name"] == f"{world.model / 'model.py'}:ToyNet"
        assert record["model"]["source"] == "file"
        assert json.loads(record["model"]["model_kwargs"]) == {"p": 0.5}
        for word, name in (("model_code", "model.py"), ("model_weights", "weights.pt")):
            path = world.model / name
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            assert record["files"][word] == {"path": str(path), "sha256": digest}


def test_other_processes_load_the_same(world: World, cluster: str) -> None:
    here = run_all(world, code_words(world), "here")
    same(here, run_all(world, code_words(world), "there", "--scheduler", cluster))
    same(here, run_all(world, yaml_words(world), "yaml", "--scheduler", cluster))


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    pytest.importorskip("distributed", reason="needs the extra 'distributed'")
    from kipoi_mcdropout.runs.schedule.dask_cluster import DaskCluster

    cluster = DaskCluster.local(2, encrypted=False)
    yield cluster.client.scheduler.address
    cluster.close()


def ism_words(world: World, *more: str) -> list[str]:
    data = json.dumps({"fasta_file": str(world.fasta), "intervals_file": str(world.bed)})
    loader = ["--dataloader", str(world.model), "--dataloader_source", "dir", "--dataloader_args", data]
    out = ["--n_draws", "3", "-o", str(world.folder / "out.tsv")]
    return [*code_words(world), *loader, *out, *more]


class Stop(BaseException):
    """As a kill would have it: no handler of ours knows it."""


def stop_after(n: int, patch: pytest.MonkeyPatch) -> None:
    save, saved = UnitStore.save, []

    def stopping(self: Any, *args: Any) -> None:
        if len(saved) == n:
            raise Stop
        saved.append(1)
        save(self, *args)

    patch.setattr(UnitStore, "save", stopping)


def test_a_stopped_run_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run_all(world, code_words(world), "whole")["ism"]
    with monkeypatch.context() as patch:
        stop_after(3, patch)
        with pytest.raises(Stop):
            run("ism", "ism", ism_words(world))
    assert not (world.folder / "out.tsv").exists()
    run("ism", "ism", ism_words(world, "--resume"))
    table = pd.read_table(world.folder / "out.tsv", skiprows=1)
    pd.testing.assert_frame_equal(table, whole, check_exact=True)


@pytest.mark.parametrize("changed", ["weights.pt", "model.py"])
def test_a_run_does_not_go_on_with_another_model(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], changed: str
) -> None:
    with monkeypatch.context() as patch:
        stop_after(3, patch)
        with pytest.raises(Stop):
            run("ism", "ism", ism_words(world))
    path = world.model / changed
    if changed == "weights.pt":
        state = torch.load(path, weights_only=True)
        state["dense.bias"] += 1
        torch.save(state, path)
    else:
        path.write_text(path.read_text().replace("torch.sigmoid", "torch.tanh"))
    with pytest.raises(SystemExit) as stop:
        run("ism", "ism", ism_words(world, "--resume"))
    assert stop.value.code == 2
    assert "files, model" in capsys.readouterr().err


def test_shards_are_joined(world: World) -> None:
    whole = run_all(world, code_words(world), "whole")["ism"]
    for i in (1, 2):
        run("ism", "ism", ism_words(world, "--shard", f"{i}/2"))
    run("merge", "merge", [str(world.folder / "out.tsv.shards")])
    table = pd.read_table(world.folder / "out.tsv", skiprows=1)
    pd.testing.assert_frame_equal(table, whole, check_exact=True)
