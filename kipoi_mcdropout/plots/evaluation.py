"""Does the sd help? Sign accuracy of the most certain variants, and how the orders differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kipoi_mcdropout.plots import style
from kipoi_mcdropout.significance.evaluation_words import ORDER_WORDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLORS = {
    "effect": style.BLACK, "z": style.BLUE, "sd": style.ORANGE, "sign": style.VERMILLION,
}  # fmt: skip
_STYLES = {"effect": "-", "z": "-", "sd": "--", "sign": "-."}
_QUANTITIES = {"sign_accuracy": "sign accuracy", "auprc": "auPRC"}


def plot_evaluation(table: pd.DataFrame, *, ax: Axes | None = None) -> dict[str, Axes]:
    """Curves of each order, and the differences between the orders.

    Left: the share of right signs among the variants that are kept, the most certain first, a line per
    order; the grey band is the interval of the order by |effect|. Without measured effects, the area
    under the curve of precision and recall (auPRC) of each order, and that of a random order as a dotted
    line. Right: the difference of each order from the order by |effect|, with its interval (both orders
    in the same bootstrap samples). Right of the line the order is better.

    Parameters
    ----------
    table : DataFrame
        `EvaluationResult.table`, also as it is read from a file.
    ax : Axes, optional
        Its place is divided into the panels; a new figure by default.

    Returns
    -------
    dict of str to Axes
        "orders" and "differences".
    """
    figure, grid = style.divide(ax, style.PAGE_MM, 70, nrows=1, ncols=2, width_ratios=(1.2, 1))
    panels = {name: figure.add_subplot(grid[0, i]) for i, name in enumerate(("orders", "differences"))}
    table = table.assign(minus=table["minus"].fillna(""), order=table["order"].fillna(""))
    values = table[(table["order"] != "") & (table["minus"] == "")]
    curves = values[values["quantity"] == "sign_accuracy"]
    if len(curves):
        _draw_curves(panels["orders"], curves)
    else:
        _draw_precision(panels["orders"], table)
    _draw_differences(panels["differences"], table)
    return panels


def _draw_curves(ax: Axes, curves: pd.DataFrame) -> None:
    style.dress(ax, "share of variants kept, the most certain first", "share of right signs")
    handles, labels = [], []
    for order, rows in curves.groupby("order", sort=False):
        rows = rows.sort_values("coverage")
        if order == "effect":
            ax.fill_between(
                rows["coverage"], rows["lower"], rows["upper"], color=style.PALE, alpha=0.5, lw=0,
                zorder=1, gid="band",
            )  # fmt: skip
        handles += ax.plot(
            rows["coverage"], rows["value"], _STYLES[str(order)], color=_COLORS[str(order)], lw=1.1,
            zorder=3, gid=str(order),
        )  # fmt: skip
        labels.append(f"by {ORDER_WORDS[str(order)]}")
    ax.axhline(0.5, color=style.GREY, lw=style.LINE_PT, ls=":", zorder=2, gid="chance")
    ax.set_xlim(0, 1.01)
    style.legend(ax, handles, labels)
    level = 100 * curves["level"].iloc[0]
    style.note(
        ax, f"{curves['n'].iloc[0]:,} variants; grey: {level:.3g} % interval, by |effect|",
        "dotted: signs by chance",
    )  # fmt: skip


def _draw_precision(ax: Axes, table: pd.DataFrame) -> None:
    style.dress(ax, "auPRC")
    rows = table[(table["quantity"] == "auprc") & (table["minus"] == "")]
    _draw_points(ax, rows, [ORDER_WORDS[order] for order in rows["order"]])
    share = table.loc[table["quantity"] == "label_share", "value"].iloc[0]
    ax.axvline(share, color=style.GREY, lw=style.LINE_PT, ls=":", zorder=1, gid="chance")
    level = 100 * rows["level"].iloc[0]
    style.note(
        ax, f"{rows['n'].iloc[0]:,} variants; bars: {level:.3g} % intervals", "dotted: a random order"
    )


def _draw_differences(ax: Axes, table: pd.DataFrame) -> None:
    style.dress(ax, "difference from the order by |effect|")
    rows = table[(table["minus"] != "") & table["quantity"].isin(list(_QUANTITIES))]
    pairs = zip(rows["quantity"], rows["order"], strict=True)
    _draw_points(ax, rows, [f"{_QUANTITIES[what]}, {ORDER_WORDS[order]}" for what, order in pairs])
    ax.axvline(0, color=style.GREY, lw=style.LINE_PT, zorder=1, gid="none")
    kept = rows.loc[rows["quantity"] == "sign_accuracy", "coverage"]
    style.note(
        ax, "right of the line: better than |effect|",
        f"sign accuracy: of the most certain {100 * kept.iloc[0]:.3g} %" if len(kept) else "",
    )  # fmt: skip


def _draw_points(ax: Axes, rows: pd.DataFrame, names: list[str]) -> None:
    """A point with its interval for each row, from the top."""
    place = np.arange(len(rows))[::-1]
    value = rows["value"].to_numpy(float)
    error = np.stack([value - rows["lower"], rows["upper"] - value]).clip(0)
    for i, order in enumerate(rows["order"]):
        ax.errorbar(
            value[i], place[i], xerr=error[:, i : i + 1], fmt="o", color=_COLORS[order], markersize=3.5,
            elinewidth=0.9, markeredgewidth=0, zorder=3, gid="point",
        )  # fmt: skip
    ax.set_yticks(place, names)
    ax.locator_params(axis="x", nbins=5)
    ax.set_ylim(-0.7, len(rows) - 0.3)
