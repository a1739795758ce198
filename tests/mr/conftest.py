"""Fixtures of the tests of Mendelian randomization."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mr_data import DATA, read_instruments

from kipoi_mcdropout.mr import Instruments


@pytest.fixture
def reference(request: pytest.FixtureRequest) -> Callable[[str], Instruments]:
    """Loads a reference data set by name; the test skips where it is not to be had."""

    def load(name: str) -> Instruments:
        if (DATA / f"{name}.csv").exists():
            return read_instruments(DATA / f"{name}.csv")
        folder = request.getfixturevalue("shared_data") / "mr_reference"
        rho = folder / f"{name}_rho.csv"
        return read_instruments(folder / f"{name}.csv", rho if rho.exists() else None)

    return load
