"""What the README shows works as shown: each command and each piece of Python is run."""

from __future__ import annotations

import itertools
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
    assert len(COMMANDS) >= 6
    assert len(PYTHON) >= 1


def test_commands(workdir: Path) -> None:
    """In their order, as later ones read what earlier ones wrote."""
    for command in COMMANDS:
        words = shlex.split(command)[1:]
        # A few draws show that a command works as well as thirty do.
        if "--n_draws" in words:
            words[words.index("--n_draws") + 1] = "4"
        done = _run([LAUNCH, *words], workdir)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        after = words[words.index("-o") + 1 :]
        for name in itertools.takewhile(lambda word: not word.startswith("-"), after):
            assert (workdir / name).stat().st_size > 0
    assert len(pd.read_table(workdir / "mr.tsv", skiprows=1)) > 3
    assert len(pd.read_table(workdir / "out.tsv", skiprows=1)) > 1000
    assert len(pd.read_parquet(workdir / "variants.parquet")) > 100
    assert (workdir / "for_r" / "twosamplemr.tsv").is_file()


@pytest.mark.parametrize("code", PYTHON)
def test_python(code: str, workdir: Path) -> None:
    assert "n_draws=30" in code
    done = _run([code.replace("n_draws=30", "n_draws=2")], workdir)
    assert done.returncode == 0, done.stderr
