"""MR-Egger regression (Bowden, Davey Smith and Burgess, Int J Epidemiol 2015)."""

from __future__ import annotations

from typing import Any, Literal

from scipy import stats

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr.estimators.convention import Convention, check_convention
from kipoi_mcdropout.mr.estimators.estimate import CI_LEVEL, Estimate, make_estimate, wald_test
from kipoi_mcdropout.mr.estimators.regression import Fit, fit_effects
from kipoi_mcdropout.mr.pairs.instruments import Instruments

Distribution = Literal["normal", "t"]


def mr_egger(
    instruments: Instruments,
    *,
    convention: Convention = "twosamplemr",
    distribution: Distribution | None = None,
    correlated: bool = False,
) -> Estimate:
    """Slope and intercept of outcome effects on exposure effects, weighted by 1 / se_outcome**2.

    Instruments, and their correlation, are first oriented to positive exposure effects. So the result
    does not depend on which allele is the effect allele.

    Parameters
    ----------
    instruments : Instruments
    convention : "twosamplemr" or "mendelianrandomization"
        Default distribution: t(n - 2) of the former, normal of the latter.
    distribution : "normal" or "t", optional
        Overrides that default. With "t" and the latter convention, a residual standard error below
        1 is handled as there: the wider of the normal test with a residual se of 1 and the t test
        with the estimated one.
    correlated : bool
        Generalised least squares with the correlation of the outcome effects (Burgess, Dudbridge
        and Thompson, Stat Med 2016). A correlation over draws should have at least 10 times as many
        draws as instruments: with fewer its inverse gives intervals that are too short.

    Raises
    ------
    InputError
        Fewer than 3 instruments, all exposure effects equal, or no correlation where one is needed.

    Notes
    -----
    MR-Egger assumes that instruments are independent (or have the given correlation) and that exposure
    effects have no error. For mutants of one sequence neither is true; the bootstrap over draws does not
    need the first assumption.
    """
    check_convention(convention)
    if distribution not in (None, "normal", "t"):
        raise InputError(f"distribution must be 'normal' or 't'; got {distribution!r}.")
    used = instruments.kept(3, "MR-Egger").oriented()
    if (used.beta_exposure == used.beta_exposure[0]).all():
        raise InputError(
            "MR-Egger requires exposure effects that differ; all have the size "
            f"{used.beta_exposure[0]:.6g}, so slope and intercept cannot both be estimated. Use IVW."
        )
    fit = fit_effects(used, intercept=True, correlated=correlated)
    law = distribution or ("t" if convention == "twosamplemr" else "normal")
    return make_estimate(
        "egger_correlated" if correlated else "egger",
        used,
        convention,
        fit.coefficients[1],
        fit.se[1],
        intercept=float(fit.coefficients[0]),
        intercept_se=float(fit.se[0]),
        intercept_p=_test(fit, 0, law, convention)["p"],
        **_test(fit, 1, law, convention),
        **fit.q_statistics(),
    )


def _test(fit: Fit, which: int, law: str, convention: Convention) -> dict[str, Any]:
    estimate, se = float(fit.coefficients[which]), float(fit.se[which])
    p, lower, upper, name = wald_test(estimate, se, fit.df if law == "t" else None)
    if law == "t" and convention == "mendelianrandomization" and fit.residual_se < 1:
        normal_p, normal_lower, normal_upper, _ = wald_test(estimate, se)
        shrunk = se * fit.residual_se
        half = float(stats.t.isf((1 - CI_LEVEL) / 2, fit.df)) * shrunk
        p = max(normal_p, wald_test(estimate, shrunk, fit.df)[0])
        lower, upper = min(normal_lower, estimate - half), max(normal_upper, estimate + half)
        name = f"wider of normal and t({fit.df})"
    return {"p": p, "ci_lower": lower, "ci_upper": upper, "distribution": name}
