"""One answer from all methods: a number where they agree, else what they disagree about.

The rule. A single number is given only if all of these hold:

1. there are at least 10 instruments;
2. there is one group of mutants (`find_groups`), and at most 15 % of the mutants fit it not;
3. MR-Egger, the weighted median, the weighted mode, the contamination mixture and robust IVW agree with
   IVW: each differs from it by less than 2.58 standard errors of the difference (from the bootstrap over
   draws and mutants, the same replicates for both), or by less than 5 % of it.

The number is that of IVW. Its interval is from the bootstrap over draws if the mutants lie on one line as
far as their draws can tell (`p_of_one_line` of 0.05 or more), else from the bootstrap over draws and
mutants, or, of 5 sequences or more, over draws and sequences.

``python benchmarks/mr_coverage.py --answer`` measures how often the interval that is given contains the
slope, and how often no number is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.mr.estimators.bootstrap import bootstrap_estimates, mr_bootstrap, point_estimate
from kipoi_mcdropout.mr.estimators.estimate import Estimate
from kipoi_mcdropout.mr.estimators.ivw import mr_ivw
from kipoi_mcdropout.mr.estimators.points import POINT_ESTIMATORS
from kipoi_mcdropout.mr.groups.find import JUNK, NULL, Groups, find_groups, interval_of
from kipoi_mcdropout.mr.groups.scatter import p_of_one_line
from kipoi_mcdropout.mr.groups.words import answer_words
from kipoi_mcdropout.mr.pairs.instruments import Instruments

Kind = Literal["one_number", "groups", "methods_disagree", "too_few"]

COMPARED = ("ivw", "egger", "ivw_robust", "conmix", "weighted_median", "weighted_mode")
MIN_INSTRUMENTS = 10
MOST_OUTSIDE = 0.15
AGREE_Z = 2.58
AGREE_SHARE = 0.05
ONE_LINE_P = 0.05


@dataclass(frozen=True)
class Answer:
    """What to show first.

    Attributes
    ----------
    kind : "one_number", "groups", "methods_disagree" or "too_few"
    words : str
        The answer in a sentence or two, the same everywhere.
    shown : Estimate or None
        The number and its interval, for "one_number" only.
    estimates : dict of str to float
        Of the methods that were compared.
    p_one_line : float or None
        Of the hypothesis that all mutants lie on one line.
    groups : Groups or None
        None where there are too few instruments.
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
    points = {name: point_estimate(used, name) for name in COMPARED}
    groups = find_groups(used, n_bootstrap=n_bootstrap, seed=seed)
    p = p_of_one_line(used, n_bootstrap, seed)
    outside = groups.share_of(JUNK) + groups.share_of(NULL)
    shown = None
    kind: Kind = "groups"
    if len(groups.groups) < 2:
        agree = outside <= MOST_OUTSIDE and _agree(used, points, n_bootstrap, seed)
        kind = "one_number" if agree else "methods_disagree"
    if kind == "one_number":
        shown = _one_number(used, p, n_bootstrap, seed)
    words = answer_words(kind, used.exposure, used.outcome, len(used), points, groups, shown)
    return Answer(kind, words, shown, points, p, groups)


def _usable(used: Instruments) -> Instruments:
    """Without mutants that have no ratio."""
    return used.take(np.flatnonzero(used.beta_exposure != 0))


def _one_number(used: Instruments, p: float, n_bootstrap: int, seed: int) -> Estimate:
    if used.draws_exposure is None:
        return mr_ivw(used)
    if p >= ONE_LINE_P:
        return mr_bootstrap(used, "ivw", n_bootstrap=n_bootstrap, seed=seed)
    return interval_of(used, n_bootstrap, seed)


def _agree(used: Instruments, points: dict[str, float], n_bootstrap: int, seed: int) -> bool:
    """Whether every method's difference from IVW is small, or small for its standard error."""
    ivw = points["ivw"]
    far = {n: p - ivw for n, p in points.items() if abs(p - ivw) > AGREE_SHARE * abs(ivw)}
    if not far:
        return True
    base = _replicates(used, "ivw", n_bootstrap, seed)
    for name, difference in far.items():
        spread = float((_replicates(used, name, n_bootstrap, seed) - base).std(ddof=1))
        if abs(difference) > AGREE_Z * spread:
            return False
    return True


def _replicates(used: Instruments, name: str, n_bootstrap: int, seed: int) -> FloatArray:
    if used.draws_exposure is not None:
        return bootstrap_estimates(used, name, resample="both", n_bootstrap=n_bootstrap, seed=seed)
    rows = np.random.default_rng(seed).integers(len(used), size=(n_bootstrap, len(used)))
    columns = (used.beta_exposure, used.beta_outcome, used.se_exposure, used.se_outcome)
    return POINT_ESTIMATORS[name](*(column[rows] for column in columns))
