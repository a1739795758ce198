"""Reasons to doubt an estimate."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from kipoi_mcdropout.mr.checks.heterogeneity import scatter_about_line
from kipoi_mcdropout.mr.checks.strength import i2_gx, mean_f
from kipoi_mcdropout.mr.estimators.convention import Convention
from kipoi_mcdropout.mr.p_values import LEAST_P
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
        The R package whose definition of I2_GX is used.
    correlated : bool
        Also check the correlation over draws (``more_than_draws`` and ``noisy_correlation``), which only
        the correlated methods use.

    Raises
    ------
    InputError
        No instrument is left.
    """
    used = instruments.kept()
    return [
        *_repeated(instruments),
        *_zero_variance(instruments),
        *_few(used),
        *_weak(used),
        *_low_i2_gx(used, convention),
        *((_more_than_draws(used) or _noisy_correlation(used)) if correlated else []),
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
            f"{out.sum()} of {len(instruments)} rows are mutants that also lie in another window, "
            f"first: {', '.join(instruments.snp[out][:3])}. Each mutant counts once: in the window "
            "where it lies nearest to the middle (mr_keep is FALSE in the other rows).",
        )
    ]


def _zero_variance(instruments: Instruments) -> list[Diagnosis]:
    out = np.char.startswith(instruments.reason.astype(str), "zero_variance")
    if not out.any():
        return []
    return [
        Diagnosis(
            "zero_variance",
            f"{out.sum()} of {len(instruments)} mutants have the same effect in every draw and are not "
            f"used (mr_keep is FALSE), first: {', '.join(instruments.snp[out][:3])}. Their standard "
            "error is 0, so with weights of 1/se**2 a single one of them would decide the estimate.",
        )
    ]


def _few(used: Instruments) -> list[Diagnosis]:
    if len(used) >= MIN_INSTRUMENTS:
        return []
    return [
        Diagnosis(
            "few_instruments",
            f"{len(used)} instruments are few. With fewer than {MIN_INSTRUMENTS}, single mutants decide "
            "the slope, and most of all MR-Egger's intercept. Select more mutants, and look at the "
            "leave-one-out estimates.",
        )
    ]


def _weak(used: Instruments) -> list[Diagnosis]:
    f = mean_f(used)
    if f >= MIN_MEAN_F:
        return []
    return [
        Diagnosis(
            "weak_instruments",
            f"the mean F is {f:.3g}{_by(used)}, below {MIN_MEAN_F:g} (F of a mutant is (effect / se)**2 "
            "on the exposure): the instruments are weak, and the noise of their exposure effects "
            "biases the slope. Select stronger mutants (min_z).",
        )
    ]


def _low_i2_gx(used: Instruments, convention: Convention) -> list[Diagnosis]:
    i2 = i2_gx(used, convention=convention)
    if not i2 < MIN_I2_GX:
        return []
    return [
        Diagnosis(
            "low_i2_gx",
            f"I2_GX is {i2:.3f} ({convention}){_by(used)}, below {MIN_I2_GX}: noise in the exposure "
            f"effects makes MR-Egger's slope too small, by about {100 * (1 - i2):.0f} %. Select "
            "stronger mutants, or trust IVW and the weighted median more.",
        )
    ]


def _more_than_draws(used: Instruments) -> list[Diagnosis]:
    if used.correlation is not None or used.n_draws is None or len(used) <= used.n_draws - 1:
        return []
    return [
        Diagnosis(
            "more_than_draws",
            f"there are {len(used)} instruments and only {used.n_draws} draws: the matrix of "
            "correlations over draws has no inverse, so the correlated methods cannot be used. Select "
            f"at most {used.n_draws - 1} instruments, run {len(used) + 1 - used.n_draws} more draws, or "
            "use the bootstrap over draws.",
        )
    ]


def _noisy_correlation(used: Instruments) -> list[Diagnosis]:
    needed = DRAWS_PER_INSTRUMENT * len(used)
    if used.correlation is not None or used.n_draws is None or used.n_draws >= needed:
        return []
    return [
        Diagnosis(
            "noisy_correlation",
            f"the correlation of {len(used)} instruments over {used.n_draws} draws is known only "
            "roughly, and its inverse even less: intervals of the correlated methods are too short, "
            f"and their slope is too near to 0. Run at least {needed} draws, or use the bootstrap over "
            "draws.",
        )
    ]


def _mcse_large(used: Instruments) -> list[Diagnosis]:
    n = used.n_draws
    if used.n_members > 1 or used.has_both_spreads:
        return _mcse_large_of_rows(used)
    if n is None or n**-0.5 <= MAX_MCSE_TO_SD:
        return []
    needed = math.ceil(MAX_MCSE_TO_SD**-2)
    return [
        Diagnosis(
            "mcse_large",
            f"{n} draws leave every mean effect with a Monte Carlo error of {100 * n**-0.5:.0f} % of "
            f"its sd. For {100 * MAX_MCSE_TO_SD:.0f} % run {needed - n} more draws ({needed} in all).",
        )
    ]


def _mcse_large_of_rows(used: Instruments) -> list[Diagnosis]:
    sd, mcse = used.with_se_type("sd").se_exposure, used.with_se_type("mcse").se_exposure
    share = float(np.median(mcse / sd))
    if share <= MAX_MCSE_TO_SD:
        return []
    draws = f"{used.n_members} members and {used.n_draws} draws"
    advice = "More draws lessen only the part of the masks; more members lessen all of it."
    if used.n_members == 1:
        draws = f"{used.n_draws} draws or more of each mutant"
        advice = "Run with a smaller --until, or without it."
    return [
        Diagnosis(
            "mcse_large",
            f"{draws} leave the mean effects with an error of {100 * share:.0f} % of their sd (median "
            f"over mutants). {advice}",
        )
    ]


def _mcse_flattens(used: Instruments, convention: Convention) -> list[Diagnosis]:
    """Whether draws are too few for MR-Egger; how many are enough, as Q grows with their number."""
    if used.se_type is None or used.n_draws is None or len(used) < 3:
        return []
    i2 = i2_gx(used.with_se_type("mcse"), convention=convention)
    if not i2 < MIN_I2_GX:
        return []
    advice = "More draws will not help, because the exposure effects do not differ. Use IVW."
    if used.n_members > 1:
        advice = "Use more members, or more draws where the members hardly differ, or IVW."
    elif used.has_both_spreads:
        advice = "Run with a smaller --until, or without it, or select stronger mutants."
    elif i2 > 0:
        needed = math.ceil(used.n_draws * (1 - i2) / (1 - MIN_I2_GX))
        more = needed - used.n_draws
        advice = f"Run about {more} more draws ({needed} in all), or select stronger mutants."
    return [
        Diagnosis(
            "mcse_flattens",
            f"the Monte Carlo error of the exposure effects alone leaves I2_GX at {i2:.3f} "
            f"({convention}), below {MIN_I2_GX}: too few draws make MR-Egger's slope too small. "
            f"{advice}",
        )
    ]


def _scatter(used: Instruments) -> list[Diagnosis]:
    found = scatter_about_line(used)
    if found is None or not found.p < SCATTER_P:
        return []
    return [
        Diagnosis(
            "scatter_beyond_draws",
            "the mutations do not lie on one line: they scatter about MR-Egger's line more than their "
            f"draws explain (Cochran's Q {found.q:.4g} on {found.df} df, {_p(found.p)}): some change "
            f"{used.outcome} by another way than {used.exposure}, or the model is not linear. The "
            "bootstrap over draws does not see this. Read the answer, and look at the groups of "
            "mutations.",
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
            "the same draws select the instruments and estimate the slope, which favours mutants whose "
            "noise points away from 0 (winner's curse). If the draws were kept, use "
            "select_draws='half': one half selects, the other estimates.",
        )
    ]


def _p(p: float) -> str:
    return f"p < {LEAST_P:g}" if p < LEAST_P else f"p {p:.2g}"


def _by(used: Instruments) -> str:
    return "" if used.se_type is None else f" by the {used.se_type} over draws"
