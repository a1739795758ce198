"""The calls that give the numbers of the R packages, and the methods of these packages that are left
out.

Every number of `R_EQUIVALENTS` is checked in the tests against R 4.2.2 with TwoSampleMR 0.7.9 and
MendelianRandomization 0.10.0.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from kipoi_mcdropout.mr.estimators.convention import Convention
from kipoi_mcdropout.mr.estimators.debiased_ivw import mr_debiased_ivw
from kipoi_mcdropout.mr.estimators.egger import mr_egger
from kipoi_mcdropout.mr.estimators.estimate import Estimate
from kipoi_mcdropout.mr.estimators.ivw import mr_ivw
from kipoi_mcdropout.mr.estimators.median import mr_simple_median, mr_weighted_median
from kipoi_mcdropout.mr.estimators.mode import mr_simple_mode, mr_weighted_mode

_T, _M = "twosamplemr", "MendelianRandomization"
_MR: Convention = "mendelianrandomization"

R_EQUIVALENTS: dict[tuple[str, str], Callable[..., Estimate]] = {
    (_T, "mr_egger_regression"): mr_egger,
    (_T, "mr_ivw"): mr_ivw,
    (_T, "mr_ivw_mre"): partial(mr_ivw, model="random_underdispersed"),
    (_T, "mr_ivw_fe"): partial(mr_ivw, model="fixed"),
    (_T, "mr_weighted_median"): mr_weighted_median,
    (_T, "mr_simple_median"): mr_simple_median,
    (_T, "mr_penalised_weighted_median"): partial(mr_weighted_median, penalised=True),
    (_T, "mr_weighted_mode"): mr_weighted_mode,
    (_T, "mr_simple_mode"): mr_simple_mode,
    (_M, "mr_egger"): partial(mr_egger, convention=_MR),
    (_M, "mr_egger_tdist"): partial(mr_egger, convention=_MR, distribution="t"),
    (_M, "mr_egger_correl"): partial(mr_egger, convention=_MR, correlated=True),
    (_M, "mr_egger_correl_tdist"): partial(mr_egger, convention=_MR, correlated=True, distribution="t"),
    (_M, "mr_ivw"): partial(mr_ivw, convention=_MR),
    (_M, "mr_ivw_tdist"): partial(mr_ivw, convention=_MR, distribution="t"),
    (_M, "mr_ivw_fixed"): partial(mr_ivw, convention=_MR, model="fixed"),
    (_M, "mr_ivw_correl"): partial(mr_ivw, convention=_MR, correlated=True),
    (_M, "mr_ivw_correl_fixed"): partial(mr_ivw, convention=_MR, correlated=True, model="fixed"),
    (_M, "mr_ivw_delta"): partial(mr_ivw, convention=_MR, weights="second_order"),
    (_M, "mr_ivw_delta_psi0.2"): partial(mr_ivw, convention=_MR, weights="second_order", psi=0.2),
    (_M, "mr_median_simple"): partial(mr_simple_median, convention=_MR),
    (_M, "mr_median_weighted"): partial(mr_weighted_median, convention=_MR),
    (_M, "mr_median_penalized"): partial(mr_weighted_median, convention=_MR, penalised=True),
    (_M, "mr_mbe_weighted_delta"): partial(mr_weighted_mode, convention=_MR),
    (_M, "mr_divw"): partial(mr_debiased_ivw, convention=_MR),
}

NOT_OFFERED: dict[tuple[str, str], str] = {
    (_T, "mr_uwr"): (
        "unweighted regression ignores the uncertainty of each mutant; use the bootstrap, whose "
        "interval does not depend on the standard errors"
    ),
    (_T, "mr_grip"): (
        "a form of MR-Egger that does not depend on which allele is the effect allele; here every "
        "effect is ALT against REF, and MR-Egger orients the effects itself"
    ),
    (_T, "mr_egger_regression_bootstrap"): (
        "a parametric bootstrap that treats effects as independent and flattens the slope twice by "
        "noise; use the bootstrap over draws instead"
    ),
    (_M, "mr_egger_robust"): (
        "an MM-estimator that needs the random search of the R package robustbase; the weighted median "
        "and mode are the robust methods here"
    ),
}
