"""How probable it is, by the draws, that an effect has the sign of its mean."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from kipoi_mcdropout.arrays.array_types import FloatArray


class SignProbability(NamedTuple):
    """Both of the shape of the effects; NaN where an effect is."""

    probability: FloatArray
    mcse: FloatArray


def sign_probability(
    prob_positive: ArrayLike, effect_mean: ArrayLike, n_draws: int, n_effective: ArrayLike | None = None
) -> SignProbability:
    """Share of the draws whose effect has the sign of the mean effect, with its Monte Carlo error.

    The error is the sd of the share that is still possible after these draws, where every share was
    equally possible before (a beta distribution): it is not 0 where all draws agree. With many draws it
    is sqrt(p (1 - p) / n).

    Parameters
    ----------
    prob_positive : array
        Share of the draws with an effect above 0; an effect of 0 counts half.
    effect_mean : array of that shape
        Where it is 0 there is no sign, and the share is 1/2.
    n_draws : int
    n_effective : array of that shape, optional
        Number of independent draws that are worth as much; see `independent_draws`.

    >>> share = sign_probability([0.1, 1.0], [-0.2, 0.3], 30)
    >>> share.probability.round(3).tolist(), share.mcse.round(3).tolist()
    ([0.9, 1.0], [0.058, 0.03])
    """
    positive, mean = (np.asarray(x, np.float64) for x in (prob_positive, effect_mean))
    agree = np.round(2 * positive * n_draws) / 2  # exact, also where the share was kept as float32
    agree = np.where(mean < 0, n_draws - agree, agree)
    probability = np.where(mean == 0, 0.5, agree / n_draws)
    probability = np.where(np.isnan(positive) | np.isnan(mean), np.nan, probability)
    n = np.asarray(n_draws if n_effective is None else n_effective, np.float64)
    k = probability * n
    mcse = np.sqrt((k + 1) * (n - k + 1) / ((n + 2) ** 2 * (n + 3)))
    return SignProbability(probability, mcse)


def independent_draws(
    sd_within: ArrayLike, sd_between: ArrayLike, n_draws: int, n_members: int
) -> FloatArray:
    """How many independent draws the draws of several members are worth, from n_members to n_draws.

    Draws of one member resemble each other. With R draws of each member, and the share rho of the
    variance that lies between members, they are worth n_draws / (1 + (R - 1) rho) (Kish, "Survey
    Sampling", 1965). Where rho is not known (one draw of each member) they are worth n_members.

    >>> independent_draws([1.0, 0.0], [0.0, 1.0], 30, 5).tolist()
    [30.0, 5.0]
    """
    within, between = (np.asarray(sd, np.float64) ** 2 for sd in (sd_within, sd_between))
    total = within + between
    share = np.divide(between, total, out=np.zeros_like(total), where=total > 0)
    share = np.where(np.isnan(total), 1.0, share)
    return n_draws / (1 + (n_draws / n_members - 1) * share)
