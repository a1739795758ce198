"""Results that the tests of the report share."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_world import poison, write_ism, write_mr, write_variants


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `ism.{h5,parquet,tsv}`, `bad.h5` with HTML for names, and `variants.parquet`."""
    folder = tmp_path_factory.mktemp("results")
    toy = write_ism(folder)
    poison(folder / "ism.h5", folder / "bad.h5")
    write_variants(folder, toy)
    return folder


@pytest.fixture(scope="session")
def mr_folder(results: Path) -> Path:
    """Folder with `mr.tsv`, `loo.tsv` and `across.tsv`."""
    folder = results / "mr"
    folder.mkdir()
    write_mr(folder, results / "ism.h5")
    return folder
