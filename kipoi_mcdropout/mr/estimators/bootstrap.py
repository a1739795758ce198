"""Bootstrap over draws: an interval that takes into account that all effects share their draws.

What it estimates. A draw is one thinned network; ``beta`` is a mean over n_draws of them. The bootstrap
resamples the draws with replacement, the same for every mutant and for both outputs, and estimates
again. This shows how much the estimate would change with other draws. So the result is a Monte Carlo
error, like the `mcse`: it shrinks like 1 / sqrt(n_draws), and it refers to the slope that infinitely
many draws would give. It is not an uncertainty like the `sd`, which does not shrink with more draws.
`draw_slopes` shows how the slope differs between thinned networks.

Why it is used. MR-Egger and IVW treat instruments as independent. Effects of mutants that share
masks are not: when a hidden unit is dropped, the effects of many mutants on both outputs change
together. The formulas then give intervals that are too short (with `mcse`) or far too long (with `sd`,
whose square is n_draws times the variance of the mean). The bootstrap needs no formula and no inverse of
a correlation matrix, so it also works with more instruments than draws. It also corrects the interval
for the bias that noisy exposure effects cause.

With several members (trained networks) the members are resampled first, then the draws within each: the
interval then includes how much the estimate would change with other members.

Its limit. With infinitely many draws its interval has length 0, even if mutants do not lie on one line
because they change the outcome by other ways than the exposure, or because the model is not linear. If
the mutants are a sample of all possible mutants, this scatter is an error too: ``resample="both"`` also
resamples the instruments (the pigeonhole bootstrap of Owen, Ann Appl Stat 2007); its intervals are
rather too long. `diagnose` warns of such scatter. Mutants of one binding site scatter together;
``resample="sequences"`` resamples whole sequences beside the draws, for MR-Egger and IVW.

How often a 95 % interval of MR-Egger's slope contained the true slope, in 400 simulated data sets of
60 mutants and 100 draws (``python benchmarks/mr_coverage.py``, which has more methods and
scenarios):

| what the mutants are | formula, sd | formula, mcse | draws | both |
|---|---|---|---|---|
| of 3 sites, a site's mutants acting through the same units | 0.995 | 0.330 | 0.945 | 0.953 |
| of 12 sites | 1.000 | 0.618 | 0.943 | 0.980 |
| of 12 sites, noise over draws three times as large | 1.000 | 0.470 | 0.895 | 0.955 |
| each of its own | 1.000 | 0.925 | 0.915 | 0.998 |
| of 12 sites, with direct effects on the outcome | 0.880 | 0.880 | 0.240 | 0.860 |

Intervals by sd were 1.8 to 7 times as long as those of "draws" but for the last row. The correlated
MR-Egger held it in 0.383 of the data sets of the fourth row; for the others the correlation over
draws has no inverse.
"""

from __future__ import annotations

import numpy as np

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr.estimators.convention import Convention, check_convention
from kipoi_mcdropout.mr.estimators.estimate import Estimate, make_estimate, wald_test
from kipoi_mcdropout.mr.estimators.points import POINT_ESTIMATORS
from kipoi_mcdropout.mr.estimators.ratio import with_exposure_effect
from kipoi_mcdropout.mr.estimators.resampling import Resample, draw_replicates
from kipoi_mcdropout.mr.pairs.instruments import Instruments

MIN_INSTRUMENTS = {"ivw": 2}  # 3 for every other method
NEED_NO_RATIO = ("egger", "ivw")
SMALLEST_RTOL = 1e-9


def mr_bootstrap(
    instruments: Instruments,
    method: str = "egger",
    *,
    resample: Resample = "draws",
    n_bootstrap: int = 1000,
    seed: int = 0,
    convention: Convention = "twosamplemr",
) -> Estimate:
    """Estimate with a standard error and interval from a bootstrap over draws.

    The estimate is that of `method` on the means over all draws. The interval is the normal one,
    corrected for the bias of the bootstrap, ``estimate - bias -+ 1.96 se`` (Davison and Hinkley 1997,
    eq. 5.5; R's ``boot.ci(type="norm")``), so it need not be centred on the estimate; p belongs to it.
    Percentiles would carry the bias of noisy exposure effects a second time.

    Parameters
    ----------
    instruments : Instruments
        With draws. `se_type` matters for "raps", "conmix" and "lasso" only; elsewhere standard errors
        are only used as weights, and sd and mcse differ by the same factor for all instruments.
    method : str
        One of "egger", "ivw", "ivw_robust", "raps", "conmix", "lasso", "maxlik", "ivw_radial",
        "egger_radial", "simple_median", "weighted_median", "simple_mode", "weighted_mode".
    resample : "draws", "both", "instruments" or "sequences"
        What is resampled with replacement; see the docstring of this module.
    n_bootstrap, seed : int
        The same seed gives the same numbers.
    convention : str
        Recorded; the point estimates that are offered here do not differ.

    Raises
    ------
    InputError
        No draws, too few instruments, or an unknown method.
    """
    check_convention(convention)
    if resample not in ("draws", "instruments", "both", "sequences"):
        raise InputError(
            f"resample must be 'draws', 'instruments', 'both' or 'sequences'; got {resample!r}."
        )
    used = _used(instruments, method)
    replicates = bootstrap_estimates(used, method, resample=resample, n_bootstrap=n_bootstrap, seed=seed)
    estimate = point_estimate(used, method)
    se = float(replicates.std(ddof=1))
    p, lower, upper, _ = wald_test(2 * estimate - float(replicates.mean()), se)
    return make_estimate(
        f"{method}_bootstrap_{resample}",
        used,
        convention,
        estimate,
        se,
        p=p,
        ci_lower=lower,
        ci_upper=upper,
        distribution="normal, bias-corrected",
    )


def bootstrap_estimates(
    instruments: Instruments,
    method: str = "egger",
    *,
    resample: Resample = "draws",
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> FloatArray:
    """The replicates themselves, shape=(n_bootstrap,); arguments as in `mr_bootstrap`."""
    used = _used(instruments, method)
    if resample == "sequences" and method not in NEED_NO_RATIO:
        raise InputError(
            f"resampling of sequences is offered for {' and '.join(NEED_NO_RATIO)}; got {method!r}."
        )
    blocks = draw_replicates(used, n_bootstrap, seed, resample)
    least = SMALLEST_RTOL * float(np.abs(used.beta_exposure).max())
    return np.concatenate(
        [POINT_ESTIMATORS[method](_not_zero(bx, least), *rest) for bx, *rest in blocks]
    )


def draw_slopes(instruments: Instruments, method: str = "egger") -> FloatArray:
    """Estimate within each draw, shape=(n_draws,): the slope of each thinned network.

    Their sd is the model's uncertainty about the slope. It is not an interval for the slope of the mean
    effects: noise in the exposure effects of a draw makes each of these slopes too small. A method that
    needs ratios leaves out, in each draw, the mutants without an effect on the exposure; a draw with
    fewer than 3 others gives NaN.
    """
    used = _used(instruments, method)
    x, y = used.draws_exposure, used.draws_outcome
    if x is None or y is None:
        raise InputError(
            "the slope of each draw requires the draws of both outputs; got only means and standard "
            "errors. Run ism with --keep_draws, and pass read_draws(...)."
        )
    sx, sy = (np.broadcast_to(se, x.shape) for se in (used.se_exposure, used.se_outcome))
    if method in NEED_NO_RATIO or x.all():
        return POINT_ESTIMATORS[method](x, y, sx, sy)
    slopes = np.full(len(x), np.nan)
    for draw, some in enumerate(x != 0):
        if some.sum() >= 3:
            rows = (a[draw, some] for a in (x, y, sx, sy))
            slopes[draw] = POINT_ESTIMATORS[method](*rows)
    return slopes


def _not_zero(bx: FloatArray, least: float) -> FloatArray:
    """An exposure effect that no draw of a replicate has is taken as tiny: a ratio without weight."""
    return np.where(bx == 0, least, bx)


def _used(instruments: Instruments, method: str) -> Instruments:
    if method not in POINT_ESTIMATORS:
        raise InputError(
            f"the bootstrap supports the methods {', '.join(POINT_ESTIMATORS)}; got {method!r}."
        )
    least = MIN_INSTRUMENTS.get(method, 3)
    if method in NEED_NO_RATIO:
        return instruments.kept(least, f"the bootstrap of {method}")
    return with_exposure_effect(instruments, least, f"the bootstrap of {method}")


def point_estimate(used: Instruments, method: str) -> float:
    """The estimate alone, by any of `POINT_ESTIMATORS`; all rows are used."""
    effects = (used.beta_exposure, used.beta_outcome, used.se_exposure, used.se_outcome)
    return float(POINT_ESTIMATORS[method](*effects))
