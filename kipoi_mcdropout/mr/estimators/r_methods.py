"""The calls that give the numbers of the R packages, and the methods of these packages that are left
out.

Every number of `R_EQUIVALENTS` is checked in the tests against R 4.2.2 with TwoSampleMR 0.7.9,
MendelianRandomization 0.10.0 (with robustbase 0.95-0) and mr.raps 0.4.2. `NOT_OFFERED` has every other
function of the first two that estimates a slope or draws a figure.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from kipoi_mcdropout.mr.estimators.conmix import mr_conmix
from kipoi_mcdropout.mr.estimators.convention import Convention
from kipoi_mcdropout.mr.estimators.debiased_ivw import mr_debiased_ivw
from kipoi_mcdropout.mr.estimators.egger import mr_egger
from kipoi_mcdropout.mr.estimators.estimate import Estimate
from kipoi_mcdropout.mr.estimators.ivw import mr_ivw
from kipoi_mcdropout.mr.estimators.median import mr_simple_median, mr_weighted_median
from kipoi_mcdropout.mr.estimators.mode import mr_simple_mode, mr_weighted_mode
from kipoi_mcdropout.mr.estimators.raps import mr_raps
from kipoi_mcdropout.mr.estimators.robust import mr_egger_robust, mr_ivw_robust

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
    (_T, "mr_raps"): mr_raps,
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
    (_M, "mr_ivw_robust"): partial(mr_ivw_robust, convention=_MR),
    (_M, "mr_ivw_penalized"): partial(mr_ivw_robust, convention=_MR, robust=False, penalised=True),
    (_M, "mr_ivw_penalized_robust"): partial(mr_ivw_robust, convention=_MR, penalised=True),
    (_M, "mr_egger_robust"): partial(mr_egger_robust, convention=_MR),
    (_M, "mr_egger_penalized"): partial(mr_egger_robust, convention=_MR, robust=False, penalised=True),
    (_M, "mr_egger_penalized_robust"): partial(mr_egger_robust, convention=_MR, penalised=True),
    (_M, "mr_conmix"): partial(mr_conmix, convention=_MR, grid_step=0.01),
}

_SIZES = "it needs the numbers of individuals that effects were measured in; draws are not individuals"
_OTHERS = "mr_multivariable offers IVW and MR-Egger; groups of mutants show what does not fit"

NOT_OFFERED: dict[tuple[str, str], str] = {
    (_T, "mr_wald_ratio"): "it is for a single instrument; wald_ratios gives the ratio of each mutant",
    (_T, "mr_two_sample_ml"): (
        "its slope is that of MR-RAPS with squared loss and without overdispersion (raps_simple_l2)"
    ),
    (_T, "mr_ivw_radial"): (
        "with first-order weights it is IVW; the others need a bootstrap of RadialMR; export_mr writes "
        "radialmr.tsv"
    ),
    (_T, "mr_weighted_mode_nome"): (
        "it takes exposure effects as without error; mr_weighted_mode takes their error into account"
    ),
    (_T, "mr_simple_mode_nome"): (
        "it takes exposure effects as without error; mr_simple_mode takes their error into account"
    ),
    (_T, "mr_sign"): "it tests the signs alone, and mutants are not independent",
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
    (_M, "mr_maxlik"): (
        "its slope is that of MR-RAPS with squared loss and without overdispersion (raps_simple_l2)"
    ),
    (_M, "mr_lasso"): (
        "it takes mutants out one by one by a penalty; the contamination mixture and the groups of "
        "mutants do the same with a likelihood, and say which"
    ),
    (_M, "mr_hetpen"): "it tries every subset of instruments, so it is for at most about 20 of them",
    (_M, "mr_pivw"): (
        "a debiased IVW for instruments so weak that its denominator is near 0; select stronger mutants"
    ),
    (_M, "mr_cML"): _SIZES,
    (_M, "mr_pcgmm"): f"{_SIZES}, and correlations between individuals' genotypes",
    (_M, "mr_clr"): "it is for instruments that are weak in a sample of individuals",
    (_M, "mr_mvmedian"): _OTHERS,
    (_M, "mr_mvlasso"): _OTHERS,
    (_M, "mr_mvivwme"): "its correction for noise needs correlations between exposures by individuals",
    (_M, "mr_mvgmm"): _SIZES,
    (_M, "mr_mvpcgmm"): f"{_SIZES}, and correlations between individuals' genotypes",
    (_M, "mr_mvcML"): _SIZES,
    (_M, "mr_allmethods"): "estimates() makes the table of several methods",
    (_M, "mr_plot"): "plots.plot_mr_scatter draws it",
    (_M, "mr_forest"): "it draws a line per mutant; plots.plot_mr_funnel shows hundreds",
    (_M, "mr_funnel"): "plots.plot_mr_funnel draws it",
    (_M, "mr_loo"): "plots.plot_mr_leave_one_out draws it",
    ("others", "CAUSE, LCV, coloc"): (
        "they need association statistics of the whole genome and the correlation of genotypes (LD); a "
        "model has no population"
    ),
}
