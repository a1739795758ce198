"""Colours are told apart by those with a red-green deficiency, and in grey."""

from __future__ import annotations

from itertools import combinations

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from kipoi_mcdropout.plots import style

# Full deficiency, of linear RGB (Machado, Oliveira and Fernandes, IEEE TVCG 2009).
SEEN_BY = {
    "trichromat": np.eye(3),
    "protanope": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranope": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}
JUST_SEEN = 2.3  # of CIELAB's distance


def lab(color: object, eye: np.ndarray) -> np.ndarray:
    """CIELAB (D65) of a colour as an eye sees it."""
    srgb = np.array(to_rgb(color))  # type: ignore[arg-type]
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(eye @ linear, 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    ratio = to_xyz @ linear / np.array([0.9505, 1.0, 1.089])
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("eye", SEEN_BY)
def test_categories_and_bases_differ(eye: str) -> None:
    for group in (style.CATEGORIES, tuple(style.BASES[base] for base in "ACGT")):
        for one, other in combinations(group, 2):
            distance = np.linalg.norm(lab(one, SEEN_BY[eye]) - lab(other, SEEN_BY[eye]))
            assert distance > 5 * JUST_SEEN, (one, other)


@pytest.mark.parametrize("eye", SEEN_BY)
def test_signs_differ_at_every_size_of_an_effect(eye: str) -> None:
    colours = matplotlib.colormaps[style.DIVERGING]
    for size in np.linspace(0.2, 1, 9):
        up, down = colours(0.5 + size / 2), colours(0.5 - size / 2)
        assert np.linalg.norm(lab(up[:3], SEEN_BY[eye]) - lab(down[:3], SEEN_BY[eye])) > 5 * JUST_SEEN


@pytest.mark.parametrize("eye", SEEN_BY)
def test_the_scale_of_sd_gets_lighter_throughout(eye: str) -> None:
    colours = matplotlib.colormaps[style.SEQUENTIAL]
    lightness = [lab(colours(x)[:3], SEEN_BY[eye])[0] for x in np.linspace(0, 1, 21)]
    assert (np.diff(lightness) > 0).all()
