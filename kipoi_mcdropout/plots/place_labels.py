"""Names beside points, only where they cover neither marks, nor each other, nor the frame.

adjustText and textalloc were tried. They place every name, also over marks and other names where there
is no room, and draw lines through other marks; here such a name is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.path import Path
    from matplotlib.transforms import Bbox

_DISTANCES_PT = (4, 9, 16, 25)
_DIRECTIONS = (
    (1, 0, "left", "center"), (-1, 0, "right", "center"), (0, 1, "center", "bottom"),
    (0, -1, "center", "top"), (0.7, 0.7, "left", "bottom"), (-0.7, 0.7, "right", "bottom"),
    (0.7, -0.7, "left", "top"), (-0.7, -0.7, "right", "top"),
)  # fmt: skip
_ENDS = {"left": 0.0, "bottom": 0.0, "center": 0.5, "right": 1.0, "top": 1.0}  # of a name
_AIR_PX = 1.5
_SIZE_PT = style.NOTE_PT - 0.5
_NEAR_PT = 5.0  # farther names get a line to their mark
_CLEARER = 2.0  # times as far as its own mark is any other from a name without a line
_MARK_PT = 2.5  # a line keeps so far from the middle of other marks
_SAME_PX = 0.5  # marks at one place cannot be told apart


def place_labels(
    ax: Axes,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    names: Sequence[str],
    avoid: NDArray[np.float64],
    most: int,
) -> list[str]:
    """Write each name near its point, the first ones first; those without room are left out.

    Call it when the axes have their final limits and size: room is measured as they are now.

    Parameters
    ----------
    x, y : array, shape=(n,)
    names : sequence of str, length n
    avoid : array, shape=(m, 2)
        Marks that no name may cover, in the data's coordinates.
    most : int
        Names that are written at most.

    Returns
    -------
    list of str
        The names that found room.
    """
    if not len(names) or most < 1:
        return []
    ax.figure.draw_without_rendering()  # type: ignore[union-attr]  # lays the panels out
    room = _Room(ax, avoid)
    placed: list[str] = []
    for i, name in enumerate(names):
        if len(placed) < most and room.place((float(x[i]), float(y[i])), name):
            placed.append(name)
    return placed


class _Room:
    """The free places of a panel, in pixels."""

    def __init__(self, ax: Axes, avoid: NDArray[np.float64]) -> None:
        self._ax = ax
        self._frame = ax.get_window_extent()
        self._marks = ax.transData.transform(avoid)
        self._taken: list[Bbox] = []
        self._lines: list[Path] = []

    def place(self, point: tuple[float, float], name: str) -> bool:
        """Write a name at the nearest free place; False if there is none.

        A name without a line to its mark must have no other mark as near as its own.
        """
        size = self._size(name)
        for distance in _DISTANCES_PT:
            for dx, dy, ha, va in _DIRECTIONS:
                offset = (distance * dx, distance * dy)
                box = self._box(point, offset, size, ha, va)
                line = self._line(point, box)
                with_line = distance > _NEAR_PT
                tells = self._misses_marks if with_line else self._is_nearest
                if self._is_free(box, line) and tells(point, box):
                    self._taken.append(box)
                    self._lines.append(line)
                    self._write(name, point, offset, ha, va, line=with_line)
                    return True
        return False

    def _is_nearest(self, point: tuple[float, float], box: Bbox) -> bool:
        """Whether the mark of a name is far nearer to it than any other mark."""
        own, others = self._own_and_others(point)
        near = _to_box(own[None], box)[0]
        return bool(np.all(_to_box(others, box) > _CLEARER * near + _AIR_PX))

    def _misses_marks(self, point: tuple[float, float], box: Bbox) -> bool:
        """Whether the line from a mark to its name passes no other mark."""
        own, others = self._own_and_others(point)
        end = np.clip(own, (box.x0, box.y0), (box.x1, box.y1))
        pixel = self._ax.figure.dpi / 72
        return bool(np.all(_to_segment(others, own, end) > _MARK_PT * pixel))

    def _own_and_others(
        self, point: tuple[float, float]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The mark of a name in pixels, shape=(2,), and those elsewhere, shape=(n, 2)."""
        own = self._ax.transData.transform(point)
        return own, self._marks[np.abs(self._marks - own).max(axis=1) > _SAME_PX]

    def _size(self, name: str) -> tuple[float, float]:
        """Width and height of a name."""
        text = self._ax.text(0, 0, name, fontsize=_SIZE_PT)
        box = text.get_window_extent()
        text.remove()
        return box.width, box.height

    def _box(
        self,
        point: tuple[float, float],
        offset: tuple[float, float],
        size: tuple[float, float],
        ha: str,
        va: str,
    ) -> Bbox:
        """Where a name would be, with a little air around it."""
        from matplotlib.transforms import Bbox

        pixel = self._ax.figure.dpi / 72
        x, y = self._ax.transData.transform(point) + np.array(offset) * pixel
        (width, height) = size
        box = Bbox.from_bounds(x - _ENDS[ha] * width, y - _ENDS[va] * height, width, height)
        return box.padded(_AIR_PX)

    def _write(
        self,
        name: str,
        point: tuple[float, float],
        offset: tuple[float, float],
        ha: str,
        va: str,
        line: bool,
    ) -> None:
        look = {
            "arrowstyle": "-", "lw": 0.4, "color": style.GREY, "shrinkA": 0, "shrinkB": 2,
            "relpos": (_ENDS[ha], _ENDS[va]),
        }  # fmt: skip
        self._ax.annotate(
            name, point, offset, textcoords="offset points", ha=ha, va=va, zorder=5, gid="name",
            fontsize=_SIZE_PT, arrowprops=look if line else None,
        )  # fmt: skip

    def _line(self, point: tuple[float, float], box: Bbox) -> Path:
        """From a mark to the nearest place of its name."""
        from matplotlib.path import Path

        x, y = self._ax.transData.transform(point)
        return Path([(x, y), (np.clip(x, box.x0, box.x1), np.clip(y, box.y0, box.y1))])

    def _is_free(self, box: Bbox, line: Path) -> bool:
        corners = ((box.x0, box.y0), (box.x1, box.y1))
        inside = all(self._frame.contains(*corner) for corner in corners)
        return (
            inside
            and not box.count_contains(self._marks)
            and not any(box.overlaps(other) for other in self._taken)
            and not any(line.intersects_bbox(other, filled=False) for other in self._taken)
            and not any(other.intersects_bbox(box, filled=False) for other in self._lines)
            and not any(other.intersects_path(line, filled=False) for other in self._lines)
        )


def _to_box(points: NDArray[np.float64], box: Bbox) -> NDArray[np.float64]:
    """How far each point is from a box, 0 inside, shape=(n,)."""
    nearest = np.clip(points, (box.x0, box.y0), (box.x1, box.y1))
    distances: NDArray[np.float64] = np.hypot(*(points - nearest).T)
    return distances


def _to_segment(
    points: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How far each point is from a line between two others, shape=(n,)."""
    along = end - start
    length = max(float(along @ along), np.finfo(float).tiny)
    share = np.clip((points - start) @ along / length, 0, 1)
    distances: NDArray[np.float64] = np.hypot(*(points - start - share[:, None] * along).T)
    return distances
