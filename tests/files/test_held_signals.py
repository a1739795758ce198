"""Ctrl-C while h5py calls Python code of ours is neither lost nor an error of Python's own."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from kipoi_mcdropout.files.hdf5 import ErrorKeepingFile, GrowingHdf5


@pytest.fixture(autouse=True)
def _ctrl_c() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, also where the tests run in a script's background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("method", ["write", "truncate", "seek", "flush"])
def test_ctrl_c_while_hdf5_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    file = GrowingHdf5(tmp_path / "a.h5", "test", {})
    file.append("x", np.arange(1000.0))
    usual = getattr(ErrorKeepingFile, method)

    def interrupted(self: ErrorKeepingFile, *args: Any) -> Any:
        monkeypatch.undo()
        signal.raise_signal(signal.SIGINT)
        return usual(self, *args)

    monkeypatch.setattr(ErrorKeepingFile, method, interrupted)
    with pytest.raises(KeyboardInterrupt):
        file.next()
    assert file.n == 1
    file.close()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with h5py.File(tmp_path / "a.h5") as found:
        np.testing.assert_array_equal(found["x"][0], np.arange(1000.0))


def test_a_thread_that_is_not_the_main_one_writes_too(tmp_path: Path) -> None:
    def write() -> None:
        file = GrowingHdf5(tmp_path / "a.h5", "test", {})
        file.append("x", np.arange(3.0))
        file.next()
        file.close()

    thread = threading.Thread(target=write)
    thread.start()
    thread.join()
    with h5py.File(tmp_path / "a.h5") as found:
        np.testing.assert_array_equal(found["x"][0], np.arange(3.0))
