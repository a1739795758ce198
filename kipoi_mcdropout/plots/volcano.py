"""Effect against its size in standard deviations: which variants stand out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kipoi_mcdropout.plots import style
from kipoi_mcdropout.plots.place_labels import place_labels
from kipoi_mcdropout.plots.rows import Rows, choose_rows, thin, variant_names, z_values

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection

_TRIED = 4  # times as many names as wanted are tried; many have no room


def plot_volcano(
    table: pd.DataFrame,
    *,
    output: str | None = None,
    score: str | None = None,
    min_z: float = 2.0,
    n_labels: int = 10,
    ax: Axes | None = None,
) -> Axes:
    """The size of effects in standard deviations, |effect_mean| / effect_sd, against the effects.

    The sd is the model's uncertainty, which more draws do not shrink; so neither do they raise these
    points. An effect that is the same in every draw (sd 0) has no such ratio and is counted in a
    remark. The strongest variants that reach `min_z` are named, as many as there is room for.

    Parameters
    ----------
    table : DataFrame
        As `read.read_effects` gives, of a VCF or of ISM; `effect_mean`, `effect_sd`.
    output, score : str, optional
        Which of the table's; see `rows.choose_rows`.
    min_z : float
        The line; what is above it is coloured.
    n_labels : int
        At most so many variants are named.
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
    rows = choose_rows(table, output, score, ("effect_mean", "effect_sd"), "volcano")
    ax = style.new_axes(height_mm=75) if ax is None else ax
    effect = rows.table["effect_mean"].to_numpy(np.float64)
    z = np.abs(z_values(rows.table))
    shown = np.flatnonzero(np.isfinite(z))
    chosen, sampled = thin(len(shown))
    drawn = shown[chosen]
    style.dress(ax, style.effect_label(rows.score, rows.output), "|z| = |effect| / sd over draws")
    handles, labels = _points(ax, effect, z, drawn, min_z)
    ax.axhline(min_z, color=style.BLACK, lw=style.FRAME_PT, ls="--", gid="min_z")
    ax.axvline(0, color=style.PALE, lw=style.FRAME_PT, zorder=0)
    ax.set_ylim(bottom=0)
    ax.margins(x=0.12, y=0.08)
    style.legend(ax, handles, labels)
    style.note(ax, *style.left_out(int(np.isinf(z).sum()), int(np.isnan(z).sum()), "sd"), sampled)
    _name_strongest(ax, rows, effect, z, min_z, n_labels)
    return ax


def _points(
    ax: Axes,
    effect: NDArray[np.float64],
    z: NDArray[np.float64],
    drawn: NDArray[np.int64],
    min_z: float,
) -> tuple[list[PathCollection], list[str]]:
    """The variants that are drawn, a colour for each direction; handles and labels for the legend."""
    groups = (
        (f"|z| < {min_z:g}", z < min_z, style.GREY, 0.35),
        ("lowers", (z >= min_z) & (effect < 0), style.BLUE, 0.9),
        ("raises", (z >= min_z) & (effect > 0), style.VERMILLION, 0.9),
    )
    handles, labels = [], []
    for label, member, color, alpha in groups:
        own = drawn[member[drawn]]
        points = ax.scatter(
            effect[own], z[own], s=8, c=color, alpha=alpha, linewidths=0, gid=label,
            rasterized=len(own) > style.RASTERIZE_FROM,
        )  # fmt: skip
        handles.append(points)
        labels.append(f"{label} ({int((member & np.isfinite(z)).sum()):,})")
    return handles, labels


def _name_strongest(
    ax: Axes,
    rows: Rows,
    effect: NDArray[np.float64],
    z: NDArray[np.float64],
    min_z: float,
    n_labels: int,
) -> None:
    """Names beside the largest of the effects that reach min_z."""
    candidates = np.flatnonzero(np.isfinite(z) & (z >= min_z))
    strongest = candidates[np.argsort(-np.abs(effect[candidates]), kind="stable")][: _TRIED * n_labels]
    names = [style.plain(name) for name in variant_names(rows.table.iloc[strongest])]
    marks = np.column_stack([effect[candidates], z[candidates]])
    place_labels(ax, effect[strongest], z[strongest], names, avoid=marks, most=n_labels)
