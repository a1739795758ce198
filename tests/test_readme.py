"""What the README shows works as shown: each command and each piece of Python is run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from paths import ROOT

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(sh|python)\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = [
    line
    for language, text in BLOCKS
    if language == "sh"
    for line in text.replace("\\\n", " ").splitlines()
    if line.startswith("kipoi ")
]
PYTHON = [text for language, text in BLOCKS if language == "python"]
LAUNCH = "import sys; from kipoi.__main__ import main; sys.argv[0] = 'kipoi'; main()"


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    (tmp_path / "example").symlink_to(ROOT / "example")
    return tmp_path


def _run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-c", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_there_is_something_to_run() -> None:
    assert len(COMMANDS) >= 2
    assert len(PYTHON) >= 1


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: " ".join(c.split()[:3]))
def test_commands(command: str, workdir: Path) -> None:
    words = shlex.split(command)[1:]
    # Two draws show that the command works as well as thirty do.
    if "--n_draws" in words:
        words[words.index("--n_draws") + 1] = "2"
    done = _run([LAUNCH, *words], workdir)
    assert done.returncode == 0, done.stderr
    for name in words[words.index("-o") + 1 :] if "-o" in words else []:
        assert (workdir / name).stat().st_size > 0
    for path in workdir.glob("*.tsv"):
        assert len(pd.read_table(path, skiprows=1)) > 0


@pytest.mark.parametrize("code", PYTHON)
def test_python(code: str, workdir: Path) -> None:
    assert "n_draws=30" in code
    done = _run([code.replace("n_draws=30", "n_draws=2")], workdir)
    assert done.returncode == 0, done.stderr
