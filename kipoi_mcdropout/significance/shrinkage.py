"""Shrunken effects and the local false sign rate: adaptive shrinkage (Stephens, Biostatistics 2017).

Each effect is taken as normal about its true value, with its sd as the error. The true values are taken
to come from one distribution: a mixture of 0 and of normal distributions about 0, with standard
deviations on a grid. The shares of the mixture are estimated from all effects together. Then each true
value has a distribution given its effect: its mean is the shrunken effect, and the local false sign rate
is the probability that its sign is not the one that is more likely (0 counts as a wrong sign).

The defaults are those of `ash(..., mixcompdist = "normal")` of the R package ashr: the grid, the point
mass at 0, and the penalty that keeps its share high ("nullbiased").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import nnls
from scipy.special import logsumexp, ndtr

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.errors import InputError

GRID_FACTOR = np.sqrt(2.0)  # between neighbours of the grid
NULL_WEIGHT = 10.0  # prior weight of 0; the other parts of the mixture have 1
MIN_EFFECTS = 10
MOST_GRADIENT = 1e-5  # by which the log likelihood an effect could still grow
_LOG_2_PI = np.log(2 * np.pi)
MAX_FITTED = 100_000  # effects that the mixture is estimated from
_BLOCK = 2**16  # effects that the arrays of a step hold


@dataclass(frozen=True, eq=False)
class Mixture:
    """The distribution of the true effects: a mixture of normal distributions about 0.

    Attributes
    ----------
    sd : numpy.ndarray, shape=(k,)
        Rising; the first is 0, a point mass.
    share : numpy.ndarray, shape=(k,)
        Adds up to 1.
    log_likelihood : float
        Of the effects that it was estimated from, without the penalty.
    """

    sd: FloatArray
    share: FloatArray
    log_likelihood: float


@dataclass(frozen=True, eq=False)
class Shrunken:
    """Effects given the mixture, each array shape=(n,).

    Attributes
    ----------
    mean, sd : numpy.ndarray
        Of the true effect. NaN where the effect or its sd is NaN, or the sd is 0.
    lfsr : numpy.ndarray
        Local false sign rate, between 0 and 1.
    mixture : Mixture
    """

    mean: FloatArray
    sd: FloatArray
    lfsr: FloatArray
    mixture: Mixture


def shrink(effect: ArrayLike, sd: ArrayLike) -> Shrunken:
    """Shrink the effects on one output.

    Parameters
    ----------
    effect, sd : array, shape=(n,)
        Those that are NaN, or have an sd of 0, are not used and get NaN.

    Raises
    ------
    InputError
        If an sd is negative, or fewer than 10 effects can be used.

    Examples
    --------
    >>> many = shrink([0.1, -0.2, 0.0, 4.0] * 5, [1.0] * 20)
    >>> many.mean[:4].round(2).tolist(), many.lfsr[:4].round(2).tolist()  # doctest: +SKIP
    """
    effect, sd = np.asarray(effect, np.float64), np.asarray(sd, np.float64)
    if effect.ndim != 1 or effect.shape != sd.shape:
        raise InputError(f"effect and sd must have one length; got {effect.shape} and {sd.shape}")
    if (sd < 0).any():
        raise InputError(f"sd must not be negative; {(sd < 0).sum()} are")
    used = np.isfinite(effect) & np.isfinite(sd) & (sd > 0)
    if used.sum() < MIN_EFFECTS:
        raise InputError(
            f"at least {MIN_EFFECTS} effects with an sd above 0 are required; got {used.sum()}. Is "
            "there a dropout between the mutations and the output? See `audit`"
        )
    mixture = fit_mixture(effect[used], sd[used])
    columns = np.full((3, len(effect)), np.nan)
    columns[:, used] = _posterior(effect[used], sd[used], mixture)
    return Shrunken(columns[0], columns[1], columns[2], mixture)


def grid_of(effect: FloatArray, sd: FloatArray) -> FloatArray:
    """Standard deviations of the mixture, as ashr chooses them, with 0 in front.

    From a tenth of the smallest sd to twice the largest true effect that the data suggest.
    """
    least = float(sd.min()) / 10
    excess = float(np.max(effect**2 - sd**2))
    most = 2 * np.sqrt(excess) if excess > 0 else 8 * least
    steps = int(np.ceil(np.log(most / least) / np.log(GRID_FACTOR)))
    grid: FloatArray = np.r_[0.0, most * GRID_FACTOR ** np.arange(-max(steps, 0), 1)]
    return grid


def fit_mixture(effect: FloatArray, sd: FloatArray) -> Mixture:
    """Estimate the mixture from effects with an sd above 0.

    Of more than `MAX_FITTED` effects, so many are used, at equal distances in their order.
    """
    grid = grid_of(effect, sd)
    if len(effect) > MAX_FITTED:
        rows = np.linspace(0, len(effect) - 1, MAX_FITTED).round().astype(np.int64)
        effect, sd = effect[rows], sd[rows]
    log_density = _log_density(effect, sd, grid)
    largest = log_density.max(axis=1)
    likelihood = np.exp(log_density - largest[:, None])
    # The penalty (NULL_WEIGHT - 1) log(share of 0) is that of so many more effects that must be 0.
    penalty = np.zeros((1, len(grid)))
    penalty[0, 0] = 1.0
    weights = np.r_[np.ones(len(effect)), NULL_WEIGHT - 1]
    share = maximize_mixture(np.concatenate([likelihood, penalty]), weights)
    return Mixture(grid, share, float(np.sum(largest + np.log(likelihood @ share))))


def maximize_mixture(
    likelihood: FloatArray, weights: FloatArray, tolerance: float = 1e-9, max_steps: int = 1000
) -> FloatArray:
    """Shares of a mixture with the greatest weighted log likelihood.

    Newton's method on a convex problem with shares of at least 0; each step is a least-squares problem
    with such bounds (Kim, Carbonetto, Stephens and Anitescu, J. Comput. Graph. Stat. 2020). That the
    shares add up to 1 follows from the added term ``sum(share)`` (the same paper).

    Parameters
    ----------
    likelihood : numpy.ndarray, shape=(n, k)
        Of each effect under each part of the mixture, up to a factor for each effect.
    weights : numpy.ndarray, shape=(n,)
        How often each effect counts.
    tolerance : float
        How far the gradient may be from its bound, 0, at the solution.

    Raises
    ------
    InputError
        If it does not converge.
    """
    n, k = likelihood.shape
    weights = weights / weights.sum()
    share = np.full(k, 1.0 / k)

    def objective(at: FloatArray) -> float:
        mixed = likelihood @ at
        return float(-weights @ np.log(mixed) + at.sum()) if (mixed > 0).all() else np.inf

    value = objective(share)
    gradient = np.full(k, -np.inf)
    for _ in range(max_steps):
        scaled = likelihood * (np.sqrt(weights) / (likelihood @ share))[:, None]
        gradient = 1 - scaled.T @ np.sqrt(weights)
        if gradient.min() > -tolerance and np.abs(gradient[share > 1e-10]).max() < tolerance * 10:
            break
        goal = _newton_step(scaled, gradient, share)
        step, direction = 1.0, goal - share
        slope = float(gradient @ direction)
        while (new := objective(share + step * direction)) > value + 0.01 * step * slope and step > 1e-8:
            step /= 2
        if not new < value:
            break  # at the precision of the sums
        share, value = share + step * direction, new
    if gradient.min() < -MOST_GRADIENT:
        raise InputError(
            f"the mixture of true effects was not found, for {n} effects (gradient "
            f"{gradient.min():.2g}). Are there effects or sd that are very large or very small?"
        )
    found: FloatArray = np.maximum(share, 0) / np.maximum(share, 0).sum()
    return found


def _newton_step(scaled: FloatArray, gradient: FloatArray, share: FloatArray) -> FloatArray:
    """The minimum of the quadratic approximation over shares of at least 0.

    The matrix of second derivatives is scaled' scaled = R'R, so it is a least-squares problem with R.
    """
    values, vectors = np.linalg.eigh(scaled.T @ scaled)
    roots = np.sqrt(np.maximum(values, 1e-10 * values[-1]))  # neighbours on the grid are nearly equal
    root = roots[:, None] * vectors.T
    right = root @ share - (vectors.T @ gradient) / roots
    found: FloatArray = nnls(root, right, maxiter=100 * len(share))[0]
    return found


def _log_density(effect: FloatArray, sd: FloatArray, grid: FloatArray) -> FloatArray:
    """Log density of each effect under each part of the mixture, shape=(n, k)."""
    variance = sd[:, None] ** 2 + grid**2
    density: FloatArray = -0.5 * (effect[:, None] ** 2 / variance + np.log(variance) + _LOG_2_PI)
    return density


def _posterior(effect: FloatArray, sd: FloatArray, mixture: Mixture) -> FloatArray:
    """Mean, sd and local false sign rate of each true effect, shape=(3, n)."""
    kept = mixture.share > 0
    grid, log_share = mixture.sd[kept], np.log(mixture.share[kept])
    found = np.empty((3, len(effect)))
    for begin in range(0, len(effect), _BLOCK):
        part = slice(begin, begin + _BLOCK)
        x, s = effect[part, None], sd[part, None]
        log_weight = _log_density(effect[part], sd[part], grid) + log_share
        weight = np.exp(log_weight - logsumexp(log_weight, axis=1, keepdims=True))
        shrunken = grid**2 / (grid**2 + s**2)
        mean, variance = shrunken * x, shrunken * s**2
        # Of a normal distribution with this mean and variance; both are 0 for the point mass.
        ratio = np.divide(mean, np.sqrt(variance), out=np.zeros_like(mean), where=grid > 0)
        negative = np.sum(weight * np.where(grid > 0, ndtr(-ratio), 0.0), axis=1)
        positive = np.sum(weight * np.where(grid > 0, ndtr(ratio), 0.0), axis=1)
        zero = np.sum(weight * (grid == 0), axis=1)
        overall = np.sum(weight * mean, axis=1)
        spread = np.sum(weight * (variance + (mean - overall[:, None]) ** 2), axis=1)
        found[:, part] = overall, np.sqrt(spread), zero + np.minimum(negative, positive)
    return found
