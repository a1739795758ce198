"""Reasons why a calibration has no meaning, although its numbers look good.

A line can be fitted to all data, also to effects of the wrong sign and to unrelated effects. So we check
the correlation of measured and predicted effects, and how far the sd is from the right size. And any
interval holds the measurements if it is wide enough. So we compare its width with the range of the
measurements themselves, and see whether there are effects at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal, NamedTuple

import numpy as np

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.significance.conformal import (
    ConformalGroups,
    default_edges,
    describe_group,
    group_of,
)
from kipoi_mcdropout.significance.matched_effects import Matched

Align = Literal["none", "linear"]
MAX_SD_FACTOR = 10.0  # beyond, or below a tenth, the two scales are likely not the same
ZERO_SHARE = 0.01  # of the largest effect: an effect below it counts as 0
FEW_SEQUENCES = 20
_TWO_SIDED = NormalDist().inv_cdf(0.975)  # of a 95 % interval
TOO_WIDE = 1.5  # an interval, beside that of as many measured effects


class Caution(NamedTuple):
    """A stable code and a message for people."""

    code: str
    message: str


@dataclass(frozen=True)
class Correlation:
    """Pearson's correlation of measured and predicted effects, with its 95 % interval (Fisher's z).

    NaN where all effects of one table are equal.
    """

    r: float
    lower: float
    upper: float


def correlation_of(found: Matched) -> Correlation:
    """Of measured and predicted effects."""
    if np.ptp(found.mean) == 0 or np.ptp(found.effect) == 0:
        return Correlation(float("nan"), float("nan"), float("nan"))
    r = float(np.clip(np.corrcoef(found.mean, found.effect)[0, 1], -1, 1))
    half = _TWO_SIDED / np.sqrt(len(found.mean) - 3)
    with np.errstate(divide="ignore"):  # r = 1 is its own interval
        lower, upper = np.tanh(np.arctanh(r) + np.array([-half, half]))
    return Correlation(r, float(lower), float(upper))


def cautions_of(found: Correlation, sd_scale: float, slope: float, align: Align) -> list[Caution]:
    """Reasons why coverage and sd_scale have no meaning, although they look good."""
    cautions = []
    words = f"r = {found.r:.3g}, 95 % interval {found.lower:.3g} to {found.upper:.3g}"
    if found.upper < 0:
        cautions.append(
            Caution(
                "negative_correlation",
                f"measured effects fall where predicted ones rise ({words}). Are REF and ALT exchanged "
                "in one of the tables? Is this the right output?"
                + (f" The line has slope {slope:.3g}, which hides it." if align == "linear" else ""),
            )
        )
    elif not found.lower > 0:
        cautions.append(
            Caution(
                "no_correlation",
                f"no correlation of measured and predicted effects is visible ({words}): the "
                "predictions say nothing about these measurements."
                + (
                    f" The fitted line is nearly flat (slope {slope:.3g}), so sd_scale {sd_scale:.3g} "
                    "does not measure the sd."
                    if align == "linear"
                    else ""
                ),
            )
        )
    if not 1 / MAX_SD_FACTOR <= sd_scale <= MAX_SD_FACTOR:
        advice = " If they differ by a factor, use align 'linear'." if align == "none" else ""
        cautions.append(
            Caution(
                "sd_scale_far_from_one",
                f"the sd would have to be multiplied by {sd_scale:.3g}: are measured and predicted "
                f"effects on one scale, and is the se of the measurements right?{advice}",
            )
        )
    return cautions


def scale_cautions(found: Matched, scaled_sd: FloatArray) -> list[Caution]:
    """Reasons to doubt a factor for the sd: effects that are mostly 0, and intervals that say nothing.

    Parameters
    ----------
    found : Matched
    scaled_sd : numpy.ndarray, shape=(n,)
        On the scale of the measured effects.
    """
    cautions = _mostly_zero(found)
    width = 2 * _TWO_SIDED * scaled_sd
    if wide := _too_wide(found, width, default_edges(np.abs(found.mean)), 0.95):
        cautions.append(
            Caution(
                "scaled_intervals_too_wide",
                f"after sd_scale, half of the 95 % intervals are over {TOO_WIDE:g} times as wide as the "
                f"range of 95 % of the measured effects ({wide}): such intervals say less than the "
                "measured effects without any model. Do not use sd_scale there",
            )
        )
    return cautions


def interval_cautions(
    found: Matched, groups: ConformalGroups, spread: FloatArray, level: float
) -> list[Caution]:
    """Reasons to doubt conformal intervals.

    Parameters
    ----------
    found : Matched
    groups : ConformalGroups
    spread : numpy.ndarray, shape=(n,)
        On the scale of the measured effects.
    level : float
    """
    cautions = _mostly_zero(found) if len(groups.n) == 1 else []
    width = 2 * groups.at(np.abs(found.mean), level) * spread
    if wide := _too_wide(found, width, groups.edges, level):
        cautions.append(
            Caution(
                "conformal_intervals_too_wide",
                f"half of the {level:g} intervals are over {TOO_WIDE:g} times as wide as the range of "
                f"as many of the measured effects ({wide}): here the predictions add nothing to the "
                "measured effects",
            )
        )
    if 0 < found.n_sequences < FEW_SEQUENCES:
        cautions.append(
            Caution(
                "few_sequences",
                f"the effects lie in {found.n_sequences} sequences. Effects in one sequence share their "
                "errors, so the share of measurements that the intervals hold varies more from one new "
                "sequence to the next than the number of effects suggests",
            )
        )
    return cautions


def _mostly_zero(found: Matched) -> list[Caution]:
    """Whether more than half of the predicted or of the measured effects are as good as 0."""
    cautions = []
    for effects, what in ((found.mean, "predicted"), (found.effect, "measured")):
        size = np.abs(effects)
        share = float(np.mean(size <= ZERO_SHARE * size.max()))
        if share > 0.5:
            cautions.append(
                Caution(
                    "mostly_zero",
                    f"{share:.0%} of the {what} effects are smaller than a hundredth of the largest: "
                    "numbers over all effects, such as sd_scale, say little about large effects. Take "
                    "the variants with a large predicted effect alone, or use intervals by groups "
                    "(--conformal)",
                )
            )
    return cautions


def _too_wide(found: Matched, width: FloatArray, edges: Sequence[float], level: float) -> str:
    """Groups whose median interval is much wider than what holds as many measured effects, in words.

    The group where this is worst stands for the others; empty if there is none.
    """
    group = group_of(np.abs(found.mean), edges)
    wide = {}
    for number in range(len(edges) - 1):
        mine = group == number
        low, high = np.quantile(found.effect[mine], [(1 - level) / 2, (1 + level) / 2])
        median = float(np.median(width[mine]))
        if median > TOO_WIDE * (high - low):
            told = f"{describe_group(edges, number)}: {median:.3g} against {high - low:.3g}"
            wide[told] = median / (high - low) if high > low else np.inf
    if not wide:
        return ""
    return f"in {len(wide)} of {len(edges) - 1} groups; {max(wide, key=lambda told: wide[told])}"
