"""Whether mutants scatter about one line through the origin more than their draws explain."""

from __future__ import annotations

from scipy import stats

from kipoi_mcdropout.mr.estimators.resampling import draw_shares
from kipoi_mcdropout.mr.groups.noise import noise_of_means
from kipoi_mcdropout.mr.pairs.instruments import Instruments


def p_of_one_line(used: Instruments, n_bootstrap: int, seed: int) -> float:
    """P of Cochran's Q about the line, in [0, 1].

    With draws the distribution of Q is that of resampled draws, centred: mutants that share hidden
    units move together, and Q then varies far more than a chi-square. Without draws it is a chi-square.
    """
    noise = noise_of_means(used)
    x, y = used.beta_exposure, used.beta_outcome
    slope = float((x * y / noise.yy).sum() / (x * x / noise.yy).sum())
    for _ in range(20):
        weight = 1 / noise.about_line(slope)
        slope = float((weight * x * y).sum() / (weight * x * x).sum())
    weight = 1 / noise.about_line(slope)
    q = float((weight * (y - slope * x) ** 2).sum())
    if used.draws_exposure is None or used.draws_outcome is None:
        return float(stats.chi2.sf(q, len(x) - 1))
    residual = used.draws_outcome - slope * used.draws_exposure
    residual = residual - residual.mean(axis=0)
    exceed = 0
    for share in draw_shares(used, n_bootstrap, seed):
        off = share @ residual
        along = (off * weight * x).sum(axis=1) / (weight * x * x).sum()
        exceed += int(((off - along[:, None] * x) ** 2 @ weight >= q).sum())
    return (exceed + 1) / (n_bootstrap + 1)
