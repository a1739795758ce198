"""One answer from all methods: a number where they agree, else what they disagree about.

The rule. A single number is given only if all of these hold:

1. there are at least 10 instruments, and the noise of the mean exposure effects flattens IVW by at most
   5 %, ``sum(sx**2 / sy**2) / sum(bx**2 / sy**2)`` with sx the mcse;
2. there is one group of mutants (`find_groups`), and at most 15 % of the mutants fit it not;
3. the mutants lie on one line as far as their draws can tell (`p_of_one_line` of 0.05 or more), or their
   ratios differ by at most 10 % (sd, beyond noise and direct effects; `Mixture.c2`);
4. MR-Egger, the weighted median, the weighted mode, the contamination mixture and robust IVW agree with
   IVW: each differs from it by less than 5 % of it, or by less than 2.58 standard errors of the
   difference (1.96 where the mutants do not lie on one line), from the bootstrap over draws and
   mutants, the same replicates for both.

The number is that of IVW over the mutants of the group. Its interval is from the bootstrap over draws
if the mutants lie on one line, else from the bootstrap over draws and mutants, or, of 5 sequences or
more, over draws and sequences. Where ratios differ by more than 2 %, that interval is widened by what a
minority of 30 % with another ratio could change (`_widened`).

``python benchmarks/mr_coverage.py --answer`` measures how often the interval that is given contains the
slope, and how often no number is given.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.mr.estimators.bootstrap import bootstrap_estimates, mr_bootstrap, point_estimate
from kipoi_mcdropout.mr.estimators.estimate import Estimate, wald_test
from kipoi_mcdropout.mr.estimators.ivw import mr_ivw
from kipoi_mcdropout.mr.estimators.points import POINT_ESTIMATORS
from kipoi_mcdropout.mr.groups.find import JUNK, NULL, ONE_LINE_P, Groups, find_groups
from kipoi_mcdropout.mr.groups.noise import noise_of_means
from kipoi_mcdropout.mr.groups.scatter import p_of_one_line
from kipoi_mcdropout.mr.groups.words import WIDENED, answer_words, noise_words
from kipoi_mcdropout.mr.pairs.instruments import Instruments

Kind = Literal[
    "one_number", "groups", "methods_disagree", "ratios_differ", "too_few", "too_noisy"
]

COMPARED = ("ivw", "egger", "ivw_robust", "conmix", "weighted_median", "weighted_mode")
MIN_INSTRUMENTS = 10
MOST_FLATTENED = 0.05
MOST_OUTSIDE = 0.15
AGREE_Z = 2.58
AGREE_Z_OFF_LINE = 1.96
MOST_SPREAD = 0.10
AGREE_SHARE = 0.05
MINORITY = 0.3
LEAST_SPREAD = 0.02
NORMAL_95 = 1.959964


@dataclass(frozen=True)
class Answer:
    """What to show first.

    Attributes
    ----------
    kind : "one_number", "groups", "methods_disagree", "ratios_differ", "too_few" or "too_noisy"
    words : str
        The answer in a sentence or two, the same everywhere.
    shown : Estimate or None
        The number and its interval, for "one_number" only.
    estimates : dict of str to float
        Of the methods that were compared.
    p_one_line : float or None
        Of the hypothesis that all mutants lie on one line.
    groups : Groups or None
        None where the instruments are too few, or too noisy.
    """

    kind: Kind
    words: str
    shown: Estimate | None
    estimates: dict[str, float]
    p_one_line: float | None
    groups: Groups | None


def answer(instruments: Instruments, *, n_bootstrap: int = 1000, seed: int = 0) -> Answer:
    """The number to show first, or why there is none.

    Raises
    ------
    InputError
        No instrument is left.
    """
    used = _usable(instruments.kept())
    if len(used) < MIN_INSTRUMENTS:
        words = answer_words("too_few", used.exposure, used.outcome, n_instruments=len(used))
        return Answer("too_few", words, None, {}, None, None)
    flattened = share_flattened(used)
    if flattened > MOST_FLATTENED:
        words = noise_words(flattened, MOST_FLATTENED, used.n_draws)
        return Answer("too_noisy", words, None, {}, None, None)
    points = {name: point_estimate(used, name) for name in COMPARED}
    groups = find_groups(used, n_bootstrap=n_bootstrap, seed=seed)
    p = p_of_one_line(used, n_bootstrap, seed)
    kind = _kind(used, points, groups, p, n_bootstrap, seed)
    shown = _one_number(used, groups, p, n_bootstrap, seed) if kind == "one_number" else None
    words = answer_words(kind, used.exposure, used.outcome, len(used), points, groups, shown)
    return Answer(kind, words, shown, points, p, groups)


def _kind(
    used: Instruments, points: dict[str, float], groups: Groups, p: float, n_bootstrap: int, seed: int
) -> Kind:
    if len(groups.groups) > 1:
        return "groups"
    if not groups.groups or groups.share_of(JUNK) + groups.share_of(NULL) > MOST_OUTSIDE:
        return "methods_disagree"
    if p < ONE_LINE_P and groups.c2**0.5 > MOST_SPREAD:
        return "ratios_differ"
    least_z = AGREE_Z if p >= ONE_LINE_P else AGREE_Z_OFF_LINE
    return "one_number" if _agree(used, points, least_z, n_bootstrap, seed) else "methods_disagree"


def share_flattened(used: Instruments) -> float:
    """By which share the noise of the mean exposure effects makes IVW's slope too small."""
    weight = used.se_outcome**-2.0
    return float((weight * noise_of_means(used).xx).sum() / (weight * used.beta_exposure**2).sum())


def _usable(used: Instruments) -> Instruments:
    """Without mutants that have no ratio."""
    return used.take(np.flatnonzero(used.beta_exposure != 0))


def _one_number(
    used: Instruments, groups: Groups, p: float, n_bootstrap: int, seed: int
) -> Estimate:
    """IVW of the group's mutants."""
    members = used.take(np.flatnonzero(np.isin(used.snp, groups.groups[0].snp)))
    if used.draws_exposure is None:
        return mr_ivw(members)
    if p >= ONE_LINE_P:
        return mr_bootstrap(members, "ivw", n_bootstrap=n_bootstrap, seed=seed)
    return _widened(groups.groups[0].estimate, groups.c2**0.5)


def _widened(estimate: Estimate, spread: float) -> Estimate:
    """With room for a minority of 30 % with another ratio, which moves the mean away from the others.

    Of ratios with sd `spread` (relative), a share s of the mutants can have a mean ratio that differs
    from the mean of all by at most ``spread sqrt((1 - s) / s)``; the mean of the others is then at most
    ``spread sqrt(s / (1 - s))`` away (one-sided Chebyshev inequality).
    """
    if spread <= LEAST_SPREAD:
        return estimate
    room = abs(estimate.estimate) * spread * (MINORITY / (1 - MINORITY)) ** 0.5
    return replace(
        estimate,
        method=estimate.method + WIDENED,
        ci_lower=estimate.ci_lower - room,
        ci_upper=estimate.ci_upper + room,
        p=wald_test(estimate.estimate, estimate.se + room / NORMAL_95)[0],
        distribution=f"{estimate.distribution}, widened",
    )


def _agree(
    used: Instruments, points: dict[str, float], least_z: float, n_bootstrap: int, seed: int
) -> bool:
    """Whether every method's difference from IVW is small, or small for its standard error."""
    ivw = points["ivw"]
    far = {n: p - ivw for n, p in points.items() if abs(p - ivw) > AGREE_SHARE * abs(ivw)}
    if not far:
        return True
    base = _replicates(used, "ivw", n_bootstrap, seed)
    for name, difference in far.items():
        spread = float((_replicates(used, name, n_bootstrap, seed) - base).std(ddof=1))
        if abs(difference) > least_z * spread:
            return False
    return True


def _replicates(used: Instruments, name: str, n_bootstrap: int, seed: int) -> FloatArray:
    if used.draws_exposure is not None:
        return bootstrap_estimates(used, name, resample="both", n_bootstrap=n_bootstrap, seed=seed)
    rows = np.random.default_rng(seed).integers(len(used), size=(n_bootstrap, len(used)))
    columns = (used.beta_exposure, used.beta_outcome, used.se_exposure, used.se_outcome)
    return POINT_ESTIMATORS[name](*(column[rows] for column in columns))
