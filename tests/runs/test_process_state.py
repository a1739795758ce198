"""A run changes nothing that belongs to the whole process: umask, temporary folder, Dask's settings."""

from __future__ import annotations

import ast
import copy
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from layers import PACKAGE, files
from run_world import World, make_world
from variant_world import LENGTH, random_sequence, tiny_net, write_fasta, write_vcf

import kipoi_mcdropout as mcd

dask = pytest.importorskip("dask", reason="needs the extra 'distributed'")
pytest.importorskip("distributed", reason="needs the extra 'distributed'")

from kipoi_mcdropout.runs.schedule.dask_cluster import DaskCluster  # noqa: E402


def state() -> dict[str, Any]:
    """What other code of this process relies on; test_borrowed_model looks at the random numbers."""
    mask = int(next(  # os.umask itself would change it
        line.split()[1] for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("Umask:")
    ), 8)  # fmt: skip
    return {
        "umask": mask,
        "temporary folder": tempfile.gettempdir(),
        "dask": copy.deepcopy(dask.config.config),
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "threads": torch.get_num_threads(),
    }


@contextmanager
def unchanged(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The state at each file that is written and at the end is that before; gives the files' names."""
    tempfile.gettempdir()  # found out by Python itself when it is first asked for
    before, seen, replace = state(), [], os.replace

    def looking(source: Any, target: Any) -> None:
        assert state() == before
        seen.append(Path(target).name)
        replace(source, target)

    monkeypatch.setattr(os, "replace", looking)
    yield seen
    assert state() == before


def test_runs_of_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    world = make_world(tmp_path)
    with unchanged(monkeypatch) as seen:
        world.ism("-o", "out.h5", "out.tsv")
        world.score_variants("-o", "out.vcf.gz", "-t", "t.parquet")
    assert {"out.h5", "out.tsv", "out.vcf.gz", "t.parquet"} <= set(seen)


def in_memory(tmp_path: Path) -> tuple[Any, Callable[[], object]]:
    """A model, and its effects for the alleles of a VCF, kept in memory."""
    sequence = random_sequence(100, 1)
    alt = "ACGT"[("ACGT".index(sequence[49]) + 1) % 4]
    write_fasta(tmp_path / "genome.fa", {"1": sequence})
    write_vcf(tmp_path / "in.vcf.gz", [f"1 50 v {sequence[49]} {alt} . . ."], {"1": 100})
    model = mcd.Model(tiny_net(), input_shape=(4, LENGTH))
    return model, lambda: mcd.score_variants(
        model, tmp_path / "in.vcf.gz", tmp_path / "genome.fa", n_draws=3
    )


def test_calls_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, score = in_memory(tmp_path)
    x = np.eye(4, dtype=np.float32)[np.arange(LENGTH) % 4].T[None].copy()
    with unchanged(monkeypatch):
        score()
        effects = mcd.ism(model, x, n_draws=3)
        mcd.mc_predict(model, x, 3).save(tmp_path / "p.h5")
        mcd.audit(model)
        mcd.report(effects, tmp_path / "r.html")


def test_a_local_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    world: World = make_world(tmp_path)
    cluster = DaskCluster.local(1, encrypted=False)
    try:
        with unchanged(monkeypatch) as seen:
            world.ism("-o", "out.tsv", "--scheduler", cluster.client.scheduler.address)
    finally:
        cluster.close()
    assert "out.tsv" in seen


CHANGES = {
    "os.umask", "os.chdir", "os.putenv", "os.unsetenv", "tempfile.tempdir", "torch.set_num_threads",
    "torch.manual_seed", "np.random.seed", "random.seed", "torch.set_default_dtype", "dask.config.set",
}  # fmt: skip
WITHIN = {("runs/schedule/dask_cluster.py", "dask.config.set")}  # a `with`, while processes are started
# What the random weights of a network depend on; the generators are restored, see test_python_code.
RESTORED = {
    ("model/python_code.py", name) for name in ("torch.manual_seed", "np.random.seed", "random.seed")
}


def test_no_code_sets_what_belongs_to_the_process() -> None:
    found = set()
    for _, path in files():
        name = path.relative_to(PACKAGE).as_posix()
        tree = ast.parse(path.read_text("utf-8"))
        blocks = [node for node in ast.walk(tree) if isinstance(node, ast.With)]
        contexts = {id(item.context_expr) for block in blocks for item in block.items}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                what = ast.unparse(node.func)
                if what in CHANGES and not ((name, what) in WITHIN and id(node) in contexts):
                    found.add((name, what))
            targets = node.targets if isinstance(node, ast.Assign) else []
            found |= {(name, t) for target in targets if (t := ast.unparse(target)) in CHANGES}
    assert found == RESTORED
