"""Are the intervals right? Coverage of measured effects, and the histogram of their PIT."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrik

from kipoi_mcdropout.plots import style
from kipoi_mcdropout.significance.calibration import CalibrationResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEVELS = np.linspace(0, 1, 101)


def plot_calibration(result: CalibrationResult, *, ax: Axes | None = None) -> dict[str, Axes]:
    """Observed against nominal coverage, and the PIT histogram.

    Left: the share of measured effects inside the central interval, at every level (line) and at the
    levels of the result with 95 % Wilson intervals (marks). On the diagonal intervals are right; below
    it they are too short. The panel also shows the share after the sd is rescaled, and after
    recalibration. Right: the PIT (probability integral transform), which is the predicted probability of
    a value below the measured one. Its histogram is flat if intervals are right, and high at both ends
    if the sd is too small. If intervals are right, a bar lies in the grey band with a probability of 95
    %.

    Parameters
    ----------
    result : CalibrationResult
        Of `calibration.calibrate`.
    ax : Axes, optional
        Its place is divided into the panels; a new figure by default.

    Returns
    -------
    dict of str to Axes
        "coverage" and "pit".
    """
    figure, grid = style.divide(ax, style.PAGE_MM, 75, nrows=1, ncols=2)
    panels = {name: figure.add_subplot(grid[0, i]) for i, name in enumerate(("coverage", "pit"))}
    _draw_coverage(panels["coverage"], result)
    _draw_pit(panels["pit"], result)
    return panels


def _draw_coverage(ax: Axes, result: CalibrationResult) -> None:
    style.dress(ax, "nominal level of the interval", "share of measured effects inside")
    ax.plot([0, 1], [0, 1], color=style.GREY, lw=style.LINE_PT, ls=":", zorder=1, gid="honest")
    inside = np.abs(result.pit - 0.5) * 2  # beyond 8 sd it rounds to 1, which no level reaches
    share = np.searchsorted(np.sort(inside), _LEVELS, side="right") / len(inside)
    (line,) = ax.plot(_LEVELS, share, color=style.BLACK, lw=style.LINE_PT, zorder=2, gid="every level")
    table = result.coverage
    error = np.maximum(
        0, np.stack([table["observed"] - table["lower"], table["upper"] - table["observed"]])
    )
    ax.errorbar(
        table["level"], table["observed"], error, fmt="o", color=style.BLACK, markersize=3,
        elinewidth=0.7, markeredgewidth=0, zorder=4, gid="observed",
    )  # fmt: skip
    handles, labels = [line], ["as predicted"]
    for column, marker, color, words in (
        ("scaled", "s", style.ORANGE, f"sd × {result.sd_scale:.3g}"),
        ("recalibrated", "D", style.BLUE, "recalibrated"),
    ):
        handles += ax.plot(
            table["level"], table[column], marker, color=color, markersize=3.5, markeredgewidth=0.8,
            markerfacecolor="none", zorder=5, gid=column,
        )  # fmt: skip
        labels.append(words)
    ax.set_xlim(0, 1.01)
    ax.set_ylim(0, 1.02)
    style.legend(ax, handles, labels)
    r = result.correlation
    aligned = f"measured = {result.intercept:.3g} + {result.slope:.3g} × predicted"
    style.note(
        ax, f"{result.n:,} variants; bars: 95 % Wilson",
        f"correlation {r.r:.2g} (95 % {r.lower:.2g} to {r.upper:.2g})",
        *([aligned] if result.align == "linear" else []),
    )  # fmt: skip


def _draw_pit(ax: Axes, result: CalibrationResult) -> None:
    style.dress(ax, "probability integral transform (PIT)", "density")
    edges, n = result.pit_edges, int(result.pit_counts.sum())
    width = np.diff(edges)
    ax.bar(
        edges[:-1], result.pit_counts / (n * width), width, align="edge", color=style.SKY,
        edgecolor="white", lw=0.5, zorder=2, gid="pit",
    )  # fmt: skip
    low, high = binomial_interval(0.95, n, width[0])
    expected = n * width[0]
    ax.axhspan(low / expected, high / expected, color=style.GREY, alpha=0.3, lw=0, zorder=3, gid="band")
    ax.axhline(1, color=style.BLACK, lw=style.LINE_PT, ls="--", zorder=4, gid="uniform")
    ax.set_xlim(0, 1)
    ax.set_ylim(bottom=0)
    ax.set_title(
        f"mean squared standardised error λ = {result.variance_scale:.3g}", fontsize=style.LABEL_PT,
        loc="left", pad=4,
    )  # fmt: skip
    style.note(ax, "grey: 95 % of heights were it uniform")


def binomial_interval(level: float, n: int, p: float) -> NDArray[np.float64]:
    """The counts between which a share `level` of binomial counts lies, each tail with half of the rest.

    As `scipy.stats.binom.interval`; to import `scipy.stats` takes longer than to draw the figure.
    """
    below = np.array([(1 - level) / 2, (1 + level) / 2])
    counts = np.ceil(bdtrik(below, n, p))
    lower = np.maximum(counts - 1, 0)  # rounding may have gone one too far
    ends: NDArray[np.float64] = np.where(bdtr(lower, n, p) >= below, lower, counts)
    return ends
