"""What can be said of a figure without eyes: nothing clipped, nothing overlapping, nothing too small."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

SMALLEST_PT = 5.0
_TOUCH_PX = 0.5


def check_readable(figure: Figure) -> None:
    """Fail where a text is clipped, too small, or on top of another, or a legend covers a panel."""
    figure.draw_without_rendering()
    texts = list(_texts(figure))
    assert texts
    for text, box in texts:
        assert text.get_fontsize() >= SMALLEST_PT, text
        page = figure.bbox.padded(1)
        assert page.x0 <= box.x0, f"clipped: {text}"
        assert box.x1 <= page.x1, f"clipped: {text}"
        assert page.y0 <= box.y0, f"clipped: {text}"
        assert box.y1 <= page.y1, f"clipped: {text}"
    for (text, box), (other, other_box) in combinations(texts, 2):
        assert not _overlap(box, other_box), f"{text} lies on {other}"
    for ax in figure.axes:
        if ax.get_legend() is not None and ax.axison:
            assert not _overlap(ax.get_legend().get_window_extent(), ax.get_window_extent())


def tick_labels(ax: Axes) -> list[str]:
    """The tick labels that are seen."""
    return [t.get_text() for t in (*ax.get_xticklabels(), *ax.get_yticklabels()) if t.get_text()]


def notes(ax: Axes) -> str:
    """The remarks below a panel."""
    return "\n".join(text.get_text() for text in ax.texts if text.get_gid() == "note")


def by_gid(ax: Axes, gid: str) -> list[Any]:
    """The artists of a panel with this name."""
    return [artist for artist in ax.get_children() if artist.get_gid() == gid]


def legend_labels(ax: Axes) -> list[str]:
    """The words of a panel's legend."""
    return [text.get_text().strip() for text in ax.get_legend().get_texts()]


def _texts(figure: Figure) -> Iterator[tuple[Text, Bbox]]:
    """Every text that is drawn, with the place of its words."""
    for ax in figure.axes:
        found = [*ax.texts, *(ax.get_legend().get_texts() if ax.get_legend() else ())]
        if ax.axison:
            found += [ax.title, ax._left_title, ax._right_title]
            for axis in (ax.xaxis, ax.yaxis):
                found += [axis.label, axis.get_offset_text()]
                found += [label for tick in axis._update_ticks() for label in (tick.label1, tick.label2)]
        for text in found:
            if text.get_visible() and text.get_text().strip():
                yield text, Text.get_window_extent(text)


def _overlap(a: Bbox, b: Bbox) -> bool:
    beside = a.x0 + _TOUCH_PX > b.x1 or b.x0 + _TOUCH_PX > a.x1
    above = a.y0 + _TOUCH_PX > b.y1 or b.y0 + _TOUCH_PX > a.y1
    return not (beside or above)
