"""Mendelian randomization: effects on the outcome against the exposure, funnel, leave-one-out."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr import (
    Estimate,
    Instruments,
    answer,
    leave_one_out,
    mr_egger,
    mr_ivw,
    wald_ratios,
)
from kipoi_mcdropout.mr.checks.leave_one_out import WITHOUT_NONE
from kipoi_mcdropout.mr.estimators.bootstrap import point_estimate
from kipoi_mcdropout.mr.estimators.convention import Convention
from kipoi_mcdropout.mr.groups.words import SHORT_NAMES
from kipoi_mcdropout.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_ROWS = 20  # of the leave-one-out panel
_METHODS = {"MR-Egger": (mr_egger, style.VERMILLION, "-"), "IVW": (mr_ivw, style.BLUE, "--")}
_POINTS = {
    "ivw_robust": (style.SKY, "-."),
    "conmix": (style.GREEN, "-"),
    "weighted_median": (style.ORANGE, "--"),
    "weighted_mode": (style.BLACK, ":"),
}
# Drawn only where they differ from the lines above; else named below the panel.
_MORE = {"lasso": (style.PURPLE, "-."), "maxlik": (style.GREY, "--"), "ivw_radial": (style.GREY, ":")}
_SAME_LINE = 0.01
_GROUP_COLORS = {"1": style.BLACK, "2": style.PURPLE, "3": style.GREEN, "4": style.ORANGE}
_LEAST_FOR_POINTS = 5
_WORDS_WIDTH = 62
_PAGE_CHARACTERS = 140
_INSIDE = 0.98  # of the ratios that the funnel's frame holds


def plot_mr(
    instruments: Instruments,
    *,
    convention: Convention = "twosamplemr",
    by_sequence: bool | None = None,
    ax: Axes | None = None,
) -> dict[str, Axes]:
    """Three panels that show whether an estimate can be trusted.

    Parameters
    ----------
    instruments : Instruments
        As `mr.instruments_from_table` and `mr.select_instruments` give.
    convention : "twosamplemr" or "mendelianrandomization"
    by_sequence : bool, optional
        As of `plot_mr_leave_one_out`.
    ax : Axes, optional
        Its place is divided into the panels; a new figure by default.

    Returns
    -------
    dict of str to Axes
        "scatter", "funnel" and "leave_one_out"; see the function of each. The scatter has the answer of
        `mr.answer` below it, and its groups of mutants in colours.

    Raises
    ------
    InputError
        Too few instruments.
    """
    answered = answer(instruments)
    groups = None
    if answered.groups is not None:
        groups = dict(answered.groups.table[["SNP", "group"]].itertuples(index=False))
    words = _wrapped(answered.words, _PAGE_CHARACTERS)
    lines = max(2, words.count("\n") + 1)
    figure, grid = style.divide(
        ax, style.PAGE_MM, 88 + 4 * lines, nrows=2, ncols=3, width_ratios=(1.2, 1, 0.95),
        height_ratios=(1, 0.065 * lines),
    )  # fmt: skip
    names = ("scatter", "funnel", "leave_one_out")
    panels = {name: figure.add_subplot(grid[0, i]) for i, name in enumerate(names)}
    plot_mr_scatter(instruments, convention=convention, groups=groups, ax=panels["scatter"])
    below = figure.add_subplot(grid[1, :])
    below.axis("off")
    text = below.text(0, 1, words, va="top", fontsize=style.NOTE_PT, gid="answer")
    text.set_in_layout(False)  # its length says nothing about how wide the panels are
    plot_mr_funnel(instruments, convention=convention, ax=panels["funnel"])
    plot_mr_leave_one_out(
        instruments, convention=convention, by_sequence=by_sequence, ax=panels["leave_one_out"]
    )
    return panels


def plot_mr_scatter(
    instruments: Instruments,
    *,
    convention: Convention = "twosamplemr",
    groups: Mapping[str, str] | None = None,
    advice: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Effect on the outcome against effect on the exposure, with a line for each method.

    Mutants are oriented to positive exposure effects, as in MR-Egger. Error bars are one standard
    error of each, of the instruments' kind (sd over draws, or mcse).

    Parameters
    ----------
    groups : mapping of str to str, optional
        The group of each SNP, as `find_groups` names it; each has a colour.
    advice : str
        The answer in words, written below.

    Raises
    ------
    InputError
        Fewer than 2 instruments.
    """
    used = instruments.kept(2, "the plot of Mendelian randomization").oriented()
    ax = style.new_axes() if ax is None else ax
    x = used.beta_exposure
    unit = _unit(used)
    style.dress(
        ax,
        f"effect on {style.plain(used.exposure, 20)}{unit}",
        f"effect on {style.plain(used.outcome, 20)}{unit}",
    )
    _draw_mutants(ax, used, groups or {})
    ax.axhline(0, color=style.GREY, lw=style.FRAME_PT, zorder=1)
    ends = np.array([0.0, float((x + used.se_exposure).max()) * 1.02])
    handles, labels = [], []
    drawn: dict[str, float] = {}
    for name, estimate in _estimates(used, convention).items():
        _, color, dash = _METHODS[name]
        line = (estimate.intercept or 0) + estimate.estimate * ends
        handles += ax.plot(ends, line, color=color, ls=dash, lw=1.2, zorder=4, gid=name)
        labels.append(_in_words(name, estimate))
        drawn[name] = estimate.estimate
    lines, same = _lines(used, drawn)
    for name, slope in lines.items():
        color, dash = (_POINTS | _MORE)[name]
        handles += ax.plot(ends, slope * ends, color=color, ls=dash, lw=1.0, zorder=4, gid=name)
        labels.append(f"{SHORT_NAMES[name]}: {slope:.3g}")
    ax.set_xlim(left=min(0.0, float((x - used.se_exposure).min())))
    style.legend(ax, handles, labels, longest=60)
    kind = {"sd": "1 sd over draws", "mcse": "1 mcse"}.get(used.se_type or "", "1 standard error")
    shown = sorted({g for g in (groups or {}).values() if g in _GROUP_COLORS})
    style.note(
        ax,
        f"{len(used):,} mutants, turned to positive x",
        f"bars: {kind}",
        "a colour for each group" if len(shown) > 1 else "",
        *(f"like {name}: {', '.join(names)}" for name, names in same.items()),
        _wrapped(advice, _WORDS_WIDTH) if advice else "",
    )
    return ax


def _wrapped(advice: str, width: int) -> str:
    return "\n".join(textwrap.wrap(f"Answer: {advice}", width))


def _draw_mutants(ax: Axes, used: Instruments, groups: Mapping[str, str]) -> None:
    raster = len(used) > style.RASTERIZE_FROM
    bars = ax.errorbar(
        used.beta_exposure, used.beta_outcome, used.se_outcome, used.se_exposure, fmt="o",
        color=style.BLACK, ecolor=style.PALE, markersize=2.2, markeredgewidth=0, elinewidth=0.5,
        label="",
    )  # fmt: skip
    for artist in (bars[0], *bars[2]):
        artist.set_rasterized(raster)
        artist.set_gid("mutants" if artist is bars[0] else "error")
    of = np.array([groups.get(name, "") for name in used.snp.tolist()])
    for name in sorted(set(of.tolist()) - {"", "1"}):
        rows = of == name
        ax.scatter(
            used.beta_exposure[rows], used.beta_outcome[rows], s=6, linewidths=0,
            color=_GROUP_COLORS.get(name, style.GREY), zorder=3.5, gid=f"group {name}",
            rasterized=raster,
        )  # fmt: skip


def _lines(
    used: Instruments, drawn: Mapping[str, float]
) -> tuple[dict[str, float], dict[str, list[str]]]:
    """Slopes of the robust methods to draw, and the further methods that give a slope drawn already.

    Nothing where there are too few mutants with a ratio.
    """
    some = used.take(np.flatnonzero(used.beta_exposure != 0))
    if len(some) < _LEAST_FOR_POINTS:
        return {}, {}
    lines = {name: point_estimate(some, name) for name in _POINTS}
    there = dict(drawn) | {SHORT_NAMES[name]: slope for name, slope in lines.items()}
    errors = some.with_se_type("mcse") if some.n_draws is not None and some.se_type else some
    same: dict[str, list[str]] = {}
    for name in _MORE:
        slope = point_estimate(errors, name)
        near = [n for n in there if abs(there[n] - slope) <= _SAME_LINE * abs(slope)]
        if near:
            same.setdefault("IVW" if "IVW" in near else near[0], []).append(SHORT_NAMES[name])
        else:
            lines[name] = slope
    return lines, same


def plot_mr_funnel(
    instruments: Instruments, *, convention: Convention = "twosamplemr", ax: Axes | None = None
) -> Axes:
    """Precision of each mutant's ratio (1 / its first-order standard error) against the ratio.

    If less precise ratios lie more to one side of the estimates, this is a sign of directional
    pleiotropy (direct effects that do not average to 0). The frame contains at least 98 % of the ratios;
    a remark counts those outside.

    Raises
    ------
    InputError
        Fewer than 2 instruments, or none with an exposure effect other than 0.
    """
    used = instruments.kept(2, "the funnel plot")
    none = used.beta_exposure == 0
    ratios = wald_ratios(used.take(np.flatnonzero(~none)))
    ax = style.new_axes() if ax is None else ax
    style.dress(ax, "ratio: outcome / exposure", "precision: 1 / se of the ratio")
    ratio, precision = ratios["ratio"].to_numpy(), 1 / ratios["se_first_order"].to_numpy()
    ax.scatter(
        ratio, precision, s=7, c=style.BLACK, alpha=0.6, linewidths=0, gid="mutants", zorder=3,
        rasterized=len(ratio) > style.RASTERIZE_FROM,
    )  # fmt: skip
    estimates = _estimates(used, convention)
    handles = []
    for name, estimate in estimates.items():
        _, color, dash = _METHODS[name]
        handles.append(ax.axvline(estimate.estimate, color=color, ls=dash, lw=1.2, zorder=2, gid=name))
    outside = _frame(ax, ratio, [estimate.estimate for estimate in estimates.values()])
    ax.set_ylim(bottom=0)
    style.legend(ax, handles, list(estimates))
    style.note(
        ax,
        f"ratios outside the frame: {outside}" if outside else "",
        f"no effect on the exposure: {none.sum()}" if none.any() else "",
    )
    return ax


def plot_mr_leave_one_out(
    instruments: Instruments,
    *,
    convention: Convention = "twosamplemr",
    by_sequence: bool | None = None,
    ax: Axes | None = None,
) -> Axes:
    """IVW estimate and 95 % interval without each mutant, or each sequence, in turn.

    Parameters
    ----------
    by_sequence : bool, optional
        Leave out all mutants of a sequence at once. This is the default for more than 20 mutants in
        several sequences, because then a single mutant hardly matters. Of more than 20 rows, those that
        change the estimate most are shown.

    Raises
    ------
    InputError
        Fewer than 3 instruments, or sequences.
    """
    used = instruments.kept(3, "leave-one-out")
    n_sequences = 0 if used.sequence is None else len(set(used.sequence.astype(str)))
    if by_sequence is None:
        by_sequence = len(used) > MOST_ROWS and n_sequences > 1
    table = leave_one_out(used, "ivw", by_sequence=by_sequence, convention=convention)
    rows, total = _most_moving(table)
    ax = style.new_axes() if ax is None else ax
    style.dress(ax, "IVW without …")
    y = np.arange(len(rows), dtype=float)
    full = rows["without"] == WITHOUT_NONE
    for member, color in ((~full, style.BLACK), (full, style.BLUE)):
        own = rows[member]
        error = np.stack([own["estimate"] - own["ci_lower"], own["ci_upper"] - own["estimate"]])
        ax.errorbar(
            own["estimate"], y[member], xerr=error, fmt="o", color=color, markersize=3, elinewidth=0.7,
            markeredgewidth=0, gid="none" if color == style.BLUE else "without",
        )  # fmt: skip
    middle = float(rows.loc[full, "estimate"].iloc[0])
    ax.axvline(middle, color=style.BLUE, lw=style.LINE_PT, ls="--", zorder=1)
    ax.set_yticks(y, [_short(name) for name in rows["without"]])
    ax.locator_params(axis="x", nbins=4)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    what = "sequence" if by_sequence else "mutant"
    shown = len(rows) - 1
    fewer = f"the {shown} of {total:,} that change it most" if shown < total else ""
    style.note(ax, f"each {what} in turn; 95 % intervals", fewer)
    return ax


def _estimates(used: Instruments, convention: Convention) -> dict[str, Estimate]:
    """MR-Egger and IVW, each where it can be had."""
    found = {}
    for name, (method, _, _) in _METHODS.items():
        try:
            found[name] = method(used, convention=convention)  # type: ignore[operator]
        except InputError:  # such as MR-Egger of two mutants: draw the plot without it
            continue
    return found


def _in_words(name: str, estimate: Estimate) -> str:
    words = f"{name}: {estimate.estimate:.3g} ({estimate.ci_lower:.3g} to {estimate.ci_upper:.3g})"
    if estimate.intercept is not None:
        words += f", intercept {estimate.intercept:.2g}"
    return words


def _unit(instruments: Instruments) -> str:
    return " (log odds)" if instruments.provenance.get("score") == "logit" else ""


def _frame(ax: Axes, ratio: Any, estimates: list[float]) -> int:
    """Limits that most ratios and all estimates fit in; returns how many ratios are outside."""
    tail = 100 * (1 - _INSIDE) / 2
    ends = [*np.percentile(ratio, [tail, 100 - tail]), *estimates]
    low, high = min(ends), max(ends)
    room = 0.08 * (high - low) or 0.5
    ax.set_xlim(low - room, high + room)
    return int(((ratio < low - room) | (ratio > high + room)).sum())


def _most_moving(table: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Rows to show, sorted by estimate, "(none)" last, and how many there were without it."""
    full = table[table["without"] == WITHOUT_NONE]
    parts = table[table["without"] != WITHOUT_NONE]
    moved = (parts["estimate"] - float(full["estimate"].iloc[0])).abs()
    shown = parts.loc[moved.sort_values(ascending=False, kind="stable").index[:MOST_ROWS]]
    return pd.concat([shown.sort_values("estimate", kind="stable"), full], ignore_index=True), len(parts)


def _short(name: str) -> str:
    return "none left out" if name == WITHOUT_NONE else style.plain(name, 22)
