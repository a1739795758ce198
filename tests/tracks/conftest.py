"""Results that all tests of tracks look at."""

from __future__ import annotations

from pathlib import Path

import pytest
from track_world import make_regions, mutate

import kipoi_mcdropout as mcd


@pytest.fixture(scope="session")
def effects(tmp_path_factory: pytest.TempPathFactory) -> mcd.Effects:
    """Of windows that overlap, in memory."""
    folder = tmp_path_factory.mktemp("tracks")
    return mutate(make_regions(folder), n_draws=6, scores=["diff", "logit", "alt"])


@pytest.fixture(scope="session")
def results(effects: mcd.Effects, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the same effects as ism.h5, ism.tsv, ism.tsv.gz and ism.parquet."""
    folder = tmp_path_factory.mktemp("results")
    for suffix in ("h5", "tsv", "tsv.gz", "parquet"):
        effects.save(folder / f"ism.{suffix}")
    return folder
