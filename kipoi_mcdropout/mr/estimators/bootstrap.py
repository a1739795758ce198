"""Bootstrap over draws: the interval that knows that all effects share their draws.

What it estimates. A draw is one thinned network; ``beta`` is a mean over n_draws of them. Drawing
draws anew with replacement, the same for every mutant and for both outputs, and estimating again,
shows how much the estimate would change had other draws been made. So it is a Monte Carlo error, of
the kind of `mcse`: it shrinks like 1 / sqrt(n_draws), and it is about the slope that infinitely
many draws would give. It is not an uncertainty of the kind of `sd`, which no number of draws makes
smaller; for how the slope differs from one thinned network to another see `draw_slopes`.

Why it is the one to recommend. MR-Egger and IVW take instruments as independent. Effects of mutants
that share masks are not: a hidden unit that is dropped moves many mutants, and both outputs, at
once. Formulas built on independence then give intervals that are too short (with `mcse`) or far too
long (with `sd`, which has n_draws times too large a variance for the error of a mean). The
bootstrap needs no formula and no inverse of a correlation matrix, so it also works with more
instruments than draws. It also sees the slope's bias from noisy exposure effects, and takes it out
of the interval.

What it does not know. With infinitely many draws its interval has length 0, also where mutants
scatter about the line because they act on the outcome by other ways than the exposure, or because
the model is not linear. Where mutants stand for others that could have been made, that scatter is
an error too: ``resample="both"`` draws the instruments anew as well (the pigeonhole bootstrap of
Owen, Ann Appl Stat 2007), and is conservative. `diagnose` says when scatter is seen.

How often a 95 % interval of MR-Egger's slope held the planted slope, in 400 simulated data sets of
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

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr.estimators.convention import Convention, check_convention
from kipoi_mcdropout.mr.estimators.estimate import Estimate, make_estimate, wald_test
from kipoi_mcdropout.mr.estimators.points import POINT_ESTIMATORS
from kipoi_mcdropout.mr.estimators.ratio import with_exposure_effect
from kipoi_mcdropout.mr.estimators.resampling import Resample, draw_replicates
from kipoi_mcdropout.mr.pairs.instruments import FloatArray, Instruments

MIN_INSTRUMENTS = {"ivw": 2}  # 3 for every other method


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

    The estimate is that of `method` on the means over all draws. The interval is the normal one
    with the bootstrap's bias taken out, ``estimate - bias -+ 1.96 se`` (Davison and Hinkley 1997,
    eq. 5.5; R's ``boot.ci(type="norm")``), so it need not be centred on the estimate; p belongs to
    it. Percentiles would carry the bias of noisy exposure effects a second time.

    Parameters
    ----------
    instruments : Instruments
        With draws. `se_type` does not matter: standard errors only weight, and sd and mcse differ
        by a factor common to all instruments.
    method : str
        One of "egger", "ivw", "simple_median", "weighted_median", "simple_mode", "weighted_mode".
    resample : "draws", "both" or "instruments"
        What is drawn with replacement; see the head of this module.
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
    if resample not in ("draws", "instruments", "both"):
        raise InputError(f"resample must be 'draws', 'instruments' or 'both'; got {resample!r}.")
    used = _used(instruments, method)
    replicates = bootstrap_estimates(used, method, resample=resample, n_bootstrap=n_bootstrap, seed=seed)
    estimate = _point(used, method)
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
    blocks = draw_replicates(used, n_bootstrap, seed, resample)
    return np.concatenate([POINT_ESTIMATORS[method](*block) for block in blocks])


def draw_slopes(instruments: Instruments, method: str = "egger") -> FloatArray:
    """Estimate within each draw, shape=(n_draws,): the slope that each thinned network shows.

    Their spread is the slope's uncertainty of the kind of `sd`. It is not an interval for the slope
    of the mean effects: the part of a draw's exposure effects that the outcome does not follow acts
    as noise, and flattens every one of these slopes.
    """
    used = _used(instruments, method)
    x, y = used.draws_exposure, used.draws_outcome
    if x is None or y is None:
        raise InputError(
            "the slope of each draw requires the draws of both outputs; got summaries only. "
            "Run ism with --keep_draws, and pass read_draws(...)."
        )
    sx, sy = (np.broadcast_to(se, x.shape) for se in (used.se_exposure, used.se_outcome))
    return POINT_ESTIMATORS[method](x, y, sx, sy)


def _used(instruments: Instruments, method: str) -> Instruments:
    if method not in POINT_ESTIMATORS:
        raise InputError(f"the bootstrap offers {', '.join(POINT_ESTIMATORS)}; got {method!r}.")
    least = MIN_INSTRUMENTS.get(method, 3)
    if method in ("egger", "ivw"):
        return instruments.kept(least, f"the bootstrap of {method}")
    return with_exposure_effect(instruments, least, f"the bootstrap of {method}")


def _point(used: Instruments, method: str) -> float:
    effects = (used.beta_exposure, used.beta_outcome, used.se_exposure, used.se_outcome)
    return float(POINT_ESTIMATORS[method](*effects))
