"""The notebook of the example runs from its first cell to its last, and keeps no output in git."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest
from page_runner import COVERAGE_VARIABLE
from paths import ROOT

NOTEBOOK = ROOT / "example" / "variant_effects.ipynb"


@pytest.fixture(autouse=True)
def needed() -> None:
    for name in ("nbformat", "nbclient", "ipykernel", "matplotlib"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed: pip install 'kipoi_mcdropout[test]'")


def test_it_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    here = str(Path(sys.executable).parent)  # where `kipoi` is
    monkeypatch.setenv("PATH", os.pathsep.join([here, os.environ.get("PATH", "")]))
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    monkeypatch.delenv(COVERAGE_VARIABLE, raising=False)  # as of the pages
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    folder = {"metadata": {"path": str(NOTEBOOK.parent)}}
    done = NotebookClient(notebook, timeout=None, resources=folder).execute()
    outputs = [output for cell in done.cells for output in cell.get("outputs", [])]
    images = [o for o in outputs if "image/png" in o.get("data", {})]
    assert len(images) >= 3
    text = "".join(str(o.get("text", "")) for o in outputs)
    assert "ivw_bootstrap_draws" in text
    assert "two groups of mutations: 0.72" in text


def test_no_output_is_stored() -> None:
    import nbformat

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) > 4
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
