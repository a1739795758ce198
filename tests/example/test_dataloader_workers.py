"""Dataloaders that we show to users read the right windows in forked workers."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy
from paths import ROOT
from torch import nn

from kipoi_mcdropout.model.kipoi_dataloader import dataloader_code
from kipoi_mcdropout.model.model import Model

CONTIG_BP = 20_000
N_WINDOWS = 64


def module_of(text: str, folder: Path, name: str) -> Any:
    path = folder / f"{name}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def written(folder: Path) -> Any:
    """The dataloader that `init --kipoi` writes."""
    model = Model(nn.Flatten(), input_shape=(4, 500))
    return module_of(dataloader_code(model.sequences), folder, "written_dataloader").Windows


def example(folder: Path) -> Any:
    text = (ROOT / "example" / "model" / "dataloader.py").read_text()
    return module_of(text, folder, "example_dataloader").ExampleDataset


def of_tests(folder: Path) -> Any:
    return module_of(toy.DATALOADER_PY, folder, "toy_dataloader").ToyDataset


DATALOADERS = [written, example, of_tests]


@pytest.fixture
def data(tmp_path: Path) -> tuple[str, str, str]:
    """A FASTA without an index, a BED file, and the sequence."""
    sequence = "".join(np.random.default_rng(3).choice(list("ACGT"), CONTIG_BP))
    lines = [sequence[i : i + 60] for i in range(0, CONTIG_BP, 60)]
    (tmp_path / "g.fa").write_text(">c\n" + "\n".join(lines) + "\n")
    starts = np.random.default_rng(4).integers(300, CONTIG_BP - 900, N_WINDOWS)
    (tmp_path / "w.bed").write_text("".join(f"c\t{s}\t{s + 500}\tw{s}\n" for s in starts))
    return str(tmp_path / "g.fa"), str(tmp_path / "w.bed"), sequence


def letters(item: dict[str, Any]) -> str:
    inputs = item["inputs"]
    one_hot = np.asarray(inputs["seq"] if isinstance(inputs, dict) else inputs)
    axis = one_hot.shape.index(4)
    return "".join("ACGT"[i] for i in one_hot.argmax(axis=axis))


def expected(item: dict[str, Any], sequence: str) -> str:
    ranges = item["metadata"]["ranges"]
    return sequence[int(ranges.start) : int(ranges.end)]


@pytest.mark.parametrize("make", DATALOADERS)
def test_windows_of_several_workers_are_right(
    make: Callable[[Path], Any], data: tuple[str, str, str], tmp_path: Path
) -> None:
    fasta, bed, sequence = data
    dataset = make(tmp_path)(fasta, bed)
    assert letters(dataset[0]) == expected(dataset[0], sequence)  # opened here, before the fork
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=None, num_workers=2, multiprocessing_context="fork",
        collate_fn=_unchanged,
    )  # fmt: skip
    items = list(loader)
    assert len(items) == N_WINDOWS
    for item in items:
        assert letters(item) == expected(item, sequence)


def _unchanged(item: Any) -> Any:
    return item


@pytest.mark.parametrize("make", DATALOADERS)
def test_a_worker_does_not_move_the_place_in_the_file_of_its_parent(
    make: Callable[[Path], Any], data: tuple[str, str, str], tmp_path: Path
) -> None:
    """What makes wrong windows, seen without a race."""
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("open files are listed in /proc on Linux only")
    fasta, bed, _ = data
    dataset = make(tmp_path)(fasta, bed)
    dataset[0]
    before = _places(fasta)
    assert len(before) == 1
    worker = multiprocessing.get_context("fork").Process(target=_read_all, args=(dataset,))
    worker.start()
    worker.join()
    assert worker.exitcode == 0
    assert _places(fasta) == before


def _read_all(dataset: Any) -> None:
    for i in range(len(dataset)):
        dataset[i]


def _places(path: str) -> dict[int, int]:
    """Positions in the open files that are this one, by descriptor."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        link = Path("/proc/self/fd") / name
        if link.is_symlink() and os.path.realpath(link) == os.path.realpath(path):
            found[int(name)] = os.lseek(int(name), 0, os.SEEK_CUR)
    return found


@pytest.mark.parametrize("make", DATALOADERS)
def test_it_can_be_sent_to_workers_that_are_not_forked(
    make: Callable[[Path], Any], data: tuple[str, str, str], tmp_path: Path
) -> None:
    fasta, bed, sequence = data
    dataset = pickle.loads(pickle.dumps(make(tmp_path)(fasta, bed)))
    assert letters(dataset[1]) == expected(dataset[1], sequence)
