"""Effects along a sequence, with the interval of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.plots import style
from kipoi_mcdropout.plots.rows import (
    choose_rows,
    in_window,
    is_substitution,
    one_sequence,
    positions,
    thin,
    z_values,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import ErrorbarContainer

_SPREAD = 0.22  # of a position, between its alternatives


def plot_effects(
    table: pd.DataFrame,
    *,
    output: str | None = None,
    score: str | None = None,
    sequence: str | int | None = None,
    level: float = 0.95,
    min_z: float = 2.0,
    start: int | None = None,
    end: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Effect of each mutant of a sequence against its position, with the interval of the draws.

    The interval contains this share of the single draws. It goes between two quantiles of the table if
    it has them, else it is effect_mean -+ z effect_sd by the normal distribution. It is the model's
    uncertainty, not the Monte Carlo error of the mean. Mutants with |effect_mean| < min_z effect_sd are
    grey.

    Parameters
    ----------
    table : DataFrame
        As `read.read_effects` gives; `effect_mean`, `effect_sd`.
    output, score : str, optional
        Which of the table's; see `rows.choose_rows`.
    sequence : str or int, optional
        Name or number; the first by default. In the table of a VCF a chromosome is a sequence.
    level : float
        Of the interval, between 0 and 1.
    min_z : float
    start, end : int, optional
        Positions start <= position < end only, counted as the axis is.
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
    if not 0 < level < 1:
        raise InputError(f"level must lie between 0 and 1; got {level}")
    rows = choose_rows(table, output, score, ("effect_mean", "effect_sd", "ref", "alt"), "effects")
    rows, name = one_sequence(rows, sequence)
    rows = in_window(rows, start, end)
    chosen, sampled = thin(len(rows.table))
    rows = rows.take(chosen)
    ax = style.new_axes(style.PAGE_MM, 65) if ax is None else ax
    where, what = positions(rows.table)
    low, high, how = interval(rows.table, level)
    mean = rows.table["effect_mean"].to_numpy(np.float64)
    z = np.abs(z_values(rows.table))
    alt = rows.table["alt"].astype(str)
    x = where.to_numpy(np.float64) + _beside_each_other(where, alt)
    style.dress(ax, what, style.effect_label(rows.score, rows.output))
    ax.axhline(0, color=style.BLACK, lw=style.FRAME_PT, zorder=1)
    groups = [group for group in _groups(rows.table, z, min_z) if group[1].any()]
    errors = np.maximum(0, np.stack([mean - low, high - mean]))
    handles = [_bars(ax, x, mean, errors, group) for group in groups]
    height = style.legend(ax, handles, [label for label, _, _ in groups])
    ax.set_title(style.plain(name), fontsize=style.TITLE_PT, loc="left", pad=4 + height)
    ax.margins(x=0.01)
    ax.ticklabel_format(axis="x", style="plain", useOffset=False)  # positions are read off in full
    remark = f"bars: {100 * level:g} % of draws, {how}"
    style.note(ax, remark, *style.left_out(0, int(np.isnan(z).sum()), "sd"), sampled)
    return ax


def _bars(
    ax: Axes,
    x: NDArray[np.float64],
    mean: NDArray[np.float64],
    errors: NDArray[np.float64],
    group: tuple[str, NDArray[np.bool_], str],
) -> ErrorbarContainer:
    """Points with bars of the mutants of one colour; `errors` has shape=(2, mutants)."""
    label, member, color = group
    bars = ax.errorbar(
        x[member], mean[member], errors[:, member], fmt="o", color=color, label="", elinewidth=0.5,
        markersize=2.2, markeredgewidth=0, zorder=2 if color == style.PALE else 3,
    )  # fmt: skip
    for artist in (bars[0], *bars[2]):
        artist.set_gid(label)
        artist.set_rasterized(len(mean) > style.RASTERIZE_FROM)
    return bars


def interval(table: pd.DataFrame, level: float) -> tuple[NDArray[np.float64], NDArray[np.float64], str]:
    """Lower and upper end for each row, and how they were found: from quantiles, or from the sd."""
    ends = [f"effect_q{q:g}" for q in ((1 - level) / 2, (1 + level) / 2)]
    if all(column in table for column in ends):
        low, high = (table[column].to_numpy(np.float64) for column in ends)
        return low, high, "by their quantiles"
    mean, sd = (table[column].to_numpy(np.float64) for column in ("effect_mean", "effect_sd"))
    half = float(ndtri((1 + level) / 2)) * sd
    return mean - half, mean + half, "normal with their sd"


def _groups(
    table: pd.DataFrame, z: NDArray[np.float64], min_z: float
) -> list[tuple[str, NDArray[np.bool_], str]]:
    """The marks of one colour: grey below min_z, first and so behind, then one group per base.

    The ALT of a deletion is one base too, so the length of REF decides.
    """
    groups = [(f"|effect| < {min_z:g} sd", z < min_z, style.PALE)]
    letters = table["alt"].to_numpy(str)
    single = is_substitution(table)
    for base, color in style.BASES.items():
        groups.append((f"to {base}", (z >= min_z) & single & (letters == base), color))
    other = ~(single & np.isin(letters, list(style.BASES)))
    groups.append(("indel or other", (z >= min_z) & other, style.PURPLE))
    return groups


def _beside_each_other(where: pd.Series, alt: pd.Series) -> NDArray[np.float64]:
    """A shift of each mutant within its position, so that the alternatives do not cover each other."""
    rank = alt.groupby(where).rank(method="first").to_numpy()
    count = alt.groupby(where).transform("size").to_numpy()
    return _SPREAD * (rank - (count + 1) / 2)
