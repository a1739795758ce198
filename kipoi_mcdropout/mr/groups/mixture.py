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

import numpy as np
from scipy import stats

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.mr.estimators.points import weighted_median
from kipoi_mcdropout.mr.groups.noise import NoiseOfMeans

MOST_GROUPS = 4
JUNK_DF = 4
_JUNK_QUANTILE = 0.95
_ROUNDS = 400
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


def fit_mixture(x: FloatArray, y: FloatArray, noise: NoiseOfMeans, n_groups: int) -> Mixture:
    """The most likely of fits from several starts.

    Parameters
    ----------
    x, y : array, shape=(n,)
        Effects on exposure and outcome; x must not be 0.
    noise : NoiseOfMeans
    n_groups : int
    """
    fits = [_fit(x, y, noise, start) for start in _starts(x, y, noise, n_groups)]
    return max(fits, key=lambda fit: fit.log_likelihood)


def _starts(x: FloatArray, y: FloatArray, noise: NoiseOfMeans, n_groups: int) -> list[FloatArray]:
    """Ratios at quantiles of all: each mutant alike, and weighted by precision."""
    ratio = y / x
    at = (np.arange(n_groups) + 0.5) / n_groups
    order = np.argsort(ratio, kind="stable")
    starts = [np.quantile(ratio, at)]
    weight = x[order] ** 2 / noise.about_line(float(np.median(ratio)))[order]
    for w in (np.sqrt(weight), np.minimum(weight, np.median(weight))):
        places = np.cumsum(w) / w.sum()
        starts.append(np.interp(at, places, ratio[order]))
    if n_groups > 1:  # the centre, and what lies outside of it
        centre = float(weighted_median(ratio, x**2 / noise.yy))
        starts.append(np.quantile(ratio, np.linspace(0.05, 0.95, n_groups)))
        starts.append(np.append(np.quantile(ratio, np.linspace(0.85, 0.97, n_groups - 1)), centre))
    return starts


def _fit(x: FloatArray, y: FloatArray, noise: NoiseOfMeans, start: FloatArray) -> Mixture:
    """Expectation maximisation; direct effects and deviations of ratios are unobserved too."""
    k, n = len(start), len(x)
    m = start.astype(float)
    shares = np.append(np.full(k, 0.9 / k), [0.05, 0.05])
    residual = y - x * float(np.median(y / x))
    tau2, c2 = float(np.median(residual**2)) / 2, 0.01
    junk = _log_junk(x, y)
    before = -np.inf
    for _ in range(_ROUNDS):
        ratios = np.append(m, 0.0)
        own = tau2 + noise.about_line(ratios[:, None])  # shape (k + 1, n), the null last
        across = c2 * (ratios[:, None] * x) ** 2
        v = own + across
        off = y - ratios[:, None] * x
        log = np.vstack([-0.5 * (np.log(2 * np.pi * v) + off**2 / v), junk]) + np.log(shares)[:, None]
        total = np.logaddexp.reduce(log, axis=0)
        member = np.exp(log - total)
        shares = np.maximum(member.sum(axis=1) / n, _LEAST_SHARE)
        shares = shares / shares.sum()
        weight = member[:-1] / v
        m = (weight[:k] * x * y).sum(axis=1) / np.maximum((weight[:k] * x * x).sum(axis=1), 1e-300)
        in_groups = member[:-1]
        direct = (tau2 / v * off) ** 2 + tau2 - tau2**2 / v
        tau2 = float((in_groups * direct).sum() / max(in_groups.sum(), 1e-300))
        spread = (across / v * off / x) ** 2 + (across - across**2 / v) / x**2  # of the ratio
        relative = spread[:k] / np.maximum(ratios[:k, None] ** 2, 1e-300)
        c2 = float((in_groups[:k] * relative).sum() / max(in_groups[:k].sum(), 1e-300))
        likelihood = float(total.sum())
        if abs(likelihood - before) < 1e-6 * n:
            break
        before = likelihood
    order = np.argsort(m, kind="stable")
    places = np.append(order, [k, k + 1])
    bic = 2 * k * np.log(n) - 2 * likelihood
    return Mixture(m[order], shares[places], tau2, c2, likelihood, bic, member[places].T)


def _log_junk(x: FloatArray, y: FloatArray) -> FloatArray:
    """Log density of the outcome effect of a mutant whose ratio is anything."""
    ratio = y / x
    scale = float(np.quantile(np.abs(ratio), _JUNK_QUANTILE))
    log_density: FloatArray = stats.t.logpdf(ratio / scale, JUNK_DF) - np.log(scale * np.abs(x))
    return log_density
