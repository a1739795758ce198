"""The images of the documentation, made by the commands that its pages show.

`python tests/docs/make_images.py` runs the pages and puts their figures into docs/images. A test
compares these with what the commands make (`test_docs_run.py`).
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for paths, when run as a script

from page_runner import Runner
from paths import ROOT

IMAGES = ROOT / "docs" / "images"
# The folder of the first has the tutorial's figures too.
PAGES = tuple(ROOT / "docs" / "how_to" / name for name in ("plots_and_report.md", "intervals.md"))
_SCALE = 110 / 300  # of a figure of 300 dots per inch
_COLOURS = 256
_DIFFERENT = 48  # of 255: beyond what the rounding of another machine moves in an edge
_MOST_DIFFERENT = 0.004  # share of the pixels


def small(path: Path) -> Image.Image:
    """A figure at the size in which the documentation has it."""
    with Image.open(path) as figure:
        size = (round(figure.width * _SCALE), round(figure.height * _SCALE))
        return figure.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def share_that_differs(one: Image.Image, other: Image.Image) -> float:
    """Share of the pixels that differ clearly; 1 where the sizes do."""
    if one.size != other.size:
        return 1.0
    a, b = (np.asarray(image.convert("RGB"), np.int16) for image in (one, other))
    return float((np.abs(a - b).max(axis=-1) > _DIFFERENT).mean())


def figure(name: str, folders: Sequence[Path]) -> Path:
    """The figure of a name in the first of the folders that has it."""
    return next(folder / name for folder in folders if (folder / name).is_file())


def stale(folders: Sequence[Path]) -> list[str]:
    """Names of the images that are not those in the folders of the pages."""
    return [
        image.name
        for image in sorted(IMAGES.glob("*.png"))
        if share_that_differs(Image.open(image), small(figure(image.name, folders))) > _MOST_DIFFERENT
    ]


def _texts() -> str:
    """All pages."""
    return "".join(page.read_text() for page in (ROOT / "docs").rglob("*.md"))


def main() -> None:
    """Renew all images, and make those that a page shows and that are not there yet."""
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(Path(folder))
        folders = [runner.run(page) for page in PAGES]
        names = {image.name for page in folders for image in page.glob("*.png")}
        for image in sorted(IMAGES / name for name in names if f"images/{name}" in _texts()):
            small(figure(image.name, folders)).quantize(_COLOURS).save(image, optimize=True)
            print(f"{image}: {image.stat().st_size} bytes")


if __name__ == "__main__":
    main()
