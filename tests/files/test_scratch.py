"""Temporary folders of runs that were killed are removed by the next run, and no others."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from kipoi_mcdropout.files.scratch import scratch_folder

HOLD = """
import sys, tempfile
tempfile.tempdir = sys.argv[1]
from kipoi_mcdropout.files.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "big").write_text("x")
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_a_folder_lives_as_long_as_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    other = tmp_path / "kipoi_mcdropout_of_something_else"
    other.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        theirs = Path(process.stdout.readline().strip())
        with scratch_folder() as mine:
            assert mine.is_dir()
            assert mine != theirs
            assert (theirs / "big").exists(), "its run is alive"
        assert not mine.exists()
        process.send_signal(signal.SIGKILL)
    assert theirs.exists()
    with scratch_folder():
        assert not theirs.exists()
    assert list(tmp_path.iterdir()) == [other]
