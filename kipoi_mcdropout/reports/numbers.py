"""Formats numbers for people: only meaningful digits, and the same number of decimals in a column."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from kipoi_mcdropout.mr.p_values import LEAST_P

MISSING = "\u2013"
_MOST_DECIMALS = 7


def decimals(
    values: Iterable[float], digits: int = 3, spread: Iterable[float] = (), spread_digits: int = 2
) -> int | None:
    """Decimals that show a typical value, and a typical spread, with so many digits.

    Returns
    -------
    int or None
        None where that takes more than 7: use powers of ten.

    Examples
    --------
    >>> decimals([0.512, -0.031, 0.22])
    3
    >>> decimals([0.512], spread=[0.0012])
    4
    """
    needed = [_needed(values, digits), _needed(spread, spread_digits)]
    most = max(needed)
    return None if most > _MOST_DECIMALS else most


def _needed(values: Iterable[float], digits: int) -> int:
    sizes = np.abs(np.asarray(list(values), float))
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    if not len(sizes):
        return 0
    return max(0, digits - 1 - math.floor(math.log10(float(np.median(sizes)))))


def fixed(value: Any, places: int | None) -> str:
    """A number with so many decimals, or with a power of ten for None; a dash where there is none.

    Zero is "0" alone: no effect, to be told from a small one. A number that the decimals would show as
    zero gets a power of ten.
    """
    if not is_number(value):
        return MISSING
    value = float(value)
    if value == 0:
        return "0"
    if places is None:
        return f"{value:.2e}"
    text = f"{value:.{places}f}"
    return f"{value:.0e}" if float(text) == 0 else text


def p_value(value: Any) -> str:
    """A p-value: three decimals, or a power of ten below 0.001; never 0."""
    if not is_number(value):
        return MISSING
    if value <= LEAST_P:  # tables have this number for all that are smaller
        return f"< {LEAST_P:g}"
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}"


def significant(value: Any, digits: int = 3) -> str:
    """A single number with so many digits, and thousands apart."""
    if not is_number(value):
        return MISSING
    if isinstance(value, (int, np.integer)) or value == int(value):
        return f"{int(value):,}"
    return f"{value:#.{digits}g}".rstrip(".") if abs(value) < 10**digits else f"{value:,.0f}"


def percent(share: Any) -> str:
    """A share as per cent: whole, or with one digit below ten."""
    if not is_number(share):
        return MISSING
    return f"{100 * share:.0f} %" if share >= 0.1 or share == 0 else f"{100 * share:.1f} %"


def is_number(value: Any) -> bool:
    """Whether it is a finite number."""
    return value is not None and not pd.isna(value) and math.isfinite(value)
