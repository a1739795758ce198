"""Predictive variance against predictive mean: where the model is unsure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kipoi_mcdropout.plots import style
from kipoi_mcdropout.plots.rows import choose_rows, sequence_names, thin

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKERS = ("o", "^")
MOST_NAMED = len(_MARKERS) * len(style.CATEGORIES)  # more sequences have a colour scale, no legend
_CURVE = np.linspace(0.001, 0.999, 201)


def plot_mean_variance(
    table: pd.DataFrame,
    *,
    output: str | None = None,
    score: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Variance over draws of the prediction of each mutant against its mean, coloured by sequence.

    A prediction in [0, 1] with mean p has a variance of at most p(1 - p) (Bhatia and Davis, Am Math Mon
    2000), which is drawn as a curve if predictions are probabilities. The axis of the variance is
    logarithmic, so that very small variances are visible too. Large outlined marks are the references.

    Parameters
    ----------
    table : DataFrame
        As `read.read_effects` gives; `alt_mean`, `alt_var`.
    output, score : str, optional
        Which of the table's; see `rows.choose_rows`.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    InputError, TargetError
        What the plot needs is not in the table.
    """
    rows = choose_rows(table, output, score, ("alt_mean", "alt_var"), "mean_variance")
    ax = style.new_axes(height_mm=85) if ax is None else ax
    mean = rows.table["alt_mean"].to_numpy(np.float64)
    variance = rows.table["alt_var"].to_numpy(np.float64)
    shown = np.flatnonzero(np.isfinite(mean) & np.isfinite(variance) & (variance > 0))
    chosen, sampled = thin(len(shown))
    ax.set_yscale("log")
    name = style.output_label(rows.score, rows.output)
    style.dress(ax, f"mean over draws: {name}", "variance over draws")
    _points(ax, rows.table, shown[chosen], mean, variance)
    if not rows.score.startswith("logit") and _are_probabilities(mean):
        highest = _CURVE * (1 - _CURVE)
        ax.plot(_CURVE, highest, color=style.BLACK, lw=style.LINE_PT, ls="--", gid="ceiling")
        ax.annotate(
            "most possible: p(1 − p)", (0.5, 0.25), (0, 2), textcoords="offset points",
            ha="center", va="bottom", fontsize=style.NOTE_PT,
        )  # fmt: skip
        ax.set_xlim(-0.02, 1.02)
        ax.set_ylim(top=0.8)
    style.log_ticks(ax.yaxis)
    defined = np.isfinite(mean) & np.isfinite(variance)
    constant, undefined = int((variance == 0).sum()), int((~defined).sum())
    style.note(ax, *style.left_out(constant, undefined, "variance"), sampled)
    return ax


def _points(
    ax: Axes,
    table: pd.DataFrame,
    shown: NDArray[np.int64],
    mean: NDArray[np.float64],
    variance: NDArray[np.float64],
) -> None:
    """A mark per mutant, and a large one per reference."""
    number, names = pd.factorize(sequence_names(table))
    look: dict[str, Any] = {
        "s": 5, "linewidths": 0, "alpha": 0.7, "rasterized": len(shown) > style.RASTERIZE_FROM
    }  # fmt: skip
    if len(names) > MOST_NAMED:
        points = ax.scatter(
            mean[shown], variance[shown], c=number[shown], cmap=style.SEQUENTIAL, gid="mutants", **look
        )
        scale = ax.figure.colorbar(points, ax=ax, pad=0.02, aspect=30)
        style.dress(scale.ax, ylabel="sequence (in the order of the table)")
        scale.outline.set_visible(False)
        return
    references = _references(table, number)
    handles: list[Any] = [None] * len(names)
    for first, marker in zip(range(0, len(names), len(style.CATEGORIES)), _MARKERS, strict=False):
        own = range(first, min(first + len(style.CATEGORIES), len(names)))
        rows = shown[np.isin(number[shown], own)]
        colors = np.array(style.CATEGORIES)
        own_colors = colors[number[rows] - first]
        ax.scatter(mean[rows], variance[rows], c=own_colors, marker=marker, gid="mutants", **look)
        for i in own:
            x, y = references.get(i, (np.nan, np.nan))
            handles[i] = ax.scatter(
                [x], [y], s=22, c=[colors[i - first]], marker=marker, edgecolors=style.BLACK,
                linewidths=0.6, zorder=4, gid="reference",
            )  # fmt: skip
    style.legend(ax, handles, list(names), longest=22)


def _references(table: pd.DataFrame, number: NDArray[np.int64]) -> dict[int, tuple[float, float]]:
    """Mean and variance of the reference of each sequence, where it has one."""
    if not {"ref_mean", "ref_var", "sequence"} <= set(table):
        return {}  # each variant of a VCF has its own
    by_draws = -table["n_draws"].to_numpy() if "n_draws" in table else np.zeros(len(table))
    best = np.argsort(by_draws, kind="stable")  # under --until mutants have different numbers of draws
    groups = table.iloc[best].groupby(number[best])[["ref_mean", "ref_var"]].first()
    return {i: (x, y) for i, x, y in groups.itertuples() if y > 0}


def _are_probabilities(mean: NDArray[np.float64]) -> bool:
    finite = mean[np.isfinite(mean)]
    return len(finite) > 0 and finite.min() >= 0 and finite.max() <= 1
