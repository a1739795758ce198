"""The calls that give the numbers of the R packages, and the methods of these packages that are left
out.

Every number of `R_EQUIVALENTS` and `R_MULTIVARIABLE` is checked in the tests against R 4.2.2 with
TwoSampleMR 0.7.9, MendelianRandomization 0.10.0 (with robustbase 0.95-0 and glmnet 4.1-6), RadialMR
1.2.3 and mr.raps 0.4.2. `NOT_OFFERED` has every other function of the first two that estimates a slope,
tests or draws a figure.

The numbers of ``mr_two_sample_ml`` and ``mr_maxlik`` are those of their likelihood at its maximum. Both
packages look for it with Nelder and Mead's method, which stops before it where there are many
instruments.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pandas as pd

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
from kipoi_mcdropout.mr.estimators.multivariable import mr_multivariable
from kipoi_mcdropout.mr.estimators.radial import mr_egger_radial, mr_ivw_radial
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
    (_T, "mr_two_sample_ml"): mr_maxlik,
    (_T, "mr_ivw_radial"): mr_ivw_radial,
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
    (_M, "mr_lasso"): partial(mr_lasso, convention=_MR),
    (_M, "mr_lasso_tdist"): partial(mr_lasso, convention=_MR, distribution="t"),
    (_M, "mr_maxlik_random"): partial(mr_maxlik, convention=_MR),
    (_M, "mr_maxlik_fixed"): partial(mr_maxlik, convention=_MR, model="fixed"),
    (_M, "mr_maxlik_random_psi0.2"): partial(mr_maxlik, convention=_MR, psi=0.2),
    ("RadialMR", "ivw_radial_modified"): mr_ivw_radial,
    ("RadialMR", "ivw_radial_first_order"): partial(mr_ivw_radial, weights="first_order"),
    ("RadialMR", "ivw_radial_second_order"): partial(mr_ivw_radial, weights="second_order"),
    ("RadialMR", "ivw_radial_iterated"): partial(mr_ivw_radial, weights="iterated"),
    ("RadialMR", "egger_radial_modified"): mr_egger_radial,
    ("RadialMR", "egger_radial_first_order"): partial(mr_egger_radial, weights="first_order"),
    ("RadialMR", "egger_radial_second_order"): partial(mr_egger_radial, weights="second_order"),
}
R_MULTIVARIABLE: dict[tuple[str, str], Callable[..., pd.DataFrame]] = {
    (_M, "mr_mvivw"): mr_multivariable,
    (_M, "mr_mvegger"): partial(mr_multivariable, intercept=True),
}

_SIZES = "it needs the numbers of individuals that effects were measured in; draws are not individuals"
_LD = f"{_SIZES}, and correlations between individuals' genotypes"
_OTHERS = "mr_multivariable offers IVW and MR-Egger; groups of mutants show what does not fit"
_META = "a meta-analysis of the ratios: `combine` gives it from the table of wald_ratios"
_NOME = "it takes exposure effects as without error; {} takes their error into account"
_RUCKER = "it chooses between IVW and MR-Egger by Q alone; `answer` compares more methods"
_STEIGER = f"Steiger's test: {_SIZES}"
_MV = "it is multivariable IVW by other steps; mr_multivariable offers it"
_SELECT = "it selects among many exposures; name the exposures that are meant in mr_multivariable"
_MANY = "estimates() makes the table of several methods"
_TEST = "it is no estimate; {} gives the numbers"
_PLOT = "plots.{} draws it"
_FOREST = "it draws a line per mutant; plots.plot_mr_funnel shows hundreds"

NOT_OFFERED: dict[tuple[str, str], str] = {
    (_T, "mr_wald_ratio"): "it is for a single instrument; wald_ratios gives the ratio of each mutant",
    (_T, "mr_weighted_mode_nome"): _NOME.format("mr_weighted_mode"),
    (_T, "mr_simple_mode_nome"): _NOME.format("mr_simple_mode"),
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
    (_T, "mr_meta_fixed_simple"): _META,
    (_T, "mr_meta_fixed"): _META,
    (_T, "mr_meta_random"): _META,
    (_T, "mr_median"): "mr_simple_median and mr_weighted_median are its parts",
    (_T, "mr_mode"): "mr_simple_mode and mr_weighted_mode are its parts",
    (_T, "mr_rucker"): _RUCKER,
    (_T, "mr_rucker_bootstrap"): _RUCKER,
    (_T, "mr_rucker_jackknife"): _RUCKER,
    (_T, "mr_rucker_cooksdistance"): _RUCKER,
    (_T, "mr_moe"): "it chooses a method by a forest that was trained on data of genome-wide studies",
    (_T, "run_mr_presso"): "it calls the package MRPRESSO; export_mr writes its file, mrpresso.tsv",
    (_T, "run_mrmix"): "it calls the package MRMix, whose standard errors need numbers of individuals",
    (_T, "mr_steiger"): _STEIGER,
    (_T, "mr_steiger2"): _STEIGER,
    (_T, "mv_ivw"): _MV,
    (_T, "mv_basic"): _MV,
    (_T, "mv_multiple"): _MV,
    (_T, "mv_residual"): _MV,
    (_T, "mv_subset"): _SELECT,
    (_T, "mv_lasso_feature_selection"): _SELECT,
    (_T, "mr"): _MANY,
    (_T, "mr_wrapper"): _MANY,
    (_T, "mr_report"): "`kipoi mcdropout report` makes a report",
    (_T, "mr_heterogeneity"): _TEST.format("heterogeneity()"),
    (_T, "mr_pleiotropy_test"): _TEST.format("the intercept of mr_egger"),
    (_T, "mr_singlesnp"): _TEST.format("wald_ratios()"),
    (_T, "mr_leaveoneout"): _TEST.format("leave_one_out()"),
    (_T, "mr_scatter_plot"): _PLOT.format("plot_mr_scatter"),
    (_T, "mr_funnel_plot"): _PLOT.format("plot_mr_funnel"),
    (_T, "mr_leaveoneout_plot"): _PLOT.format("plot_mr_leave_one_out"),
    (_T, "mr_forest_plot"): _FOREST,
    (_T, "mr_density_plot"): "it draws the density of the ratios; plots.plot_mr_funnel shows each ratio",
    (_M, "mr_hetpen"): "it tries every subset of instruments, so it is for at most about 20 of them",
    (_M, "mr_pivw"): (
        "a debiased IVW for instruments so weak that its denominator is near 0; select stronger mutants"
    ),
    (_M, "mr_cML"): _SIZES,
    (_M, "mr_pcgmm"): _LD,
    (_M, "mr_clr"): "it is for instruments that are weak in a sample of individuals",
    (_M, "mr_mvmedian"): _OTHERS,
    (_M, "mr_mvlasso"): _OTHERS,
    (_M, "mr_mvivwme"): "its correction for noise needs correlations between exposures by individuals",
    (_M, "mr_mvgmm"): _SIZES,
    (_M, "mr_mvpcgmm"): _LD,
    (_M, "mr_mvcML"): _SIZES,
    (_M, "mr_allmethods"): _MANY,
    (_M, "mr_plot"): _PLOT.format("plot_mr_scatter"),
    (_M, "mr_forest"): _FOREST,
    (_M, "mr_funnel"): _PLOT.format("plot_mr_funnel"),
    (_M, "mr_loo"): _PLOT.format("plot_mr_leave_one_out"),
    ("others", "CAUSE, LCV, coloc"): (
        "they need association statistics of the whole genome and the correlation of genotypes (LD); a "
        "model has no population"
    ),
}
