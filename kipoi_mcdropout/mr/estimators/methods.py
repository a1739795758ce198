"""Methods by name, for tables, leave-one-out and the command line."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr.estimators.bootstrap import NEED_NO_RATIO, mr_bootstrap
from kipoi_mcdropout.mr.estimators.conmix import mr_conmix
from kipoi_mcdropout.mr.estimators.convention import Convention
from kipoi_mcdropout.mr.estimators.debiased_ivw import mr_debiased_ivw
from kipoi_mcdropout.mr.estimators.egger import mr_egger
from kipoi_mcdropout.mr.estimators.estimate import Estimate
from kipoi_mcdropout.mr.estimators.ivw import mr_ivw
from kipoi_mcdropout.mr.estimators.lasso import mr_lasso
from kipoi_mcdropout.mr.estimators.maxlik import mr_maxlik
from kipoi_mcdropout.mr.estimators.median import mr_simple_median, mr_weighted_median
from kipoi_mcdropout.mr.estimators.mode import mr_simple_mode, mr_weighted_mode
from kipoi_mcdropout.mr.estimators.points import POINT_ESTIMATORS
from kipoi_mcdropout.mr.estimators.radial import mr_egger_radial, mr_ivw_radial
from kipoi_mcdropout.mr.estimators.raps import mr_raps
from kipoi_mcdropout.mr.estimators.robust import mr_egger_robust, mr_ivw_robust
from kipoi_mcdropout.mr.pairs.instruments import Instruments

CLOSED_FORM: dict[str, Callable[..., Estimate]] = {
    "egger": mr_egger,
    "ivw": mr_ivw,
    "ivw_fixed": partial(mr_ivw, model="fixed"),
    "ivw_delta": partial(mr_ivw, weights="second_order"),
    "debiased_ivw": mr_debiased_ivw,
    "egger_correlated": partial(mr_egger, correlated=True),
    "ivw_correlated": partial(mr_ivw, correlated=True),
    "ivw_robust": mr_ivw_robust,
    "ivw_penalised": partial(mr_ivw_robust, robust=False, penalised=True),
    "ivw_penalised_robust": partial(mr_ivw_robust, penalised=True),
    "egger_robust": mr_egger_robust,
    "egger_penalised": partial(mr_egger_robust, robust=False, penalised=True),
    "egger_penalised_robust": partial(mr_egger_robust, penalised=True),
    "raps": mr_raps,
    "raps_tukey": partial(mr_raps, loss="tukey"),
    "raps_l2": partial(mr_raps, loss="l2"),
    "raps_simple_huber": partial(mr_raps, overdispersion=False),
    "raps_simple_tukey": partial(mr_raps, overdispersion=False, loss="tukey"),
    "raps_simple_l2": partial(mr_raps, overdispersion=False, loss="l2"),
    "conmix": mr_conmix,
    "lasso": mr_lasso,
    "maxlik": mr_maxlik,
    "ivw_radial": mr_ivw_radial,
    "ivw_radial_first_order": partial(mr_ivw_radial, weights="first_order"),
    "ivw_radial_second_order": partial(mr_ivw_radial, weights="second_order"),
    "ivw_radial_iterated": partial(mr_ivw_radial, weights="iterated"),
    "egger_radial": mr_egger_radial,
    "egger_radial_first_order": partial(mr_egger_radial, weights="first_order"),
    "egger_radial_second_order": partial(mr_egger_radial, weights="second_order"),
}
RESAMPLED: dict[str, Callable[..., Estimate]] = {
    "simple_median": mr_simple_median,
    "weighted_median": mr_weighted_median,
    "penalised_weighted_median": partial(mr_weighted_median, penalised=True),
    "simple_mode": mr_simple_mode,
    "weighted_mode": mr_weighted_mode,
    **{
        f"{method}_bootstrap_{resample}": partial(mr_bootstrap, method=method, resample=resample)
        for method in POINT_ESTIMATORS
        for resample in ("draws", "both", "sequences")
        if resample != "sequences" or method in NEED_NO_RATIO
    },
}
METHODS = (*CLOSED_FORM, *RESAMPLED)


def mr_estimate(
    instruments: Instruments,
    method: str,
    *,
    convention: Convention = "twosamplemr",
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Estimate by a method's name, one of `METHODS`.

    `n_bootstrap` and `seed` serve the methods that resample.

    Raises
    ------
    InputError
        An unknown name, or whatever the method itself refuses.
    """
    if method in CLOSED_FORM:
        return CLOSED_FORM[method](instruments, convention=convention)
    if method in RESAMPLED:
        return RESAMPLED[method](instruments, convention=convention, n_bootstrap=n_bootstrap, seed=seed)
    raise InputError(f"method must be one of {', '.join(METHODS)}; got {method!r}.")
