"""In-silico mutagenesis of a sequence: logo, effects, and their uncertainty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.plots import style
from kipoi_mcdropout.plots.rows import Rows, choose_rows, in_window, one_sequence, z_values

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NEEDED = ("position", "ref", "alt", "effect_mean", "effect_sd")
MOST_LETTERS = 100  # that can be read across a page
_TITLE_LENGTH = 42  # characters that fit a column's width
FADED = 0.25  # opacity of what is not significant
_REFERENCE = (0.86, 0.86, 0.86)


@dataclass(frozen=True, eq=False)
class EffectGrid:
    """Effects of a stretch of a sequence by position and base.

    Attributes
    ----------
    positions : array, shape=(n,)
        Consecutive, from 0 in the sequence.
    letters : list of str, length m
        Rows of the heat map.
    reference : list of str, length n
        "" where the table has no mutant.
    mean, sd, z : array, shape=(m, n)
        NaN where there is no mutant.
    """

    positions: NDArray[np.int64]
    letters: list[str]
    reference: list[str]
    mean: NDArray[np.float64]
    sd: NDArray[np.float64]
    z: NDArray[np.float64]

    def heights(self) -> NDArray[np.float64]:
        """How much the reference base raises the prediction, shape=(n,): minus the mean effect there.

        The mean is over the alternatives of a position; 0 where there is none.
        """
        there = np.isfinite(self.mean)
        count = there.sum(axis=0)
        total = np.where(there, self.mean, 0).sum(axis=0)
        means: NDArray[np.float64] = -np.divide(total, count, out=np.zeros(len(count)), where=count > 0)
        return means

    def significant(self, min_z: float) -> NDArray[np.bool_]:
        """Where |effect_mean| >= min_z effect_sd, shape=(m, n)."""
        return np.abs(np.nan_to_num(self.z, nan=0.0, posinf=np.inf, neginf=-np.inf)) >= min_z


def plot_ism(
    table: pd.DataFrame,
    *,
    output: str | None = None,
    score: str | None = None,
    sequence: str | int | None = None,
    min_z: float = 2.0,
    start: int | None = None,
    end: int | None = None,
    ax: Axes | None = None,
) -> dict[str, Axes]:
    """Heat map of the effects of every substitution, with the sequence above and their sd below.

    The height of a letter is minus the mean effect of the substitutions at its position: letters that
    point up raise the prediction. Mutants with |effect_mean| < min_z effect_sd are faded, others have an
    outline. Letters are faded if all mutants at their position are. A sequence longer than
    100 is shown in a window around its strongest effect, below an overview of the whole.

    Parameters
    ----------
    table : DataFrame
        As `read.read_effects` gives, of ISM.
    output, score : str, optional
        Which of the table's; see `rows.choose_rows`.
    sequence : str or int, optional
        Name or number; the first by default.
    min_z : float
    start, end : int, optional
        The window, positions start <= position < end, from 0 in the sequence.
    ax : Axes, optional
        Its place is divided into the panels; a new figure by default.

    Returns
    -------
    dict of str to Axes
        "logo", "effect", "sd", the colour scales "effect_scale" and "sd_scale", and "overview" where
        the window is not all.

    Raises
    ------
    InputError, TargetError
        What the plot needs is not in the table.
    """
    rows = choose_rows(table, output, score, _NEEDED, "ism")
    rows, name = one_sequence(rows, sequence)
    whole = effect_grid(rows.table)
    start, end = _window(whole, start, end)
    shown = effect_grid(in_window(rows, start, end).table)
    _check_size(shown)
    panels = _panels(ax, overview=len(shown.positions) < len(whole.positions))
    if "overview" in panels:
        _draw_overview(panels["overview"], whole, shown, min_z)
    _draw_logo(panels["logo"], shown, min_z)
    _draw_effects(panels, shown, rows, min_z)
    _draw_sd(panels["sd"], panels["sd_scale"], shown)
    style.note(panels["sd"], *_remarks(shown, min_z, "overview" in panels))
    top = panels.get("overview", panels["logo"])
    top.set_title(_title(rows, name), fontsize=style.TITLE_PT, loc="left", pad=4)
    return panels


def effect_grid(table: pd.DataFrame) -> EffectGrid:
    """Rows of one sequence, output and score on the grid of positions and bases.

    Raises
    ------
    InputError
        If a mutant is there twice, as in tables of several sequences.
    """
    where = table["position"].to_numpy(np.int64)
    alts = table["alt"].astype(str)
    letters = [base for base in "ACGTU" if base in set(alts)]
    letters += sorted(set(alts) - set(letters))
    first = int(where.min())
    shape = (len(letters), int(where.max()) - first + 1)
    row = alts.map({letter: i for i, letter in enumerate(letters)}).to_numpy(np.int64)
    cell = (row, where - first)
    if len(np.unique(np.ravel_multi_index(cell, shape))) < len(table):
        raise InputError(
            "a heat map needs each mutant once; the table of this sequence has some more than once. "
            "Choose one output and score, or remove the repeats"
        )
    grids = []
    for values in (table["effect_mean"], table["effect_sd"], z_values(table)):
        grid = np.full(shape, np.nan)
        grid[cell] = values
        grids.append(grid)
    reference = np.full(shape[1], "", object)
    reference[cell[1]] = table["ref"].astype(str)
    return EffectGrid(np.arange(first, first + shape[1]), letters, list(reference), *grids)


def _window(whole: EffectGrid, start: int | None, end: int | None) -> tuple[int, int]:
    """The window asked for, or around the strongest effect where the whole does not fit."""
    low, high = int(whole.positions[0]), int(whole.positions[-1]) + 1
    if start is not None or end is not None:
        return (low if start is None else start), (high if end is None else end)
    if high - low <= MOST_LETTERS or not np.isfinite(whole.mean).any():
        return low, min(high, low + MOST_LETTERS)
    strongest = int(np.nan_to_num(np.abs(whole.mean)).max(axis=0).argmax())
    start = int(np.clip(low + strongest - MOST_LETTERS // 2, low, high - MOST_LETTERS))
    return start, start + MOST_LETTERS


def _check_size(grid: EffectGrid) -> None:
    if len(grid.positions) > 2 * MOST_LETTERS:
        raise InputError(
            f"a logo is readable for up to {2 * MOST_LETTERS} positions; --start to --end has "
            f"{len(grid.positions)}. Choose a shorter window"
        )


def _panels(ax: Axes | None, overview: bool) -> dict[str, Axes]:
    heights = {"logo": 1.2, "effect": 1.0, "sd": 1.0}
    if overview:
        heights = {"overview": 0.8, **heights}
    figure, grid = style.divide(
        ax, style.PAGE_MM, 92 if overview else 75, nrows=len(heights), ncols=2,
        width_ratios=(60, 1), height_ratios=list(heights.values()),
    )  # fmt: skip
    panels: dict[str, Axes] = {}
    for i, name in enumerate(heights):
        share = {"sharex": panels["logo"]} if name in ("effect", "sd") else {}
        panels[name] = figure.add_subplot(grid[i, 0], **share)
    for name in ("effect", "sd"):
        row = list(heights).index(name)
        panels[f"{name}_scale"] = figure.add_subplot(grid[row, 1])
    return panels


def _draw_overview(ax: Axes, whole: EffectGrid, shown: EffectGrid, min_z: float) -> None:
    """The effect farthest from 0 at each position of the whole sequence, and where the window is."""
    size = np.where(np.isfinite(whole.mean), np.abs(whole.mean), -1)
    best = size.argmax(axis=0)
    columns = np.arange(len(whole.positions))
    effect = whole.mean[best, columns]
    clear = whole.significant(min_z).any(axis=0)
    for member, color, zorder in ((~clear, style.PALE, 2), (clear, style.BLACK, 3)):
        ax.vlines(
            whole.positions[member], 0, effect[member], colors=color, lw=style.LINE_PT, zorder=zorder,
            gid="strongest",
        )  # fmt: skip
    first, last = shown.positions[[0, -1]]
    ax.axvspan(first - 0.5, last + 0.5, color=style.SKY, alpha=0.25, lw=0, zorder=1, gid="window")
    ax.axhline(0, color=style.BLACK, lw=style.FRAME_PT)
    ax.set_xlim(whole.positions[0] - 0.5, whole.positions[-1] + 0.5)
    style.dress(ax, ylabel="strongest\neffect")


def _draw_logo(ax: Axes, grid: EffectGrid, min_z: float) -> None:
    """The sequence; letters of positions without a significant mutant are faded."""
    style.require("logomaker")
    import logomaker

    style.dress(ax, ylabel="− mean effect\nof alternatives")
    ax.tick_params(labelbottom=False)
    heights = grid.heights()
    if heights.any():
        letters = sorted({letter for letter in grid.reference if letter})
        matrix = pd.DataFrame(0.0, index=grid.positions, columns=letters)
        for i, letter in enumerate(grid.reference):
            if letter:
                matrix.loc[grid.positions[i], letter] = heights[i]
        colors = {letter: style.BASES.get(letter, style.PURPLE) for letter in letters}
        logo = logomaker.Logo(
            matrix, ax=ax, color_scheme=colors, baseline_width=style.FRAME_PT, flip_below=False, zorder=2
        )
        faded = set(grid.positions[~grid.significant(min_z).any(axis=0)].tolist())
        for glyph in logo.glyph_list:
            if glyph.p in faded:
                glyph.set_attributes(alpha=FADED)
        low, high = min(heights.min(), 0), max(heights.max(), 0)
        ax.set_ylim(low - 0.04 * (high - low), high + 0.04 * (high - low))
    ax.set_xlim(grid.positions[0] - 0.5, grid.positions[-1] + 0.5)


def _draw_effects(panels: dict[str, Axes], grid: EffectGrid, rows: Rows, min_z: float) -> None:
    """Effects by position and base: faded below min_z, outlined from there on."""
    ax = panels["effect"]
    significant = grid.significant(min_z)
    size = np.nanmax(np.abs(grid.mean)) if np.isfinite(grid.mean).any() else 0
    limit = size if size > 0 else 1.0
    image = _heat_map(
        ax, grid, grid.mean, cmap=style.DIVERGING, vmin=-limit, vmax=limit, gid="effect",
        alpha=np.where(significant, 1.0, FADED),
    )  # fmt: skip
    _cells(ax, grid, significant, edgecolor=style.BLACK, lw=0.5, gid="significant")
    ax.tick_params(labelbottom=False)
    unit = {"diff": "\n(alt − ref)", "logit": "\n(log odds)"}.get(rows.score, "")
    what = "effect on" if unit else style.plain(rows.score, 14)
    _scale(panels["effect_scale"], image, f"{what}\n{style.plain(rows.output, 14)}{unit}")


def _draw_sd(ax: Axes, scale: Axes, grid: EffectGrid) -> None:
    """The sd over draws of each effect."""
    size = np.nanmax(grid.sd) if np.isfinite(grid.sd).any() else 0
    limit = size if size > 0 else 1.0
    image = _heat_map(ax, grid, grid.sd, cmap=style.SEQUENTIAL, vmin=0, vmax=limit, gid="sd")
    ax.set_xlabel("position in the sequence (from 0)", fontsize=style.LABEL_PT, labelpad=2)
    _scale(scale, image, "sd over\ndraws")


def _remarks(grid: EffectGrid, min_z: float, overview: bool) -> tuple[str, str]:
    unknown = "; hatched: no number" if _unknown(grid).any() else ""
    window = "; blue: the window shown" if overview else ""
    return f"outlined: |effect| at least {min_z:g} sd; faded: less", f"grey: reference{unknown}{window}"


def _heat_map(ax: Axes, grid: EffectGrid, values: NDArray[np.float64], **look: Any) -> Any:
    n, m = len(grid.positions), len(grid.letters)
    first, last = int(grid.positions[0]), int(grid.positions[-1])
    extent = (first - 0.5, last + 0.5, m - 0.5, -0.5)
    ground = np.ones((m, n, 3))
    ground[_is_reference(grid)] = _REFERENCE
    ax.imshow(ground, aspect="auto", interpolation="nearest", extent=extent, gid="reference")
    image = ax.imshow(
        np.ma.masked_invalid(values), aspect="auto", interpolation="nearest", extent=extent, **look
    )
    unknown = _unknown(grid)
    if unknown.any():
        _cells(ax, grid, unknown, edgecolor=style.GREY, lw=0, hatch="/////", gid="unknown")
    style.dress(ax)
    ax.set_yticks(range(m), grid.letters)
    ax.set_ylim(m - 0.5, -0.5)
    return image


def _cells(ax: Axes, grid: EffectGrid, which: NDArray[np.bool_], **look: Any) -> None:
    """Frames around some cells."""
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    frames = [
        Rectangle((grid.positions[column] - 0.5, row - 0.5), 1, 1) for row, column in np.argwhere(which)
    ]
    ax.add_collection(PatchCollection(frames, facecolor="none", **look))


def _is_reference(grid: EffectGrid) -> NDArray[np.bool_]:
    return np.array([[ref == letter for ref in grid.reference] for letter in grid.letters])


def _unknown(grid: EffectGrid) -> NDArray[np.bool_]:
    """Cells of mutants without a number: undefined in the table, or not in it."""
    return ~np.isfinite(grid.mean) & ~_is_reference(grid)


def _scale(ax: Axes, image: Any, label: str) -> None:
    bar = ax.figure.colorbar(image, cax=ax)
    style.dress(ax, ylabel=label)
    ax.yaxis.set_label_position("right")
    bar.outline.set_visible(False)


def _title(rows: Rows, name: str) -> str:
    """Name, and the range in the genome where there is one; on two lines where it is long."""
    title = style.plain(name)
    if {"chrom", "pos"} <= set(rows.table) and rows.table["pos"].notna().all():
        where, chrom = rows.table["pos"].astype(int), rows.table["chrom"].iloc[0]
        place = f"{style.plain(chrom)}:{where.min()}-{where.max()} (from 1)"
        title += ("\n" if len(title + place) > _TITLE_LENGTH else "  ") + place
    return title
