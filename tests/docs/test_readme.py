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
from page_runner import without_coverage
from paths import ROOT
from PIL import Image

from kipoi_mcdropout.cli import COMMANDS as PROGRAM

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
    return subprocess.run(
        command, cwd=folder, env=without_coverage(), capture_output=True, text=True, check=False
    )


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


def section(title: str) -> str:
    """The text under a heading."""
    heading = rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)"
    found = re.search(heading, README, flags=re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def rows(title: str) -> list[list[str]]:
    """The cells of each row of the table under a heading, without its head."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_table_of_commands_has_them_all() -> None:
    named = [name for first, *_ in rows("Commands") for name in re.findall(r"`(\w+)`", first)]
    missing = sorted(set(PROGRAM) - set(named))
    assert not missing, f"README.md, table under Commands: add {', '.join(missing)}"
    assert set(named) == set(PROGRAM)
    assert len(named) == len(set(named))


def test_links_lead_to_files_that_exist() -> None:
    links = re.findall(r"\]\(([^)]+)\)", README)
    local = [link.partition("#")[0] for link in links if not link.startswith("http")]
    assert len(local) > 20
    assert [link for link in local if not (ROOT / link).exists()] == []


def test_the_picture_is_small_and_told_in_words() -> None:
    """That the command still makes it is tested with the images of the documentation."""
    ((words, link),) = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", README)
    assert len(words) > 80
    path = ROOT / link
    assert path.parent == ROOT / "docs" / "images"
    assert path.stat().st_size < 200_000
    with Image.open(path) as image:
        assert image.width >= 600


def test_the_command_of_the_picture_is_the_same_on_its_page() -> None:
    page = (ROOT / "docs" / "how_to" / "plots_and_report.md").read_text().replace("\\\n", " ")
    (shown,) = (command for command in COMMANDS if " plot effects " in command)
    (made,) = (line for line in page.splitlines() if " plot effects " in line)
    window = ("--target FOXA2", "--sequence FOXA2_1", "--start 235", "--end 265", "effects.png")
    assert all(words in shown and words in made for words in window)


def test_each_other_tool_has_a_source_of_what_is_said_of_it() -> None:
    first, *others = rows("How it compares")
    assert first[0] == "kipoi_mcdropout"
    assert len(others) >= 5
    for name, *cells in others:
        assert len(cells) == 4
        assert "](https://" in name
    numbers = [int(n) for n in re.findall(r"\[\[(\d+)\]\]\(https://", section("How it compares"))]
    assert numbers == list(range(1, len(numbers) + 1))
    pinned = re.findall(r"github\.com/[\w-]+/[\w-]+/blob/(\w+)/", section("How it compares"))
    assert len(pinned) >= 8
    assert all(len(commit) == 40 for commit in pinned)


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 200
