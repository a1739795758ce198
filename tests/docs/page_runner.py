"""Runs pages of the documentation, each in a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from doc_blocks import blocks, continues
from paths import ROOT

COVERAGE_VARIABLE = "COVERAGE_PROCESS_CONFIG"


class Runner:
    """Runs pages, each once and in a folder of its own; one that continues another has its files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._done: dict[Path, Path] = {}

    def run(self, page: Path) -> Path:
        """The folder in which the page has been run."""
        if page not in self._done:
            before = continues(page)
            self._done[page] = self._run(page, None if before is None else self.run(before))
        return self._done[page]

    def _run(self, page: Path, before: Path | None) -> Path:
        folder = self._folder / f"page_{len(list(self._folder.iterdir()))}"
        if before is None:
            folder.mkdir()
            for name in ("example", "benchmarks", "docs"):  # as in the checkout
                (folder / name).symlink_to(ROOT / name)
        else:
            shutil.copytree(before, folder, symlinks=True)
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("run_page.py"))],
            input=json.dumps([block.as_dict() for block in blocks(page)]),
            cwd=folder,
            env=_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{page}: {done.stderr}\n{done.stdout}"
        return folder


def _environment() -> dict[str, str]:
    here = str(Path(sys.executable).parent)  # where `kipoi` is
    path = os.pathsep.join([here, os.environ.get("PATH", "")])
    quiet = {"PYTHONWARNINGS": "ignore", "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
    return {**without_coverage(), "PATH": path, **quiet}


def without_coverage() -> dict[str, str]:
    """The environment for what a page shows, in which the coverage is not measured.

    Such processes are long, and run nothing that no other test runs.
    """
    return {name: value for name, value in os.environ.items() if name != COVERAGE_VARIABLE}
