"""Results that the tests of the report share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from report_world import IMG, poison, write_ism, write_mr, write_variants

from kipoi_mcdropout.reports import write_report

TOP = 60
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


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


@pytest.fixture(scope="session")
def report(results: Path, mr_folder: Path) -> Path:
    """Report of `ism.h5` and of the folder of `mr`, with `TOP` effects and all figures."""
    path = results / "report.html"
    write_report([results / "ism.h5", mr_folder], path, top=TOP)
    return path


@pytest.fixture(scope="session")
def bad_report(results: Path) -> Path:
    """Report of `bad.h5`, with all effects and figures; its title is HTML too."""
    path = results / "bad.html"
    write_report([results / "bad.h5"], path, top=2000, title=IMG)
    return path


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next((p for p in map(shutil.which, BROWSERS) if p), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on the PATH")
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=["--no-sandbox"] if root else [])
        yield chromium
        chromium.close()
