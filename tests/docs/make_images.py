"""The images of the documentation, made by the commands that its pages show.

`python tests/docs/make_images.py` runs the pages and puts their figures into docs/images. A test
compares these with what the commands make (`test_docs_run.py`).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for paths, when run as a script

from page_runner import Runner
from paths import ROOT

IMAGES = ROOT / "docs" / "images"
PAGE = ROOT / "docs" / "how_to" / "plots_and_report.md"  # its folder has the tutorial's figures too
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


def stale(made: Path) -> list[str]:
    """Names of the images that are not those in the folder `made`."""
    return [
        image.name
        for image in sorted(IMAGES.glob("*.png"))
        if share_that_differs(Image.open(image), small(made / image.name)) > _MOST_DIFFERENT
    ]


def main() -> None:
    """Renew all images."""
    with tempfile.TemporaryDirectory() as folder:
        made = Runner(Path(folder)).run(PAGE)
        for image in sorted(IMAGES.glob("*.png")):
            small(made / image.name).quantize(_COLOURS).save(image, optimize=True)
            print(f"{image}: {image.stat().st_size} bytes")


if __name__ == "__main__":
    main()
