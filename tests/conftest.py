"""Shared fixtures."""

from __future__ import annotations

import math
import os
from pathlib import Path

# Small tensors: a second thread costs more than it gives, most of all on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from browser import browser  # noqa: F401 (a fixture)
from hypothesis import HealthCheck, settings
from paths import ROOT

# A busy machine, or one that measures the coverage, is no fault.
settings.register_profile("no time limits", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no time limits")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with the real sequences, VCFs and reference numbers; the test skips without it."""
    folder = Path(os.environ.get("KIPOI_MCDROPOUT_SHARED", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no reference data in {folder}; set KIPOI_MCDROPOUT_SHARED to its folder")
    return folder


@pytest.fixture
def small_models_are_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The models of tests are so small that to capture one takes longer than a run of it.

    For tests of what `auto` says of a captured model, in this process.
    """
    monkeypatch.setattr("kipoi_mcdropout.engine.choose._CAPTURE_SHARE", math.inf)
