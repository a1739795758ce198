"""Running mean and sd against the number of draws: how many are enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from kipoi_mcdropout.effects.draws_enough import TOLERANCE, DrawsEnough, draws_enough
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.plots import style
from kipoi_mcdropout.plots.rows import Rows, choose_rows, variant_names, z_values

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NEEDED = ("effect_mean", "effect_sd", "ref", "alt", "n_draws")


def plot_convergence(
    table: pd.DataFrame,
    draws: ArrayLike,
    *,
    output: str | None = None,
    score: str | None = None,
    min_z: float = 2.0,
    n_mutants: int = 5,
    tolerance: float = TOLERANCE,
    ax: Axes | None = None,
) -> dict[str, Axes]:
    """Mean and sd of the effects of some mutants over the first n draws, against n.

    Each curve is divided by its last value, so errors are shown as shares of it. Bands are one Monte
    Carlo standard error: sd / sqrt(n) of a mean, and sd / sqrt(2 (n - 1)) of an sd (normal draws). The
    mutants are chosen evenly from the strongest to the weakest effect with |z| >= `min_z`. Vertical
    lines show how many draws are enough by `draws_enough`.

    Parameters
    ----------
    table : DataFrame
        As `read.read_effects` gives.
    draws : array, shape=(n_draws, rows)
        As `read.read_draws` gives for the same outputs and score: a column per row of the table.
    output, score : str, optional
        Which of the table's; see `rows.choose_rows`.
    min_z : float
    n_mutants : int
        Curves in each panel, at most 7.
    tolerance : float
        Relative error for `draws_enough`.
    ax : Axes, optional
        Its place is divided into the panels; a new figure by default.

    Returns
    -------
    dict of str to Axes
        "mean" and "sd".

    Raises
    ------
    InputError, TargetError
        What the plot needs is not in the table, or the draws are not those of its rows.
    """
    rows = choose_rows(table, output, score, _NEEDED, "convergence")
    effects = _draws_of(table, draws, rows)
    chosen = spread_mutants(rows, min_z, min(n_mutants, len(style.CATEGORIES)))
    enough = draws_enough(rows.table, min_z=min_z, tolerance=tolerance)
    panels, names_ax = _panels(ax)
    handles = [
        _curves(panels, *running_moments(effects[:, i]), color)
        for i, color in zip(chosen, style.CATEGORIES, strict=False)
    ]
    style.legend(names_ax, handles, _names(rows.table.iloc[chosen]), longest=60)
    _mark(panels["mean"], enough.for_mean or 0, enough)
    _mark(panels["sd"], enough.for_sd or 0, enough)
    unit = " (log odds)" if rows.score == "logit" else ""
    panels["mean"].set_title(
        f"effect on {style.plain(rows.output)}{unit}", fontsize=style.TITLE_PT, loc="left", pad=4
    )
    bands = "bands: sd / √n" if enough.n_members > 1 else "bands: mcse, sd / √n"
    style.note(panels["mean"], bands, f"grey: within {100 * tolerance:g} %")
    style.note(panels["sd"], "bands: sd / √(2(n − 1))", _in_words(enough))
    return panels


def _names(mutants: pd.DataFrame) -> list[str]:
    """Each mutant with the values that its curves end at."""
    numbers = zip(
        variant_names(mutants), mutants["effect_mean"], mutants["effect_sd"], strict=True
    )
    words = [f"{style.plain(name)}: mean {mean:.2g}, sd {sd:.2g}" for name, mean, sd in numbers]
    return [text.replace(" -", " −") for text in words]


def _panels(ax: Axes | None) -> tuple[dict[str, Axes], Axes]:
    """The two panels, and an empty one of no height, above which are the names of the mutants."""
    figure, grid = style.divide(ax, style.PAGE_MM, 75, nrows=2, ncols=2, height_ratios=(0.01, 1))
    names_ax = figure.add_subplot(grid[0, :])
    names_ax.set_axis_off()
    panels = {name: figure.add_subplot(grid[1, i]) for i, name in enumerate(("mean", "sd"))}
    for name, panel in panels.items():
        panel.locator_params(axis="x", integer=True)
        style.dress(panel, "number of draws", f"{name} of the first n draws\n/ {name} of all")
    return panels, names_ax


def running_moments(draws: NDArray[np.floating[Any]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and sd (ddof=1) of the first 2, 3, ... draws, each shape=(n_draws - 1,)."""
    values = np.asarray(draws, np.float64)
    center = values.mean()
    moved = values - center  # squares of small numbers, so that nothing cancels
    n = np.arange(1, len(values) + 1)
    total, squares = np.cumsum(moved), np.cumsum(moved**2)
    mean = total / n
    variance = np.maximum(squares - n * mean**2, 0)[1:] / (n[1:] - 1)
    return (center + mean)[1:], np.sqrt(variance)


def spread_mutants(rows: Rows, min_z: float, n: int) -> NDArray[np.int64]:
    """Rows from the strongest to the weakest effect, evenly by rank, of those that reach min_z.

    If none does, the most certain ones.

    Raises
    ------
    InputError
        If no effect varies over the draws.
    """
    z = np.abs(z_values(rows.table))
    varies = np.isfinite(z) & (rows.table["effect_sd"].to_numpy(np.float64) > 0)
    candidates = np.flatnonzero(varies & (z >= min_z))
    if not len(candidates):
        order = np.flatnonzero(varies & (z > 0))
        candidates = order[np.argsort(-z[order], kind="stable")][:n]
    if not len(candidates) or n < 1:
        raise InputError(
            "the plot convergence needs a mutant whose effect varies over the draws; this "
            "result has none"
        )
    size = np.abs(rows.table["effect_mean"].to_numpy(np.float64))[candidates]
    ranked = candidates[np.argsort(-size, kind="stable")]
    places = np.unique(np.linspace(0, len(ranked) - 1, min(n, len(ranked))).astype(int))
    chosen: NDArray[np.int64] = ranked[places]
    return chosen


def _draws_of(table: pd.DataFrame, draws: ArrayLike, rows: Rows) -> NDArray[np.float64]:
    """The draws of the chosen rows, shape=(n_draws, rows)."""
    array = np.asarray(draws)
    if array.ndim != 2 or array.shape[1] != len(table) or array.shape[0] < 2:
        raise InputError(
            f"draws must have shape (n_draws >= 2, {len(table)}), a column per row of the table; got "
            f"{array.shape}. Read both with the same outputs and score"
        )
    array = array[:, rows.kept]
    mean = rows.table["effect_mean"].to_numpy(np.float64)
    known = np.isfinite(mean)
    scale = np.max(np.abs(array[:, known]), initial=0)
    if not np.allclose(array[:, known].mean(axis=0, dtype=np.float64), mean[known], atol=1e-4 * scale):
        raise InputError(
            "draws must be those of the table's rows: their means differ from effect_mean. Read both "
            "with the same outputs and score"
        )
    return array


def _curves(
    panels: dict[str, Axes], mean: NDArray[np.float64], sd: NDArray[np.float64], color: str
) -> Any:
    """Curves of one mutant, each divided by its last value, and their bands."""
    n = np.arange(2, len(mean) + 2)
    bands = {
        "mean": (mean / mean[-1], sd / np.sqrt(n) / abs(mean[-1])),
        "sd": (sd / sd[-1], sd / np.sqrt(2 * (n - 1)) / sd[-1]),
    }
    for name, (middle, error) in bands.items():
        panels[name].fill_between(
            n, middle - error, middle + error, color=color, alpha=0.15, lw=0, zorder=2, gid="band"
        )
        (line,) = panels[name].plot(n, middle, color=color, lw=style.LINE_PT, zorder=3, gid="running")
    return line


def _mark(ax: Axes, needed: int, enough: DrawsEnough) -> None:
    """The tolerated error, and a line where there are enough draws, in sight also if there are not."""
    ax.axhspan(1 - enough.tolerance, 1 + enough.tolerance, color=style.PALE, alpha=0.4, lw=0, zorder=0)
    ax.set_xlim(2, max(enough.n_draws, needed) * 1.02)
    low, high = ax.get_ylim()
    ax.set_ylim(max(low, 0), min(high, 2))  # two or three draws may be far off
    if needed < 2:
        return
    ax.axvline(needed, color=style.BLACK, lw=style.LINE_PT, ls="--", zorder=1, gid="enough")
    right = needed > ax.get_xlim()[1] / 2
    ax.annotate(
        f"enough: {needed}", (needed, 1), (-3 if right else 3, 0), xycoords=("data", "axes fraction"),
        textcoords="offset points", ha="right" if right else "left", va="top", fontsize=style.NOTE_PT,
    )  # fmt: skip


def _in_words(enough: DrawsEnough) -> str:
    of_members = f" of {enough.n_members} members" if enough.n_members > 1 else ""
    got = f"{enough.n_draws} draws{of_members}: sd to {100 * enough.sd_error:.2g} %"
    if enough.enough:
        return f"{got}, enough"
    return f"{got}; for {100 * enough.tolerance:g} % use {enough.advice().split(';')[0]}"
