"""Methods and warnings of Mendelian randomization in words."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pandas as pd

from kipoi_mcdropout.mr.estimate_table import GROUP
from kipoi_mcdropout.mr.estimators.bootstrap import NEED_NO_RATIO

_POINTS = {
    "egger": "MR-Egger",
    "ivw": "IVW",
    "ivw_robust": "Robust IVW (MM-estimation)",
    "raps": "MR-RAPS",
    "conmix": "Contamination mixture",
    "simple_median": "Simple median",
    "weighted_median": "Weighted median",
    "simple_mode": "Simple mode",
    "weighted_mode": "Weighted mode",
}
# Without a bootstrap over sequences.
_OF_DRAWS = {
    "lasso": "MR-Lasso",
    "maxlik": "Maximum likelihood",
    "ivw_radial": "Radial IVW",
    "egger_radial": "Radial MR-Egger",
}
_RESAMPLED = {"draws": "draws", "both": "draws and mutants", "sequences": "draws and sequences"}
METHOD_WORDS = {
    **_POINTS,
    **_OF_DRAWS,
    "egger_correlated": "MR-Egger, correlated effects",
    "ivw_fixed": "IVW, fixed effects",
    "ivw_delta": "IVW, second-order weights",
    "ivw_correlated": "IVW, correlated effects",
    "debiased_ivw": "Debiased IVW",
    "ivw_penalised": "IVW, penalised weights",
    "ivw_penalised_robust": "Robust IVW, penalised weights",
    "egger_robust": "Robust MR-Egger (MM-estimation)",
    "egger_penalised": "MR-Egger, penalised weights",
    "egger_penalised_robust": "Robust MR-Egger, penalised weights",
    "penalised_weighted_median": "Penalised weighted median",
    "ivw_radial_first_order": "Radial IVW, first-order weights",
    "ivw_radial_second_order": "Radial IVW, second-order weights",
    "ivw_radial_iterated": "Radial IVW, iterated weights",
    "egger_radial_first_order": "Radial MR-Egger, first-order weights",
    "egger_radial_second_order": "Radial MR-Egger, second-order weights",
    **{
        f"raps{simple}_{loss}": f"MR-RAPS, {words}{', no overdispersion' if simple else ''}"
        for simple in ("", "_simple")
        for loss, words in (("l2", "squared loss"), ("huber", "Huber's loss"), ("tukey", "Tukey's loss"))
        if simple or loss != "huber"  # that is "raps"
    },
    **{
        f"{method}_bootstrap_{resample}": f"{words}, bootstrap over {what}"
        for method, words in _POINTS.items()
        for resample, what in _RESAMPLED.items()
        if resample != "sequences" or method in NEED_NO_RATIO
    },
    **{
        f"{method}_bootstrap_{resample}": f"{words}, bootstrap over {_RESAMPLED[resample]}"
        for method, words in _OF_DRAWS.items()
        for resample in ("draws", "both")
    },
}

Row = dict[str, Any]


def _repeated_mutants(_row: Row) -> str:
    return (
        "Some mutants lie in more than one window, because windows overlap or a window is given twice. "
        "Each mutant counts once: in the window where it lies nearest to the middle."
    )


def _zero_variance(_row: Row) -> str:
    return (
        "Some mutants have the same effect in every draw and were not used: their standard error is 0, "
        "so with weights of 1/se\u00b2 a single one of them would decide the estimate. Look at them in "
        "the table of effects."
    )


def _few_instruments(row: Row) -> str:
    return (
        f"{_count(row)} are few: single mutants decide the slope, and most of all MR-Egger's intercept. "
        "Select more mutants (a lower --min_z, more sequences), and look at --leave_one_out."
    )


def _weak_instruments(row: Row) -> str:
    return (
        f"The mean F is {_number(row, 'f_mean')}{_by(row)}, below 10: the instruments are weak, and the "
        "noise of their exposure effects biases the slope. Select stronger mutants with --min_z."
    )


def _low_i2_gx(row: Row) -> str:
    i2 = _value(row, "i2_gx")
    flattened = "" if i2 is None else f", by about {100 * (1 - i2):.0f} %"
    return (
        f"I\u00b2_GX is {_number(row, 'i2_gx')}{_by(row)}, below 0.9: noise in the exposure effects "
        f"makes MR-Egger's slope too small{flattened}. Select stronger mutants, or trust IVW and the "
        "weighted median more."
    )


def _more_than_draws(row: Row) -> str:
    return (
        f"There are {_count(row)} and only {_number(row, 'n_draws')} draws: the matrix of correlations "
        "over draws has no inverse, so the correlated methods cannot be used. Select fewer "
        "instruments, run more draws, or use the bootstrap over draws."
    )


def _noisy_correlation(row: Row) -> str:
    return (
        f"The correlation of {_count(row)} over {_number(row, 'n_draws')} draws is known only roughly: "
        "intervals of the correlated methods are too short. Run about ten draws per instrument, or use "
        "the bootstrap over draws."
    )


def _mcse_large(row: Row) -> str:
    n = _value(row, "n_draws")
    share = f" of up to {100 / math.sqrt(n):.0f} % of the sd" if n else ""
    return (
        f"{_number(row, 'n_draws')} draws leave the mean effects with a Monte Carlo error{share}. With "
        "25 draws or more it is at most 20 %."
    )


def _mcse_flattens(_row: Row) -> str:
    return (
        "The Monte Carlo error of the exposure effects alone leaves I\u00b2_GX below 0.9: too few "
        "draws make MR-Egger's slope too small. Run more draws, or select stronger mutants."
    )


def _scatter_beyond_draws(_row: Row) -> str:
    return (
        "The mutations do not lie on one line: they scatter about MR-Egger's line more than their "
        "draws explain. Some change the outcome by another way than the exposure, or the model is not "
        "linear. The bootstrap over draws does not see this. Read the answer, and look at the groups of "
        "mutations."
    )


def _unsplit_selection(_row: Row) -> str:
    return (
        "The same draws select the instruments and estimate the slope, which favours mutants whose "
        "noise points away from 0 (winner's curse). If the draws were kept, use --select_draws half: "
        "one half selects, the other estimates."
    )


WARNING_WORDS: dict[str, Callable[[Row], str]] = {
    "repeated_mutants": _repeated_mutants,
    "zero_variance": _zero_variance,
    "few_instruments": _few_instruments,
    "weak_instruments": _weak_instruments,
    "low_i2_gx": _low_i2_gx,
    "more_than_draws": _more_than_draws,
    "noisy_correlation": _noisy_correlation,
    "mcse_large": _mcse_large,
    "mcse_flattens": _mcse_flattens,
    "scatter_beyond_draws": _scatter_beyond_draws,
    "unsplit_selection": _unsplit_selection,
}


def warning_words(code: str, row: Row) -> str:
    """What a warning of `mr.diagnose` says, with the numbers that the row of the table has."""
    words = WARNING_WORDS.get(code)
    if words is None:
        return "This version has no explanation of this warning; `kipoi mcdropout mr` prints it in full."
    return words(row)


def method_words(method: str) -> str:
    """A method's name for people."""
    if method.startswith(GROUP):
        return f"Group {method.removeprefix(GROUP)} of mutations: IVW"
    return METHOD_WORDS.get(method, method)


def _value(row: Row, name: str) -> float | None:
    value = row.get(name)
    return None if value is None or pd.isna(value) else float(value)


def _number(row: Row, name: str) -> str:
    value = _value(row, name)
    return "not known" if value is None else f"{value:.3g}"


def _count(row: Row) -> str:
    return f"{_number(row, 'n_instruments')} instruments"


def _by(row: Row) -> str:
    se_type = row.get("se_type")
    return f" by the {se_type} over draws" if isinstance(se_type, str) and se_type else ""
