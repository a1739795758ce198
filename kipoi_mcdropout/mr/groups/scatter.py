"""Whether mutants scatter about one line through the origin more than their draws explain."""

from __future__ import annotations

import numpy as np
from scipy import stats

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.mr.estimators.resampling import check_bootstrap, draw_shares
from kipoi_mcdropout.mr.groups.noise import NoiseOfMeans, noise_of_means
from kipoi_mcdropout.mr.groups.shared_noise import shrinkage
from kipoi_mcdropout.mr.pairs.instruments import Instruments


def p_of_one_line(used: Instruments, n_bootstrap: int, seed: int) -> float:
    """P of the hypothesis that all mutants lie on one line, in [0, 1].

    With draws: the statistic is Q with the covariance between mutants over draws (`shrinkage`), because
    mutants that share hidden units move together. If all mutants lie on the line, the distance of a
    draw's effects from it is as likely as its negative; so the statistic is compared with those of
    draws whose distances have random signs. With several members, which are few, it is Q without
    covariance, compared with that of resampled draws. Without draws Q is compared with a chi-square.
    """
    check_bootstrap(n_bootstrap, seed)
    noise = noise_of_means(used)
    x, y = used.beta_exposure, used.beta_outcome
    slope = _slope(x, y, noise)
    if used.draws_exposure is None or used.draws_outcome is None:
        q = float(((y - slope * x) ** 2 / noise.about_line(slope)).sum())
        return float(stats.chi2.sf(q, len(x) - 1))
    distance = used.draws_outcome - slope * used.draws_exposure
    if used.n_members > 1:
        weight = 1 / noise.about_line(slope)
        return _p_of_resampled_draws(used, distance, weight, n_bootstrap, seed)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(n_bootstrap, len(distance)))
    found = _statistics(distance, x, np.vstack([np.ones(len(distance)), signs]))
    exceed = int((found[1:] >= found[0] * (1 - 1e-9)).sum())
    return (exceed + 1) / (n_bootstrap + 1)


def _slope(x: FloatArray, y: FloatArray, noise: NoiseOfMeans) -> float:
    slope = float((x * y / noise.yy).sum() / (x * x / noise.yy).sum())
    for _ in range(20):
        weight = 1 / noise.about_line(slope)
        slope = float((weight * x * y).sum() / (weight * x * x).sum())
    return slope


def _statistics(distance: FloatArray, x: FloatArray, signs: FloatArray) -> FloatArray:
    """Q of the mean distances for each row of signs, shape=(rows,); a line along x is fitted in each.

    The second moments of the distances do not depend on the signs, so their inverse serves all rows. It
    is taken in the space of the draws.
    """
    n_draws = len(distance)
    size = np.sqrt((distance**2).mean(axis=0))
    size = np.maximum(size, 1e-12 * max(float(size.max()), 1e-300))
    scaled, along = distance / size, x / size
    share = shrinkage(scaled)
    left, singular, right = np.linalg.svd(scaled, full_matrices=False)
    inverse = 1 / (share + (1 - share) * singular**2 / n_draws)
    inside = right @ along
    outside = max(0.0, float((along**2).sum() - (inside**2).sum()))
    total = float((inverse * inside**2).sum()) + outside / share
    means = signs @ (left * singular) / n_draws
    statistics: FloatArray = (means**2 * inverse).sum(axis=1) - (means @ (inverse * inside)) ** 2 / total
    return statistics


def _p_of_resampled_draws(
    used: Instruments, distance: FloatArray, weight: FloatArray, n_bootstrap: int, seed: int
) -> float:
    x = used.beta_exposure
    q = float((weight * distance.mean(axis=0) ** 2).sum())
    centred = distance - distance.mean(axis=0)
    exceed = 0
    for share in draw_shares(used, n_bootstrap, seed):
        off = share @ centred
        along = (off * weight * x).sum(axis=1) / (weight * x * x).sum()
        exceed += int(((off - along[:, None] * x) ** 2 @ weight >= q).sum())
    return (exceed + 1) / (n_bootstrap + 1)
