"""Correlation of the outcome effects: given, or computed over the draws.

All effects of a run share their draws (locked masks), so effects of different mutants are
correlated. Where the draws are of several members, the correlations are those of the nested draws
(`spread.deviations`).
"""

from __future__ import annotations

import numpy as np

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr.pairs.instruments import Instruments
from kipoi_mcdropout.mr.pairs.spread import deviations


def outcome_correlation(instruments: Instruments) -> FloatArray:
    """Invertible correlation of the outcome effects, shape=(n, n), in the order of the instruments.

    This is the correlation given with the instruments, or else that of their draws. It is the same for
    sd and mcse, except where there are several members: the errors of mean effects are then correlated
    as the means of the members are.

    Raises
    ------
    InputError
        Neither is there; more instruments than draws - 1, or for the mcse of several members than
        members - 1 (the matrix is then singular); or the matrix given is not positive definite.
    """
    matrix = instruments.correlation
    if matrix is None:
        matrix = correlation_of_draws(instruments)
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        raise InputError(
            "the correlation matrix must be positive definite; this one is not. Remove instruments "
            "that have the same effects as others, or use the bootstrap over draws, which needs no "
            "inverse."
        ) from None
    return matrix


def correlation_of_draws(instruments: Instruments, side: str = "outcome") -> FloatArray:
    """Correlation of the errors of the effects on the "outcome" or the "exposure", shape=(n, n).

    Over draws; with several members and standard errors of the mean (mcse), over the members.

    Raises
    ------
    InputError
        No draws, or too few of them for an invertible matrix.
    """
    draws = instruments.draws_outcome if side == "outcome" else instruments.draws_exposure
    if draws is None:
        raise InputError(
            "a correlated method requires the correlation of the outcome effects, or draws to compute "
            "it from; got neither. Pass correlation=... or draws of both outputs."
        )
    n_draws, n = draws.shape
    n_members, of_mean = instruments.n_members, instruments.se_type == "mcse"
    if n_members > 1 and of_mean and n > n_members - 1:
        raise InputError(
            f"{n} instruments and {n_members} members: mean effects are correlated as the means of the "
            "members are, and the matrix of these correlations has no inverse when there are more "
            "instruments than members - 1. Use the bootstrap over draws, which needs no inverse, or the "
            "sd in place of the mcse."
        )
    if n > n_draws - 1:
        raise InputError(
            f"{n} instruments and {n_draws} draws: the matrix of correlations over draws has no inverse "
            f"when there are more instruments than draws - 1. Select at most {n_draws - 1} instruments, "
            f"run at least {n + 1} draws, or use the bootstrap over draws, which needs no inverse."
        )
    if n_members == 1:
        return np.atleast_2d(np.corrcoef(draws, rowvar=False))
    return correlation_of_members(draws, n_members, of_mean)


def correlation_of_members(draws: FloatArray, n_members: int, of_mean: bool) -> FloatArray:
    """Correlation of effects in nested draws, or of their means, shape=(n, n); see `deviations`."""
    rows = deviations(draws, n_members, of_mean)
    scaled: FloatArray = rows / np.sqrt((rows**2).sum(axis=0))
    found: FloatArray = scaled.T @ scaled
    return found


def covariance_of_draws(instruments: Instruments) -> dict[str, FloatArray]:
    """Covariances over draws (ddof=1), each shape=(n, n): "xx", "yy" and "xy".

    x are exposure effects and y outcome effects:
    ``xy[i, j]`` is that of exposure effect i with outcome effect j. They are of single draws, the
    square of `sd`; divide by n_draws for the mean over draws. With several members they are the totals
    of the nested draws, and must not be divided.
    """
    x, y = instruments.draws_exposure, instruments.draws_outcome
    if x is None or y is None:
        raise InputError(
            "draws of both outputs are required for their covariance; got none. Run ism with "
            "--keep_draws, and pass read_draws(...)."
        )
    if instruments.n_members > 1:
        x, y = (deviations(draws, instruments.n_members, False) for draws in (x, y))
        return {"xx": x.T @ x, "yy": y.T @ y, "xy": x.T @ y}
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    scale = 1 / (len(x) - 1)
    return {"xx": x.T @ x * scale, "yy": y.T @ y * scale, "xy": x.T @ y * scale}
