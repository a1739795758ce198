"""Groups of mutants by their ratio, found as a mixture.

After MR-Clust (Foley, Mason, Kirk and Burgess, Bioinformatics 2021).

Mutant i of group k: ``by = m_k bx + direct effect + noise``. Three things move it off the group's line:
the noise of its mean effects, whose size is known; a direct effect on the outcome (variance tau2); and
that the ratios in a group differ a little (relative variance c2). tau2 and c2 are fitted, the same for
all groups. Beside the groups there are mutants without an effect on the outcome ("null", ratio 0) and
mutants that fit no group ("junk", ratios spread as a t with 4 degrees of freedom). MR-Clust has neither
tau2 nor c2: with the small errors of means over draws it would make a group of nearly every mutant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.mr.estimators.points import weighted_median
from kipoi_mcdropout.mr.groups.noise import NoiseOfMeans

MOST_GROUPS = 4
JUNK_DF = 4
# Below these, expectation maximisation takes hundreds of rounds on its way to 0.
LEAST_C2 = 1e-4  # ratios within a group may differ by 1 %
LEAST_TAU2 = 1e-3  # of the noise
_JUNK_QUANTILE = 0.95
ROUNDS = 400
_TRIED = 50
_CONVERGED = 3e-6  # change of the log-likelihood of a mutant
_LEAST_SHARE = 1e-8


@dataclass(frozen=True)
class Mixture:
    """A fitted mixture.

    Attributes
    ----------
    ratios : array, shape=(k,)
        Of the groups, in rising order.
    shares : array, shape=(k + 2,)
        Of the groups, the null and the junk; they sum to 1.
    tau2, c2 : float
        Variance of direct effects; relative variance of ratios within a group.
    log_likelihood, bic : float
    membership : array, shape=(n, k + 2)
        Probability that a mutant belongs to each.
    """

    ratios: FloatArray
    shares: FloatArray
    tau2: float
    c2: float
    log_likelihood: float
    bic: float
    membership: FloatArray


def fit_mixture(
    x: FloatArray, y: FloatArray, noise: NoiseOfMeans, n_groups: int, rounds: int = ROUNDS
) -> Mixture:
    """The most likely of fits from several starts.

    Parameters
    ----------
    x, y : array, shape=(n,)
        Effects on exposure and outcome; x must not be 0.
    noise : NoiseOfMeans
    n_groups : int
    rounds : int
        At most so many rounds of expectation maximisation.
    """
    state = _start(x, y, np.stack(_starts(x, y, noise, n_groups)))
    junk = _log_junk(x, y)
    before = np.full(len(state.m), -np.inf)
    for number in range(rounds):
        state, likelihood, member = _round(x, y, noise, junk, state)
        if (np.abs(likelihood - before) < _CONVERGED * len(x)).all():
            break
        if number == _TRIED:  # by now the best start leads
            lead = [int(likelihood.argmax())]
            state = _State(*(field[lead] for field in state))
            likelihood, member = likelihood[lead], member[lead]
        before = likelihood
    best = int(likelihood.argmax())
    order = np.argsort(state.m[best], kind="stable")
    places = np.append(order, [n_groups, n_groups + 1])
    return Mixture(
        state.m[best][order],
        state.shares[best][places],
        float(state.tau2[best]),
        float(state.c2[best]),
        float(likelihood[best]),
        2 * n_groups * float(np.log(len(x))) - 2 * float(likelihood[best]),
        member[best][places].T,
    )


def _starts(x: FloatArray, y: FloatArray, noise: NoiseOfMeans, n_groups: int) -> list[FloatArray]:
    """Ratios at quantiles of all: each mutant alike, and weighted by precision."""
    ratio = y / x
    at = (np.arange(n_groups) + 0.5) / n_groups
    order = np.argsort(ratio, kind="stable")
    starts = [np.quantile(ratio, at)]
    if n_groups == 1:
        return starts
    weight = x[order] ** 2 / noise.about_line(float(np.median(ratio)))[order]
    for w in (np.sqrt(weight), np.minimum(weight, np.median(weight))):
        places = np.cumsum(w) / w.sum()
        starts.append(np.interp(at, places, ratio[order]))
    # The centre, and what lies outside of it.
    centre = float(weighted_median(ratio, x**2 / noise.yy))
    starts.append(np.quantile(ratio, np.linspace(0.05, 0.95, n_groups)))
    starts.append(np.append(np.quantile(ratio, np.linspace(0.85, 0.97, n_groups - 1)), centre))
    return starts


class _State(NamedTuple):
    """Parameters of several fits: ratios (s, k), shares (s, k + 2), tau2 (s,), c2 (s,)."""

    m: FloatArray
    shares: FloatArray
    tau2: FloatArray
    c2: FloatArray


def _start(x: FloatArray, y: FloatArray, m: FloatArray) -> _State:
    s, k = m.shape
    shares = np.tile(np.append(np.full(k, 0.9 / k), [0.05, 0.05]), (s, 1))
    tau2 = float(np.median((y - x * float(np.median(y / x))) ** 2)) / 2
    return _State(m.astype(float), shares, np.full(s, tau2), np.full(s, 0.01))


def _round(
    x: FloatArray, y: FloatArray, noise: NoiseOfMeans, junk: FloatArray, old: _State
) -> tuple[_State, FloatArray, FloatArray]:
    """A round of expectation maximisation; direct effects and deviations of ratios are unobserved too.

    Returns the new parameters, the likelihood (s,) of the old, and the memberships (s, k + 2, n).
    """
    s, k = old.m.shape
    ratios = np.concatenate([old.m, np.zeros((s, 1))], axis=1)[..., None]  # the null last
    tau2, c2 = old.tau2[:, None, None], old.c2[:, None, None]
    across = c2 * (ratios * x) ** 2
    v = tau2 + noise.about_line(ratios) + across
    off = y - ratios * x
    inside = -0.5 * (np.log(2 * np.pi * v) + off**2 / v)
    log = np.concatenate([inside, np.broadcast_to(junk, (s, 1, len(x)))], axis=1)
    log = log + np.log(old.shares)[..., None]
    total = np.logaddexp.reduce(log, axis=1)
    member = np.exp(log - total[:, None])
    shares = np.maximum(member.mean(axis=-1), _LEAST_SHARE)
    weight = member[:, :k] / v[:, :k]
    m = (weight * x * y).sum(axis=-1) / np.maximum((weight * x * x).sum(axis=-1), 1e-300)
    direct = (tau2 / v * off) ** 2 + tau2 - tau2**2 / v
    spread = (across / v * off / x) ** 2 + (across - across**2 / v) / x**2  # of the ratio
    relative = spread[:, :k] / np.maximum(ratios[:, :k] ** 2, 1e-300)
    new = _State(
        m,
        shares / shares.sum(axis=1, keepdims=True),
        np.maximum(_mean(direct, member[:, : k + 1]), LEAST_TAU2 * float(np.median(noise.yy))),
        np.maximum(_mean(relative, member[:, :k]), LEAST_C2),
    )
    return new, total.sum(axis=1), member


def _mean(values: FloatArray, member: FloatArray) -> FloatArray:
    top = (member * values).sum(axis=(1, 2))
    mean: FloatArray = top / np.maximum(member.sum(axis=(1, 2)), 1e-300)
    return mean


def _log_junk(x: FloatArray, y: FloatArray) -> FloatArray:
    """Log density of the outcome effect of a mutant whose ratio is anything."""
    ratio = y / x
    scale = float(np.quantile(np.abs(ratio), _JUNK_QUANTILE))
    log_density: FloatArray = stats.t.logpdf(ratio / scale, JUNK_DF) - np.log(scale * np.abs(x))
    return log_density
