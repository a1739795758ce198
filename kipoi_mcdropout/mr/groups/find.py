"""How many groups of mutants there are, and the ratio of each with its interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.mr.estimators.bootstrap import mr_bootstrap
from kipoi_mcdropout.mr.estimators.estimate import Estimate
from kipoi_mcdropout.mr.estimators.ivw import mr_ivw
from kipoi_mcdropout.mr.estimators.ratio import with_exposure_effect
from kipoi_mcdropout.mr.estimators.resampling import Resample
from kipoi_mcdropout.mr.groups.mixture import MOST_GROUPS, Mixture, fit_mixture
from kipoi_mcdropout.mr.groups.noise import NoiseOfMeans, noise_of_means
from kipoi_mcdropout.mr.groups.scatter import p_of_one_line
from kipoi_mcdropout.mr.groups.shared_noise import shared_noise
from kipoi_mcdropout.mr.pairs.instruments import Instruments

MIN_IN_GROUP = 3
MIN_SHARE = 0.05
BIC_GAIN = 10.0  # "very strong" evidence: Kass and Raftery, J Am Stat Assoc 1995
APART = 3.0  # distance of two groups in units of the spread in them (Ashman, AJ 1994, has 2)
NOISE_ROUNDS = 2
FIRST_ROUNDS = 50
ONE_LINE_P = 0.05
MIN_SEQUENCES = 5  # from here on whole sequences are resampled
NULL, JUNK = "no effect on the outcome", "no group"


@dataclass(frozen=True)
class Group:
    """Mutants with one ratio.

    Attributes
    ----------
    name : str
        "1", "2", ..., the largest group first.
    estimate : Estimate
        IVW of its mutants; with draws the interval is from a bootstrap over draws and mutants or, of 5
        sequences or more, over draws and sequences.
    snp : tuple of str
    sequences : tuple of str
        Those with the most of its mutants first; none where sequences are not known.
    """

    name: str
    estimate: Estimate
    snp: tuple[str, ...]
    sequences: tuple[str, ...]


@dataclass(frozen=True)
class Groups:
    """What `find_groups` found.

    `table` has a row per mutant: SNP, ratio, group ("1", "2", ..., `NULL` or `JUNK`) and its
    probability. `tau2` and `c2` are those of `Mixture`.
    """

    groups: tuple[Group, ...]
    table: pd.DataFrame
    tau2: float
    c2: float

    def share_of(self, name: str) -> float:
        """Share of the mutants that are in a group."""
        return float((self.table["group"] == name).mean())


def find_groups(instruments: Instruments, *, n_bootstrap: int = 1000, seed: int = 0) -> Groups:
    """Groups of mutants by the ratio of their effects.

    More than one group is looked for only if the mutants do not lie on one line (`p_of_one_line` below
    0.05), where there are draws of one member. The noise that mutants share (`shared_noise`) is taken
    out first, and again with the groups found. A further group is taken only if the BIC gains 10 and the
    groups are apart by 3 times the spread in them. A group has at least 3 mutants and 5 % of all;
    smaller ones are no group.

    Raises
    ------
    InputError
        Fewer than 3 instruments, or one with an exposure effect of 0.
    """
    used = with_exposure_effect(instruments, 3, "groups of mutants")
    fit = _choose(used, n_bootstrap, seed)
    best = fit.membership.argmax(axis=1)
    k = len(fit.ratios)
    least = max(MIN_IN_GROUP, MIN_SHARE * len(used))
    sizes = [int((best == j).sum()) for j in range(k)]
    large = [j for j in sorted(range(k), key=lambda j: -sizes[j]) if sizes[j] >= least]
    names = dict.fromkeys(range(k), JUNK) | {k: NULL, k + 1: JUNK}
    names |= {j: str(number) for number, j in enumerate(large, start=1)}
    groups = tuple(
        _group(names[j], used.take(np.flatnonzero(best == j)), n_bootstrap, seed) for j in large
    )
    table = pd.DataFrame(
        {
            "SNP": used.snp,
            "ratio": used.beta_outcome / used.beta_exposure,
            "group": [names[j] for j in best.tolist()],
            "probability": fit.membership.max(axis=1),
        }
    )
    return Groups(groups, table, fit.tau2, fit.c2)


def interval_of(used: Instruments, n_bootstrap: int, seed: int) -> Estimate:
    """IVW of mutants that scatter about their line; the scatter is part of the interval."""
    if used.draws_exposure is None:
        return mr_ivw(used)
    n_sequences = 0 if used.sequence is None else len(set(used.sequence.astype(str)))
    resample: Resample = "sequences" if n_sequences >= MIN_SEQUENCES else "both"
    return mr_bootstrap(used, "ivw", resample=resample, n_bootstrap=n_bootstrap, seed=seed)


def _choose(used: Instruments, n_bootstrap: int, seed: int) -> Mixture:
    """How many groups there are, in turn with the noise that their mutants share."""
    noise = noise_of_means(used)
    x, y = used.beta_exposure, used.beta_outcome
    if used.draws_exposure is None or used.draws_outcome is None or used.n_members > 1:
        return _choose_number(x, y, noise)
    most = 1 if p_of_one_line(used, n_bootstrap, seed) >= ONE_LINE_P else MOST_GROUPS
    # Noise of a site is no group: look for it before groups.
    fit = fit_mixture(x, y, noise, 1, FIRST_ROUNDS)
    for _ in range(NOISE_ROUNDS):
        slope, scatter = _lines(fit, x, y)
        found = shared_noise(used.draws_outcome - slope * used.draws_exposure, scatter)
        fit = _choose_number(x, y - found.offset, noise.scaled(found.left), most)
    return fit


def _lines(fit: Mixture, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The ratio of each mutant's line, and the variance about it that is no noise, shape=(n,) each."""
    k = len(fit.ratios)
    ratios = np.append(fit.ratios, 0.0)  # the null last
    in_groups = fit.membership[:, : k + 1]
    share = in_groups.sum(axis=1)
    slope = (in_groups * ratios).sum(axis=1) / np.maximum(share, 1e-300)
    slope = np.where(share < 0.5, fit.ratios[fit.shares[:k].argmax()], slope)
    apart = (in_groups * (ratios - slope[:, None]) ** 2).sum(axis=1) * x**2  # a mutant between groups
    fits_none = (1 - share) * (y - slope * x) ** 2
    return slope, fit.tau2 + fit.c2 * (slope * x) ** 2 + apart + fits_none


def _choose_number(
    x: FloatArray, y: FloatArray, noise: NoiseOfMeans, most: int = MOST_GROUPS
) -> Mixture:
    chosen = fit_mixture(x, y, noise, 1)
    for k in range(2, min(most, len(x) // MIN_IN_GROUP) + 1):
        fit = fit_mixture(x, y, noise, k)
        if chosen.bic - fit.bic < BIC_GAIN or not _apart(fit):
            break
        chosen = fit
    return chosen


def _apart(fit: Mixture) -> bool:
    low, high = fit.ratios[:-1], fit.ratios[1:]
    spread = np.sqrt(fit.c2 * (low**2 + high**2) / 2)
    return bool((high - low > APART * spread).all())


def _group(name: str, members: Instruments, n_bootstrap: int, seed: int) -> Group:
    sequences: tuple[str, ...] = ()
    if members.sequence is not None:
        sequences = tuple(pd.Series(members.sequence.astype(str)).value_counts().index)
    estimate = interval_of(members, n_bootstrap, seed)
    return Group(name, estimate, tuple(members.snp.tolist()), sequences)
