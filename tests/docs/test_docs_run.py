"""Every command and every piece of code in the documentation is run, page by page, in its order."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from doc_blocks import Block, blocks, continues
from paths import ROOT

DOCS = ROOT / "docs"
PAGES = [p for p in sorted(DOCS.rglob("*.md")) if "_build" not in p.parts]
IDS = [str(page.relative_to(DOCS)) for page in PAGES]


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
    return {**os.environ, "PATH": path, **quiet}


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    return Runner(tmp_path_factory.mktemp("pages"))


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_page(page: Path, runner: Runner) -> None:
    if not any(block.action in ("run", "file") for block in blocks(page)):
        pytest.skip("no block to run")
    assert runner.run(page).is_dir()


def test_what_is_not_run_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    left_out: list[tuple[str, Block]] = []
    n_run = 0
    for page, name in zip(PAGES, IDS, strict=True):
        for block in blocks(page):
            if block.action == "run" and block.language == "r" and shutil.which("Rscript") is None:
                block = replace(block, action="not run", detail="there is no Rscript here")
            n_run += block.action == "run"
            if block.action == "not run":
                left_out.append((name, block))
    with capsys.disabled():
        for name, block in left_out:
            first = block.text.splitlines()[0]
            print(f"\nnot run: docs/{name}:{block.line} ({block.detail}): {first}", end="")
        print()
    assert all(len(block.detail) > 10 for _, block in left_out)
    assert n_run > len(left_out)


def test_the_runner_fails_where_a_page_is_wrong(tmp_path: Path) -> None:
    """A runner that let everything pass would pass every page."""
    page = tmp_path / "page.md"
    runner = str(Path(__file__).with_name("run_page.py"))
    bad = {
        "```sh\nfalse\necho after\n```\n": "exit code 1",
        "```python\nx = 1\n```\n```python\nassert x == 2\n```\n": "AssertionError",
        "```sh\necho a\necho b\n```\n<!-- prints -->\n```text\nb\na\n```\n": "the page has 'a'",
    }
    for text, message in bad.items():
        page.write_text(text)
        given = json.dumps([block.as_dict() for block in blocks(page)])
        done = subprocess.run(
            [sys.executable, runner], input=given, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert message in done.stderr


@pytest.mark.parametrize(
    "text", ["```\nx\n```\n", "```yaml\nx\n```\n", " ```sh\n x\n ```\n", "```sh\nx\n"]
)
def test_a_block_of_no_known_kind_is_an_error(text: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(ValueError, match=r"page\.md:1"):
        blocks(page)
