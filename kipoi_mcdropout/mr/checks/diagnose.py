"""What a user must be told before believing an estimate."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from kipoi_mcdropout.mr.checks.heterogeneity import scatter_about_line
from kipoi_mcdropout.mr.checks.strength import i2_gx, mean_f
from kipoi_mcdropout.mr.estimators.convention import Convention
from kipoi_mcdropout.mr.pairs.instruments import Instruments
from kipoi_mcdropout.mr.pairs.table import REPEATED

MIN_MEAN_F = 10.0  # Staiger and Stock, Econometrica 1997
MIN_I2_GX = 0.9  # Bowden et al., Int J Epidemiol 2016
MIN_INSTRUMENTS = 10
DRAWS_PER_INSTRUMENT = 10  # for a correlation over draws; see benchmarks/mr_coverage.py
MAX_MCSE_TO_SD = 0.2
SCATTER_P = 0.01


class Diagnosis(NamedTuple):
    """A stable code and a message for people."""

    code: str
    message: str


def diagnose(
    instruments: Instruments,
    *,
    convention: Convention = "twosamplemr",
    correlated: bool = False,
) -> list[Diagnosis]:
    """Reasons to doubt an estimate from these instruments; empty when there are none.

    Codes: ``repeated_mutants``, ``zero_variance``, ``few_instruments``, ``weak_instruments``,
    ``low_i2_gx``, ``more_than_draws``, ``noisy_correlation``, ``mcse_large``, ``mcse_flattens``,
    ``scatter_beyond_draws``, ``unsplit_selection``.

    Parameters
    ----------
    instruments : Instruments
    convention : str
        Whose I2_GX.
    correlated : bool
        A correlated method will be used: look at the correlation over draws too.

    Raises
    ------
    InputError
        No instrument is left at all.
    """
    used = instruments.kept()
    return [
        *_repeated(instruments),
        *_zero_variance(instruments),
        *_few(used),
        *_weak(used),
        *_low_i2_gx(used, convention),
        *_more_than_draws(used),
        *(_noisy_correlation(used) if correlated else []),
        *_mcse_large(used),
        *_mcse_flattens(used, convention),
        *_scatter(used),
        *_unsplit_selection(used),
    ]


def _repeated(instruments: Instruments) -> list[Diagnosis]:
    out = instruments.reason.astype(str) == REPEATED
    if not out.any():
        return []
    return [
        Diagnosis(
            "repeated_mutants",
            f"{out.sum()} of {len(instruments)} rows are mutants that another window has too, first: "
            f"{', '.join(instruments.snp[out][:3])}. Each counts once, in the window in which it lies "
            "nearest to the middle (mr_keep is FALSE in the other rows).",
        )
    ]


def _zero_variance(instruments: Instruments) -> list[Diagnosis]:
    out = np.char.startswith(instruments.reason.astype(str), "zero_variance")
    if not out.any():
        return []
    return [
        Diagnosis(
            "zero_variance",
            f"{out.sum()} of {len(instruments)} mutants do not vary over draws and are kept out "
            "(mr_keep is "
            f"FALSE), first: {', '.join(instruments.snp[out][:3])}. Weighted by 1/se**2 one of "
            "them would "
            "decide the estimate alone.",
        )
    ]


def _few(used: Instruments) -> list[Diagnosis]:
    if len(used) >= MIN_INSTRUMENTS:
        return []
    return [
        Diagnosis(
            "few_instruments",
            f"{len(used)} instruments are few: below {MIN_INSTRUMENTS} the slope, and MR-Egger's "
            "intercept most "
            "of all, hang on single mutants. Select more, and look at leave-one-out.",
        )
    ]


def _weak(used: Instruments) -> list[Diagnosis]:
    f = mean_f(used)
    if f >= MIN_MEAN_F:
        return []
    return [
        Diagnosis(
            "weak_instruments",
            f"the mean F is {f:.3g}, below {MIN_MEAN_F:g}{_by(used)}: the instruments are weak, "
            "and noise in "
            "their exposure effects biases the slope. Select stronger mutants (min_z).",
        )
    ]


def _low_i2_gx(used: Instruments, convention: Convention) -> list[Diagnosis]:
    i2 = i2_gx(used, convention=convention)
    if not i2 < MIN_I2_GX:
        return []
    return [
        Diagnosis(
            "low_i2_gx",
            f"I2_GX is {i2:.3f} ({convention}), below {MIN_I2_GX}{_by(used)}: if that is the "
            "error of the "
            f"exposure effects, MR-Egger's slope is flattened by about {100 * (1 - i2):.0f} %. "
            "Select stronger "
            "mutants, or trust IVW and the median more.",
        )
    ]


def _more_than_draws(used: Instruments) -> list[Diagnosis]:
    if used.correlation is not None or used.n_draws is None or len(used) <= used.n_draws - 1:
        return []
    return [
        Diagnosis(
            "more_than_draws",
            f"{len(used)} instruments and {used.n_draws} draws: the correlation over draws is "
            "singular, so the "
            f"correlated methods cannot be used. Select at most {used.n_draws - 1} instruments, "
            "run "
            f"{len(used) + 1 - used.n_draws} more draws, or use the bootstrap over draws.",
        )
    ]


def _noisy_correlation(used: Instruments) -> list[Diagnosis]:
    needed = DRAWS_PER_INSTRUMENT * len(used)
    if used.correlation is not None or used.n_draws is None or used.n_draws >= needed:
        return []
    return [
        Diagnosis(
            "noisy_correlation",
            f"the correlation of {len(used)} instruments over {used.n_draws} draws is poorly known, and "
            "its inverse worse: intervals of the correlated methods are too short, and the slope is "
            f"drawn to 0. Run at least {needed} draws, or use the bootstrap over draws.",
        )
    ]


def _mcse_large(used: Instruments) -> list[Diagnosis]:
    n = used.n_draws
    if n is None or n**-0.5 <= MAX_MCSE_TO_SD:
        return []
    needed = math.ceil(MAX_MCSE_TO_SD**-2)
    return [
        Diagnosis(
            "mcse_large",
            f"{n} draws leave a Monte Carlo error of {100 * n**-0.5:.0f} % of the sd in every "
            "mean effect. For "
            f"{100 * MAX_MCSE_TO_SD:.0f} % run {needed - n} more draws ({needed} in all).",
        )
    ]


def _mcse_flattens(used: Instruments, convention: Convention) -> list[Diagnosis]:
    """Whether draws are too few for MR-Egger; how many are enough, as Q grows with their number."""
    if used.se_type is None or used.n_draws is None or len(used) < 3:
        return []
    i2 = i2_gx(used.with_se_type("mcse"), convention=convention)
    if not i2 < MIN_I2_GX:
        return []
    advice = "No number of draws will help: the exposure effects do not differ. Use IVW."
    if i2 > 0:
        needed = math.ceil(used.n_draws * (1 - i2) / (1 - MIN_I2_GX))
        more = needed - used.n_draws
        advice = f"Run about {more} more draws ({needed} in all), or select stronger mutants."
    return [
        Diagnosis(
            "mcse_flattens",
            f"the Monte Carlo error of the exposure effects alone leaves I2_GX at {i2:.3f} "
            f"({convention}), "
            f"below {MIN_I2_GX}: MR-Egger's slope is flattened for want of draws. {advice}",
        )
    ]


def _scatter(used: Instruments) -> list[Diagnosis]:
    found = scatter_about_line(used)
    if found is None or not found.p < SCATTER_P:
        return []
    return [
        Diagnosis(
            "scatter_beyond_draws",
            "mutants scatter about MR-Egger's line more than their draws explain "
            f"(Q {found.q:.4g} on {found.df} df, p {found.p:.2g}): other paths to the outcome, or a "
            "model that is not linear. The bootstrap over draws does not see this; use "
            "resample='both', and the weighted median.",
        )
    ]


def _unsplit_selection(used: Instruments) -> list[Diagnosis]:
    selection = used.provenance.get("selection")
    if selection is None or selection["select_draws"] == "half":
        return []
    if selection["min_z"] is None and selection["top_n"] is None:
        return []
    return [
        Diagnosis(
            "unsplit_selection",
            "the draws that chose the instruments also estimate (winner's curse). "
            "With draws kept, select_draws='half' separates the two.",
        )
    ]


def _by(used: Instruments) -> str:
    return "" if used.se_type is None else f" by the {used.se_type} over draws"
