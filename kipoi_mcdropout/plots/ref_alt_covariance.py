"""The sd of effects with shared masks compared with independent masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.plots import style
from kipoi_mcdropout.plots.rows import ROUNDING, choose_rows, thin

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NEEDED = ("ref_var", "alt_var", "effect_mean", "effect_sd")
_FACTORS = (1, 10, 100)  # lines of so many times less


def plot_ref_alt_covariance(
    table: pd.DataFrame,
    *,
    output: str | None = None,
    score: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The sd of each effect with shared masks against the sd that independent masks would give.

    With reference X and mutant Y in the same thinned network the variance of the effect is Var X + Var Y
    - 2 Cov(X, Y), which is effect_sd squared; with different masks the covariance is lost and it is Var
    X + Var Y. On the upper line both are the same; on the line below, the error bar is ten times shorter
    with shared masks. Colour is the size of the effect.

    Parameters
    ----------
    table : DataFrame
        As `read.read_effects` gives; `ref_var`, `alt_var`, `effect_mean`, `effect_sd`.
    output, score : str, optional
        Which of the table's; the score must be "diff" or "logit", for which the identity holds.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    InputError, TargetError
        What the plot needs is not in the table, or the score is no difference.
    """
    rows = choose_rows(table, output, score, _NEEDED, "ref_alt_covariance")
    if rows.score not in ("diff", "logit"):
        raise InputError(
            "plot ref_alt_covariance needs --score diff or logit, which are differences; got "
            f"{rows.score!r}"
        )
    ax = style.new_axes(height_mm=82) if ax is None else ax
    independent = independent_sd(rows.table)
    shared = rows.table["effect_sd"].to_numpy(np.float64)
    effect = np.abs(rows.table["effect_mean"].to_numpy(np.float64))
    defined = np.isfinite(independent) & np.isfinite(shared) & np.isfinite(effect)
    positive = defined & (shared > ROUNDING * np.max(independent, initial=0, where=defined))
    shown = np.flatnonzero(positive)
    chosen, sampled = thin(len(shown))
    unit = " (log odds)" if rows.score == "logit" else ""
    style.dress(
        ax,
        f"sd with independent masks{unit}\n√(Var ref + Var alt)",
        f"sd with shared masks{unit}\n√(Var ref + Var alt − 2 Cov)",
    )
    ax.set_title(f"effect on {style.plain(rows.output)}", fontsize=style.TITLE_PT, loc="left", pad=4)
    _points(ax, independent, shared, effect, shown[chosen])
    style.note(ax, *_remarks(independent, shared, positive, int((~defined).sum())), sampled)
    return ax


def independent_sd(table: pd.DataFrame) -> NDArray[np.float64]:
    """sqrt(ref_var + alt_var), shape=(rows,)."""
    ref_var, alt_var = (table[name].to_numpy(np.float64) for name in ("ref_var", "alt_var"))
    sd: NDArray[np.float64] = np.sqrt(ref_var + alt_var)
    return sd


def _points(
    ax: Axes,
    independent: NDArray[np.float64],
    shared: NDArray[np.float64],
    effect: NDArray[np.float64],
    shown: NDArray[np.int64],
) -> None:
    from matplotlib.colors import LogNorm

    ax.set_xscale("log")
    ax.set_yscale("log")
    if not len(shown):
        return
    size = np.where(effect[shown] > 0, effect[shown], np.nan)
    finite = size[np.isfinite(size)]
    low, high = (finite.min(), finite.max()) if len(finite) else (1.0, 1.0)
    points = ax.scatter(
        independent[shown], shared[shown], c=size, cmap=style.SEQUENTIAL, plotnonfinite=True,
        norm=LogNorm(max(low, high * ROUNDING), high * (1 if high > low else 10)), s=5, linewidths=0,
        alpha=0.8, rasterized=len(shown) > style.RASTERIZE_FROM, gid="mutants", zorder=3,
    )  # fmt: skip
    scale = ax.figure.colorbar(points, ax=ax, pad=0.02, aspect=30)
    style.dress(scale.ax, ylabel="|effect|, mean over draws")
    scale.outline.set_visible(False)
    _guide_lines(ax, independent[shown], shared[shown])


def _guide_lines(ax: Axes, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """Lines where shared masks give the same sd, a tenth and a hundredth."""
    right = x.max() * 1.6
    left = min(x.min() / (right / x.min()) ** 0.5, right / 20)  # room on the left for the words
    for factor in _FACTORS:
        ends = np.array([left, right])
        solid = factor == 1
        ax.plot(
            ends, ends / factor, color=style.BLACK if solid else style.GREY, lw=style.LINE_PT,
            ls="-" if solid else ":", gid=f"1/{factor}", zorder=2,
        )  # fmt: skip
        ax.text(
            left * 1.08, left * 1.08 / factor, "same" if solid else f"{factor}× shorter", ha="left",
            va="center", fontsize=style.NOTE_PT, color=style.BLACK if solid else style.GREY, zorder=4,
            bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "linewidth": 0},
        )  # fmt: skip
    ax.set_xlim(left, right)
    lowest = min(y.min() / 1.6, left / max(_FACTORS) / 1.6)  # every line begins inside
    ax.set_ylim(lowest, max(right, y.max() * 1.6))
    style.log_ticks(ax.xaxis)
    style.log_ticks(ax.yaxis)


def _remarks(
    independent: NDArray[np.float64],
    shared: NDArray[np.float64],
    positive: NDArray[np.bool_],
    undefined: int,
) -> list[str]:
    constant = len(shared) - undefined - int(positive.sum())
    parts = list(style.left_out(constant, undefined, "sd"))
    if positive.any():
        ratio = float(np.median(independent[positive] / shared[positive]))
        parts.insert(0, f"median: {ratio:.3g}× shorter with shared masks")
    return parts
