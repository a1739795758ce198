"""Reasons why a calibration has no meaning, although its numbers look good.

A line can be fitted to all data, also to effects of the wrong sign and to unrelated effects. So we check
the correlation of measured and predicted effects, and how far the sd is from the right size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import ndtri

from kipoi_mcdropout.significance.matched_effects import Matched

Align = Literal["none", "linear"]
MAX_SD_FACTOR = 10.0  # beyond, or below a tenth, the two scales are likely not the same


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
    half = float(ndtri(0.975)) / np.sqrt(len(found.mean) - 3)
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
