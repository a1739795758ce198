"""Mendelian randomization with mutants as instruments: effects of one model output on another.

``instruments(effects, exposure, outcome)`` takes what `ism` or `score_variants` has given, and
``estimates`` makes a table of slopes by several methods of it.

Input
-----
`instruments_from_table` takes a tidy DataFrame with one row per mutant and model output:

| column | dtype | what |
|---|---|---|
| sequence | str | name of the sequence the mutant is in; may be left out if `chrom` is there |
| chrom | str | contig; may be left out, or empty, if `sequence` is there |
| position | int | of the mutant, in bp; only differences are used, so the coordinate base does not
matter |
| ref, alt | str | alleles; the effect is that of alt against ref |
| output | str | name of the model output |
| effect_mean | float | mean effect over draws |
| effect_sd | float | standard deviation over draws (ddof=1): the model's uncertainty |
| effect_mcse | float | effect_sd / sqrt(n_draws): the Monte Carlo error of the mean |
| n_draws | int | number of draws, the same for both outputs of a mutant |
| score | str | optional; scores without a sign are refused |

and, for the bootstrap and the correlated methods, an array of the effects of each draw, shape=(n_draws,
rows), with a column per row of the table. `Instruments` takes plain arrays.

Then: `select_instruments`, `answer` for the number to show first (or why there is none), one of the
``mr_*`` methods or `estimates` for a table of several, `find_groups` for groups of mutants with one
ratio, `diagnose` for reasons to doubt the estimates, `export_mr` for R.

sd or mcse
----------
The default is the sd: F and Q then measure effects against the model's uncertainty. The slopes of
MR-Egger, IVW, medians and modes are the same with both; standard errors, F, I2_GX and Q differ. F with
the mcse is n_draws times F with the sd. See `kipoi_mcdropout.mr.estimators.bootstrap` for the meaning of
the intervals. No method is right by itself: see `answer`.

Direction
---------
Steiger's test is not offered. It compares the variance that instruments explain in exposure and outcome,
given the number of individuals each was measured in. Here there are no individuals. With the number of
draws in their place, any difference becomes significant with enough draws. The test would compare how
noisy two outputs of one network are, which says nothing about the direction. Estimate the other
direction with ``instruments.reversed()`` and compare intercepts and heterogeneity instead.
"""

from __future__ import annotations

from kipoi_mcdropout.mr.checks.diagnose import Diagnosis, diagnose
from kipoi_mcdropout.mr.checks.heterogeneity import heterogeneity
from kipoi_mcdropout.mr.checks.leave_one_out import leave_one_out
from kipoi_mcdropout.mr.checks.strength import f_statistics, i2_gx, mean_f
from kipoi_mcdropout.mr.estimate_table import estimates
from kipoi_mcdropout.mr.estimators.across_sequences import SequencesResult, mr_across_sequences
from kipoi_mcdropout.mr.estimators.bootstrap import bootstrap_estimates, draw_slopes, mr_bootstrap
from kipoi_mcdropout.mr.estimators.conmix import mr_conmix
from kipoi_mcdropout.mr.estimators.convention import CONVENTIONS, Convention
from kipoi_mcdropout.mr.estimators.debiased_ivw import mr_debiased_ivw
from kipoi_mcdropout.mr.estimators.egger import mr_egger
from kipoi_mcdropout.mr.estimators.estimate import Estimate
from kipoi_mcdropout.mr.estimators.ivw import error_correlation, mr_ivw
from kipoi_mcdropout.mr.estimators.lasso import mr_lasso
from kipoi_mcdropout.mr.estimators.maxlik import mr_maxlik
from kipoi_mcdropout.mr.estimators.median import mr_simple_median, mr_weighted_median
from kipoi_mcdropout.mr.estimators.meta import MetaResult, combine
from kipoi_mcdropout.mr.estimators.methods import METHODS, mr_estimate
from kipoi_mcdropout.mr.estimators.mode import mr_simple_mode, mr_weighted_mode
from kipoi_mcdropout.mr.estimators.multiple import mr_multiple
from kipoi_mcdropout.mr.estimators.multivariable import mr_multivariable
from kipoi_mcdropout.mr.estimators.r_methods import NOT_OFFERED, R_EQUIVALENTS, R_MULTIVARIABLE
from kipoi_mcdropout.mr.estimators.radial import mr_egger_radial, mr_ivw_radial, radial_parts
from kipoi_mcdropout.mr.estimators.raps import mr_raps
from kipoi_mcdropout.mr.estimators.ratio import wald_ratios
from kipoi_mcdropout.mr.estimators.robust import mr_egger_robust, mr_ivw_robust
from kipoi_mcdropout.mr.export.files import export_mr
from kipoi_mcdropout.mr.groups.answer import Answer, answer
from kipoi_mcdropout.mr.groups.find import Group, Groups, find_groups
from kipoi_mcdropout.mr.pairs.correlation import (
    correlation_of_draws,
    covariance_of_draws,
    outcome_correlation,
)
from kipoi_mcdropout.mr.pairs.from_effects import instruments
from kipoi_mcdropout.mr.pairs.instruments import Instruments
from kipoi_mcdropout.mr.pairs.selection import select_instruments
from kipoi_mcdropout.mr.pairs.table import instruments_from_table

__all__ = [
    "CONVENTIONS",
    "METHODS",
    "NOT_OFFERED",
    "R_EQUIVALENTS",
    "R_MULTIVARIABLE",
    "Answer",
    "Convention",
    "Diagnosis",
    "Estimate",
    "Group",
    "Groups",
    "Instruments",
    "MetaResult",
    "SequencesResult",
    "answer",
    "bootstrap_estimates",
    "combine",
    "correlation_of_draws",
    "covariance_of_draws",
    "diagnose",
    "draw_slopes",
    "error_correlation",
    "estimates",
    "export_mr",
    "f_statistics",
    "find_groups",
    "heterogeneity",
    "i2_gx",
    "instruments",
    "instruments_from_table",
    "leave_one_out",
    "mean_f",
    "mr_across_sequences",
    "mr_bootstrap",
    "mr_conmix",
    "mr_debiased_ivw",
    "mr_egger",
    "mr_egger_radial",
    "mr_egger_robust",
    "mr_estimate",
    "mr_ivw",
    "mr_ivw_radial",
    "mr_ivw_robust",
    "mr_lasso",
    "mr_maxlik",
    "mr_multiple",
    "mr_multivariable",
    "mr_raps",
    "mr_simple_median",
    "mr_simple_mode",
    "mr_weighted_median",
    "mr_weighted_mode",
    "outcome_correlation",
    "radial_parts",
    "select_instruments",
    "wald_ratios",
]
