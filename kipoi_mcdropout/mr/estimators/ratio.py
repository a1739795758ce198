"""Wald ratios, one per instrument, and their standard errors."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr.pairs.instruments import Instruments

Order = Literal["first_order", "second_order"]


def ratio_se(instruments: Instruments, order: Order) -> FloatArray:
    """Standard error of by / bx, shape=(n,).

    "first_order" takes the exposure effect as exact, ``sy / |bx|``; "second_order" adds its error
    by the delta method, ``sqrt(sy**2 / bx**2 + by**2 sx**2 / bx**4)``.
    """
    bx, by = instruments.beta_exposure, instruments.beta_outcome
    first = instruments.se_outcome / np.abs(bx)
    if order == "first_order":
        return first
    return np.sqrt(first**2 + (by * instruments.se_exposure / bx**2) ** 2)


def with_exposure_effect(instruments: Instruments, at_least: int, what: str) -> Instruments:
    """The kept rows; an error if one has an exposure effect of exactly 0, because it has no ratio."""
    used = instruments.kept(at_least, what)
    none = used.beta_exposure == 0
    if none.any():
        raise InputError(
            f"{what} requires exposure effects other than 0; {none.sum()} are 0, first: "
            f"{used.snp[none][0]}. Select stronger instruments."
        )
    return used


def wald_ratios(instruments: Instruments) -> pd.DataFrame:
    """One row per kept instrument: SNP, ratio, se_first_order, se_second_order.

    With a single instrument this is the causal estimate.
    """
    used = with_exposure_effect(instruments, 1, "a Wald ratio")
    table: pd.DataFrame = pd.DataFrame(
        {
            "SNP": used.snp,
            "ratio": used.beta_outcome / used.beta_exposure,
            "se_first_order": ratio_se(used, "first_order"),
            "se_second_order": ratio_se(used, "second_order"),
        }
    )
    return table
