"""The sd, mcse and covariance of effects over draws, also where these are of several members."""

from __future__ import annotations

import numpy as np

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.arrays.nested_variance import NestedVariance


def spread_of_draws(draws: FloatArray, n_members: int, of_mean: bool) -> FloatArray:
    """The sd over draws, or the error of their mean (mcse), shape=(n,).

    Parameters
    ----------
    draws : array, shape=(n_draws, n)
        Draw t is of member t mod n_members.
    n_members : int
        With several, the parts within and between members are those of `NestedVariance`.
    of_mean : bool
        Whether the mcse is wanted.
    """
    if n_members == 1:
        sd: FloatArray = draws.std(axis=0, ddof=1)
        return sd * (len(draws) ** -0.5 if of_mean else 1.0)
    each = len(draws) // n_members
    of_members = draws.reshape(each, n_members, -1)
    spread = of_members.var(axis=0, ddof=1) if each > 1 else np.full(of_members.shape[1:], np.nan)
    parts = NestedVariance.of(of_members.mean(axis=0), spread, each)
    return np.sqrt(parts.of_mean if of_mean else parts.total)


def deviations(draws: FloatArray, n_members: int, of_mean: bool) -> FloatArray:
    """Rows whose products are covariances: ``deviations(x).T @ deviations(y)``.

    With one member these are the covariances over the draws (ddof=1). With several they are the totals
    of `arrays.nested_variance`: those over all draws would be too small, since the draws are of a few
    networks. They are the products of::

        mean of a member - mean of all                                over sqrt(M - 1)
        draw - mean of its member                                     over sqrt(M R)

    since between + within = MSB / R + (1 - 1 / R) MSW, for R draws of each of M members. So the matrix
    of covariances is never indefinite.

    Parameters
    ----------
    draws : array, shape=(n_draws, n)
        Draw t is of member t mod n_members.
    n_members : int
    of_mean : bool
        Whether they are to be those of the means over draws. With several members these are random by
        the choice of the members, so there is a row for each member alone.

    Returns
    -------
    array, shape=(n_draws, n), (n_draws + n_members, n), or (n_members, n)
    """
    n_draws = len(draws)
    if n_members == 1:
        scale = (n_draws - 1) * (n_draws if of_mean else 1)
        alone: FloatArray = (draws - draws.mean(axis=0)) / np.sqrt(scale)
        return alone
    of_members = draws.reshape(n_draws // n_members, n_members, -1)
    means = of_members.mean(axis=0)
    scale = (n_members - 1) * (n_members if of_mean else 1)
    between: FloatArray = (means - means.mean(axis=0)) / np.sqrt(scale)
    if of_mean:
        return between
    within = (of_members - means).reshape(n_draws, -1) / np.sqrt(n_draws)
    return np.concatenate([between, within])
