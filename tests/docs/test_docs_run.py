"""Every command and every piece of code in the documentation is run, page by page, in its order."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from doc_blocks import Block, blocks
from page_runner import Runner
from paths import ROOT

DOCS = ROOT / "docs"
# Packages beside those that every page needs.
NEEDS = {"how_to/keras.md": "keras", "how_to/tracks.md": "pyBigWig"}
PAGES = [p for p in sorted(DOCS.rglob("*.md")) if "_build" not in p.parts]
IDS = [str(page.relative_to(DOCS)) for page in PAGES]


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    return Runner(tmp_path_factory.mktemp("pages"))


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_page(page: Path, runner: Runner) -> None:
    needs = NEEDS.get(str(page.relative_to(DOCS)))
    if needs and importlib.util.find_spec(needs) is None and os.environ.get("CI") != "true":
        pytest.skip(f"{needs} is not installed: pip install 'kipoi_mcdropout[test]'")
    if not any(block.action in ("run", "file") for block in blocks(page)):
        pytest.skip("no block to run")
    assert runner.run(page).is_dir()


def test_the_images_are_what_the_commands_make(runner: Runner, tmp_path: Path) -> None:
    make_images = pytest.importorskip("make_images")  # needs Pillow, which matplotlib brings
    made = [runner.run(page) for page in make_images.PAGES]
    assert make_images.stale(made) == [], "run tests/docs/make_images.py"
    for image in make_images.IMAGES.glob("*.png"):  # one figure is not taken for another
        shutil.copy(made[0] / "mr.png", tmp_path / image.name)
    assert "ism.png" in make_images.stale([tmp_path])
    assert "mr.png" not in make_images.stale([tmp_path])


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


def test_a_block_is_run_where_what_it_needs_is_here(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    block = "```sh\nx\n```\n"
    page.write_text(f"<!-- needs: bash json -->\n{block}<!-- needs: bash no_such -->\n{block}")
    first, second = blocks(page)
    assert first.action == "run"
    assert (second.action, second.detail) == ("not run", "there is no no_such here")


@pytest.mark.parametrize(
    "text", ["```\nx\n```\n", "```yaml\nx\n```\n", " ```sh\n x\n ```\n", "```sh\nx\n"]
)
def test_a_block_of_no_known_kind_is_an_error(text: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(ValueError, match=r"page\.md:1"):
        blocks(page)
