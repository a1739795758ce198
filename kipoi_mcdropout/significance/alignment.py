"""The line between the predicted and the measured scale."""

from __future__ import annotations

import numpy as np

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.significance.matched_effects import Matched


def check_align(align: str) -> None:
    """Raise InputError unless the word is known."""
    if align not in ("none", "linear"):
        raise InputError(f"align must be 'none' or 'linear'; got {align!r}.")


def fitted_line(found: Matched) -> tuple[float, float]:
    """Slope and intercept of measured on predicted.

    Raises
    ------
    InputError
        If there is no line with a slope.
    """
    if np.ptp(found.mean) == 0 or np.ptp(found.effect) == 0:
        raise InputError(
            "align 'linear' requires effects that differ; in one of the tables all are equal. Use "
            "align 'none'."
        )
    from scipy.stats import linregress  # takes half a second, and only a fit needs it

    fit = linregress(found.mean, found.effect)
    if fit.slope == 0:
        raise InputError(
            "align 'linear' requires a slope other than 0; measured and predicted effects are not "
            "correlated at all. Use align 'none'."
        )
    return float(fit.slope), float(fit.intercept)
