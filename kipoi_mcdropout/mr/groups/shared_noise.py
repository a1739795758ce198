"""The part of the noise of mean effects that mutants share, and how well it is known.

Mutants that act through the same hidden units have one noise over draws: all ratios of a binding site
are off by the same factor. Ratios of one site can then be compared far more precisely than each is known
by itself. The covariance between mutants over draws says which noise is shared. With fewer draws than
mutants it has no inverse, so each correlation between mutants is shrunk by one share, which is estimated
from how much the correlations vary over draws (Schaefer and Strimmer, Stat Appl Genet Mol Biol 2005).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kipoi_mcdropout.arrays.array_types import FloatArray

LEAST_SHRINKAGE = 0.01


class SharedNoise(NamedTuple):
    """The most likely shared noise of each mutant's distance from its line, and what is left of it.

    `offset`, shape=(n,), in units of the outcome effect. `left`, shape=(n,): variance of the noise that
    stays unknown, as a share of the noise's variance, in [0, 1].
    """

    offset: FloatArray
    left: FloatArray


def shrinkage(scaled: FloatArray) -> float:
    """By which share correlations between the columns are shrunk, in [0.01, 1].

    It is 1 where columns have nothing in common, and small where a few draws are enough to see what they
    have in common.

    Parameters
    ----------
    scaled : array, shape=(n_draws, n)
        Columns with a mean square of 1.
    """
    n_draws = len(scaled)
    gram = scaled @ scaled.T
    squares = float((gram**2).sum()) / n_draws**2 - scaled.shape[1]  # of all correlations
    each_draw = float((np.diag(gram) ** 2).sum() - (scaled**4).sum()) / n_draws
    variance = (each_draw - squares) / (n_draws - 1)
    return float(np.clip(variance / squares, LEAST_SHRINKAGE, 1.0)) if squares > 0 else 1.0


def shared_noise(distance: FloatArray, scatter: FloatArray) -> SharedNoise:
    """Noise that explains the mean distances together, given what else moves mutants off their lines.

    The best linear prediction: noise has mean 0 and the shrunk covariance of the mean over draws;
    `scatter` is independent for each mutant.

    Parameters
    ----------
    distance : array, shape=(n_draws, n)
        Distance of each mutant from its line in each draw.
    scatter : array, shape=(n,)
        Variance of what is no noise: direct effects, and ratios that differ.
    """
    n_draws = len(distance)
    mean = distance.mean(axis=0)
    centred = distance - mean
    sd = np.sqrt((centred**2).mean(axis=0))
    sd = np.maximum(sd, 1e-12 * max(float(sd.max()), 1e-300))
    scaled = centred / sd
    share = shrinkage(scaled)
    own = sd**2 / (n_draws - 1)
    together = (1 - share) * (scaled.T @ scaled / n_draws) * np.sqrt(np.outer(own, own))
    gain = np.linalg.solve(together + np.diag(share * own + scatter), together)
    known = (together * gain).sum(axis=0)
    left = np.clip((own - known) / own, 1e-6, 1.0)
    return SharedNoise(gain.T @ mean, left)
