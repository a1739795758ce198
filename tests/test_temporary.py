"""Temporary folders of runs that were killed are removed; those of runs that go on are not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kipoi_mcdropout.temporary import temporary_folder

_OWNER = """
import sys
from kipoi_mcdropout.temporary import temporary_folder
with temporary_folder() as folder:
    (folder / "big").write_text("x")
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_the_next_run_removes_what_a_killed_one_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    foreign = tmp_path / "kipoi_mcdropout_mine"
    foreign.mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", _OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=environment,
    ) as owner:  # fmt: skip
        assert owner.stdout is not None
        left = Path(owner.stdout.readline().strip())
        assert (left / "big").is_file()
        with temporary_folder() as folder:
            assert folder.parent == tmp_path
            assert left.is_dir()  # its owner runs
        assert not folder.exists()
        owner.send_signal(signal.SIGKILL)
    assert left.is_dir()
    with pytest.raises(KeyError), temporary_folder() as folder:
        assert not left.exists()
        raise KeyError
    assert list(tmp_path.iterdir()) == [foreign]  # without our lock, so not ours to remove
