"""What the members of a model agree on: their effects, and the spread within and between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from kipoi_mcdropout.effects.member_names import mean_columns, short_names
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.plots import style
from kipoi_mcdropout.plots.rows import Rows, choose_rows, thin

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NEEDED = ("effect_mean", "effect_sd_within", "effect_sd_between", "sign_agreement")
_MOST_MEMBERS = len(style.CATEGORIES)


def plot_members(
    table: pd.DataFrame,
    member_means: ArrayLike | None = None,
    *,
    names: Sequence[str] = (),
    output: str | None = None,
    score: str | None = None,
    ax: Axes | None = None,
) -> dict[str, Axes]:
    """The effect of each member against that of all, and the sd between members against that within.

    On the left a point is a mutant in one member: where the members agree, all points lie on the line.
    On the right a point is a mutant: above the line the trained networks differ by more than the masks
    of one network do.

    Parameters
    ----------
    table : DataFrame
        As `read.read_effects` gives, of a run with several members.
    member_means : array, shape=(members, rows), optional
        As `read.read_member_means` gives for the same outputs and score: a column per row of the table.
        Without it there is the panel on the right alone.
    names : sequence of str, optional
        Of the members, in the order of the means, as `Effects.members` has them: for the legend, which
        has them in the order in which they were given.
    output, score : str, optional
        Which of the table's; see `rows.choose_rows`.
    ax : Axes, optional
        Its place is divided into the panels; a new figure by default.

    Returns
    -------
    dict of str to Axes
        "effects", if there are means, and "spread".

    Raises
    ------
    InputError, TargetError
        What the plot needs is not in the table, or the means or names are not those of its rows.
    """
    if not len(table) or "effect_sd_between" not in table:
        raise InputError(
            "plot members needs effects of several members, with the column effect_sd_between; run with "
            "--member. These are of one model alone"
        )
    means = None if member_means is None else np.asarray(member_means, np.float64)
    if means is not None and means.shape[1:] != (len(table),):
        raise InputError(
            f"member_means must have shape (members, {len(table)}), a column for each row of the table; "
            f"got {means.shape}"
        )
    if means is not None and len(names) not in (0, len(means)):
        raise InputError(f"names must be those of the {len(means)} members; got {len(names)}")
    known = not table["effect_sd_within"].isna().all()
    needed = _NEEDED if known else ("effect_mean", "effect_sd", "sign_agreement")
    rows = choose_rows(table, output, score, needed, "members")
    shown = ["spread"] if means is None else ["effects", "spread"]
    figure, grid = style.divide(ax, style.PAGE_MM, 75, nrows=1, ncols=len(shown))
    panels = {name: figure.add_subplot(grid[0, i]) for i, name in enumerate(shown)}
    if means is not None:
        _effects(panels["effects"], rows, means[:, rows.kept], names)
    _spread(panels["spread"], rows)
    return panels


def _effects(ax: Axes, rows: Rows, means: NDArray[np.float64], names: Sequence[str]) -> None:
    of_all = rows.table["effect_mean"].to_numpy(np.float64)
    shown = np.flatnonzero(np.isfinite(of_all) & np.isfinite(means).all(axis=0))
    chosen, sampled = thin(len(shown), 100_000 // len(means))
    drawn = shown[chosen]
    label = style.effect_label(rows.score, rows.output)
    style.dress(ax, f"mean of all members: {label}", "mean of each member")
    ax.axline((0, 0), slope=1, color=style.PALE, lw=style.LINE_PT, zorder=0, gid="agreement")
    handles = []
    labels = short_names(names) if names else [f"row {i} of the means" for i in range(len(means))]
    order = list(mean_columns(names).values()) if names else range(len(means))
    for place, i in enumerate(order):
        points = ax.scatter(
            of_all[drawn], means[i, drawn], s=5, c=style.CATEGORIES[place % _MOST_MEMBERS], alpha=0.6,
            linewidths=0, gid=labels[i], rasterized=len(drawn) > style.RASTERIZE_FROM,
        )  # fmt: skip
        handles.append(points)
    if len(means) <= _MOST_MEMBERS:
        style.legend(ax, handles, [labels[i] for i in order])
    agreement = rows.table["sign_agreement"].to_numpy(np.float64)
    alike = 100 * float(np.mean(agreement[np.isfinite(agreement)] == 1)) if len(agreement) else 0.0
    style.note(ax, f"all members have one sign in {alike:.0f} % of the mutants", sampled)


def _spread(ax: Axes, rows: Rows) -> None:
    within = rows.table["effect_sd_within"].to_numpy(np.float64)
    between = rows.table["effect_sd_between"].to_numpy(np.float64)
    finite = np.isfinite(within) & np.isfinite(between)
    shown = np.flatnonzero(finite)
    chosen, sampled = thin(len(shown))
    drawn = shown[chosen]
    style.dress(ax, "sd within a member (masks)", "sd between members (networks)")
    ax.scatter(
        within[drawn], between[drawn], s=6, c=style.BLUE, alpha=0.5, linewidths=0, gid="mutants",
        rasterized=len(drawn) > style.RASTERIZE_FROM,
    )  # fmt: skip
    ax.axline((0, 0), slope=1, color=style.BLACK, lw=style.FRAME_PT, ls="--", gid="equal")
    ax.set_xlim(left=0)
    ax.set_ylim(bottom=0)
    share = 100 * float(np.mean(between[finite] > within[finite])) if finite.any() else 0.0
    undefined = int((~finite).sum())
    style.note(
        ax,
        f"the networks differ by more than their masks in {share:.0f} % of the mutants"
        if finite.any()
        else "one draw of each member: the parts cannot be told apart",
        f"{undefined:,} undefined (NaN) not shown" if undefined and finite.any() else "",
        sampled,
    )
