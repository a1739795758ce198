"""What all plots share: journal widths, font sizes, colours, and figures that need no pyplot.

Widths and sizes are those that journals print: a column is 89 mm wide, a page 183 mm, text 6 to 8 pt.
Categories have the colours of Okabe and Ito (jfly.uni-koeln.de/color), which those with a red-green
deficiency can tell apart, and effects a map from blue over white to red, in which they can tell the
signs apart.

Nothing here changes matplotlib's settings: sizes are given to each text and axis, so a figure looks
the same whoever saves it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kipoi_mcdropout.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

COLUMN_MM = 89.0
PAGE_MM = 183.0
MM_PER_INCH = 25.4

TITLE_PT, LABEL_PT, TICK_PT, NOTE_PT = 8.0, 7.0, 6.0, 6.0
LINE_PT = 0.8
FRAME_PT = 0.5
_LETTER_EM, _HANDLE_EM, _GAP_EM = 0.6, 1.4, 1.0  # of a legend
_BELOW_LABEL_PT = 22  # tick labels and the axis' label are above this

# Okabe and Ito; black is left for lines and outlines, yellow out: it is too faint on white.
BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
SKY, PURPLE, BLACK, GREY, PALE = "#56B4E9", "#CC79A7", "#000000", "#767676", "#C8C8C8"
CATEGORIES = (BLUE, VERMILLION, GREEN, ORANGE, SKY, PURPLE, BLACK)
BASES = {"A": GREEN, "C": BLUE, "G": ORANGE, "T": VERMILLION, "U": VERMILLION}
DIVERGING = "RdBu_r"
SEQUENTIAL = "cividis"

LONGEST_NAME = 28  # characters of a user's name that are shown
RASTERIZE_FROM = 2_000  # marks; above it an svg or pdf would become slow to open


def new_axes(width_mm: float = COLUMN_MM, height_mm: float = 70.0) -> Axes:
    """An Axes in a figure of its own."""
    return new_figure(width_mm, height_mm).add_subplot()


def new_figure(width_mm: float, height_mm: float) -> Figure:
    """An empty figure of this size whose panels are laid out so that no text overlaps.

    Raises
    ------
    InputError
        If matplotlib is not installed.
    """
    require("matplotlib")
    from matplotlib.figure import Figure

    size = (width_mm / MM_PER_INCH, height_mm / MM_PER_INCH)
    return Figure(figsize=size, layout="constrained", facecolor="white")


def require(package: str) -> None:
    """Raise InputError if a package of the extra `plot` is not there."""
    import importlib

    try:
        importlib.import_module(package)
    except ImportError as error:
        raise InputError(
            f"plots need {package}, which cannot be imported ({error}): pip install {package}"
        ) from error


def divide(ax: Axes | None, width_mm: float, height_mm: float, **grid: Any) -> tuple[Figure, Any]:
    """A figure and a grid in it: of a figure of its own, or in the place of `ax`, which is removed.

    `grid` is passed on: nrows, ncols, width_ratios, height_ratios.

    Raises
    ------
    InputError
        If `ax` was not made by `subplots` or `add_subplot`, so its place cannot be divided.
    """
    if ax is None:
        figure = new_figure(width_mm, height_mm)
        return figure, figure.add_gridspec(**grid)
    place = ax.get_subplotspec()
    if place is None:
        raise InputError(
            "a plot of several panels needs an Axes made by figure.subplots or figure.add_subplot; got "
            f"{type(ax).__name__} at a fixed place. Leave out ax, or create it that way"
        )
    figure = ax.figure  # type: ignore[assignment]
    ax.remove()
    return figure, place.subgridspec(**grid)


def dress(ax: Axes, xlabel: str = "", ylabel: str = "", title: str = "") -> None:
    """Labels, and ticks, frame and text in print sizes."""
    ax.set_xlabel(xlabel, fontsize=LABEL_PT, labelpad=2)
    ax.set_ylabel(ylabel, fontsize=LABEL_PT, labelpad=2)
    if title:
        ax.set_title(title, fontsize=TITLE_PT, pad=4)
    ax.tick_params(which="both", labelsize=TICK_PT, width=FRAME_PT, pad=2)
    ax.tick_params(which="major", length=2.5)
    ax.tick_params(which="minor", length=1.5)
    for spine in ax.spines.values():
        spine.set_linewidth(FRAME_PT)
    ax.spines[["top", "right"]].set_visible(False)
    for axis in (ax.xaxis, ax.yaxis):
        axis.get_offset_text().set_fontsize(TICK_PT)


def log_ticks(axis: Axis) -> None:
    """Label the decades alone where there are any; call it when the limits are set."""
    from matplotlib.ticker import NullFormatter

    low, high = sorted(axis.get_view_interval())
    if high >= 12 * low:
        axis.set_minor_formatter(NullFormatter())


def legend(
    ax: Axes, handles: Sequence[Any], labels: Sequence[str], longest: int = LONGEST_NAME
) -> float:
    """A legend above the panel, where it covers no data; returns its height in points.

    It has as many columns as the panel, as it is wide now, has room for.
    """
    if not len(handles):
        return 0.0
    words = [plain(label, longest) for label in labels]
    ncols = _legend_columns(words, ax.get_window_extent().width * 72 / ax.figure.dpi)
    ax.legend(
        handles, words, ncols=ncols, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2,
        fontsize=NOTE_PT, frameon=False, handlelength=_HANDLE_EM, handletextpad=0.4,
        columnspacing=_GAP_EM, labelspacing=0.3,
    )  # fmt: skip
    return -(-len(words) // ncols) * 1.5 * NOTE_PT


def _legend_columns(words: Sequence[str], width_pt: float) -> int:
    """The most columns whose longest words, side by side, fit the width."""
    for n in range(len(words), 1, -1):
        columns = [words[i : i + -(-len(words) // n)] for i in range(0, len(words), -(-len(words) // n))]
        letters = sum(max(map(len, column)) for column in columns)
        needed = NOTE_PT * (letters * _LETTER_EM + len(columns) * (_HANDLE_EM + _GAP_EM + 0.4))
        if needed <= width_pt:
            return len(columns)
    return 1


def note(ax: Axes, *remarks: str) -> None:
    """Remarks below the panel, one a line, empty ones left out; there they cover no data."""
    text = "\n".join(remark for remark in remarks if remark)
    if text:
        below = _BELOW_LABEL_PT + 1.4 * LABEL_PT * ax.get_xlabel().count("\n")
        ax.annotate(
            text, (1, 0), (0, -below), xycoords="axes fraction", textcoords="offset points",
            ha="right", va="top", fontsize=NOTE_PT, color="#404040", linespacing=1.1, gid="note",
        )  # fmt: skip


def left_out(constant: int, undefined: int, what: str) -> tuple[str, str]:
    """Remarks on the rows that a plot cannot show."""
    return (
        f"{constant:,} with {what} 0 not shown" if constant else "",
        f"{undefined:,} undefined (NaN) not shown" if undefined else "",
    )


def plain(name: object, longest: int = LONGEST_NAME) -> str:
    """A user's name as it can be put into a figure: one line, not too long, never read as a formula."""
    text = re.sub(r"\s+", " ", str(name)).strip()
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    if len(text) > longest:
        head = (longest - 1) * 2 // 3
        text = f"{text[:head]}…{text[-(longest - 1 - head) :]}"
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text  # matplotlib drops legend entries with _


def effect_label(score: str, output: str) -> str:
    """What the axis of an effect says, with its unit."""
    name = plain(output, 20)  # that it fits the height of a panel
    return {
        "diff": f"effect on {name} (alt − ref)",
        "logit": f"effect on {name} (log odds)",
    }.get(score, f"{plain(score)} of {name}")


def output_label(score: str, output: str) -> str:
    """What the axis of a prediction says, with its unit."""
    return f"{plain(output, 20)} (log odds)" if score.startswith("logit") else plain(output)
