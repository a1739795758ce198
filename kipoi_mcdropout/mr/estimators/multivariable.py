"""Multivariable Mendelian randomization: the direct effect of each of several exposures.

IVW and MR-Egger with several exposures at once (Burgess and Thompson, Am J Epidemiol 2015; Rees, Wood
and Burgess, Stat Med 2017). A mutant that changes the outcome through a second exposure too is then no
longer invalid: in the example HNF4A beside FOXA2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.regression.linear_model import WLS

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr.estimators.estimate import wald_test
from kipoi_mcdropout.mr.estimators.resampling import draw_shares
from kipoi_mcdropout.mr.pairs.instruments import Instruments


def mr_multivariable(
    exposures: Sequence[Instruments],
    *,
    intercept: bool = False,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Direct effects of several exposures on one outcome, with the numbers of MendelianRandomization.

    Parameters
    ----------
    exposures : sequence of Instruments
        The same mutants and outcome, an exposure each. The mutants that the first one keeps are used.
    intercept : bool
        MR-Egger instead of IVW; mutants are oriented to positive effects on the first exposure.
    n_bootstrap, seed : int
        Of the bootstrap over draws, where all have draws.

    Returns
    -------
    DataFrame
        A row per exposure: method ("mv_ivw" or "mv_egger"), exposure, outcome, n_instruments, estimate,
        se, ci_lower, ci_upper, p (normal; se never below that of a residual standard error of 1), then
        draws_ci_lower and draws_ci_upper (bootstrap over draws, bias-corrected; NaN without draws),
        intercept, intercept_se, q, q_df, q_p.

    Raises
    ------
    InputError
        Fewer than 2 exposures, different mutants or outcomes, too few mutants, or exposures whose
        effects are proportional to each other.
    """
    used = _aligned(exposures)
    first = used[0]
    x = np.column_stack([i.beta_exposure for i in used])
    y, sy = first.beta_outcome, first.se_outcome
    sign = np.where(x[:, 0] < 0, -1.0, 1.0) if intercept else np.ones(len(y))
    x, y = x * sign[:, None], y * sign
    design = np.column_stack([np.ones(len(y)), x]) if intercept else x
    if len(y) <= design.shape[1]:
        raise InputError(
            f"{design.shape[1]} coefficients require more instruments than that; got {len(y)}."
        )
    if np.linalg.matrix_rank(design / sy[:, None], tol=1e-8 * np.abs(design / sy[:, None]).max()) < (
        design.shape[1]
    ):
        raise InputError(
            "the effects on the exposures are proportional to each other, so their direct effects "
            "cannot be told apart. Use mutants of more kinds, or fewer exposures."
        )
    fit = WLS(y, design, weights=sy**-2.0).fit()
    residual_se = float(np.sqrt(fit.scale))
    se = np.sqrt(np.diag(fit.normalized_cov_params)) * max(1.0, residual_se)
    start = int(intercept)
    draws = _draws_intervals(used, sign, design.shape[1], np.asarray(fit.params), n_bootstrap, seed)
    q = float(fit.scale * fit.df_resid)
    rows: list[dict[str, Any]] = []
    for k, one in enumerate(used):
        estimate = float(fit.params[start + k])
        p, lower, upper, _ = wald_test(estimate, float(se[start + k]))
        rows.append(
            {
                "method": "mv_egger" if intercept else "mv_ivw",
                "exposure": one.exposure,
                "outcome": one.outcome,
                "n_instruments": len(one),
                "estimate": estimate,
                "se": float(se[start + k]),
                "ci_lower": lower,
                "ci_upper": upper,
                "p": p,
                "draws_ci_lower": draws[0][start + k],
                "draws_ci_upper": draws[1][start + k],
                "intercept": float(fit.params[0]) if intercept else None,
                "intercept_se": float(se[0]) if intercept else None,
                "q": q,
                "q_df": int(fit.df_resid),
                "q_p": float(stats.chi2.sf(q, fit.df_resid)),
            }
        )
    table: pd.DataFrame = pd.DataFrame(rows)
    return table


def _aligned(exposures: Sequence[Instruments]) -> list[Instruments]:
    if len(exposures) < 2:
        raise InputError(f"multivariable MR requires at least 2 exposures; got {len(exposures)}.")
    first = exposures[0]
    names = [i.exposure for i in exposures]
    if len({*names, first.outcome}) < len(names) + 1:
        raise InputError(f"different exposures are required, and another outcome; got {names}.")
    for other in exposures[1:]:
        if not np.array_equal(other.snp, first.snp) or other.outcome != first.outcome:
            raise InputError(
                f"the same mutants and outcome are required for all exposures; those of "
                f"{other.exposure} differ from those of {first.exposure}. Take all from one result."
            )
    rows = np.flatnonzero(first.mr_keep)
    first.kept(3, "multivariable MR")
    return [i.take(rows) for i in exposures]


def _draws_intervals(
    used: list[Instruments],
    sign: FloatArray,
    n_coefficients: int,
    estimate: FloatArray,
    n_bootstrap: int,
    seed: int,
) -> tuple[FloatArray, FloatArray]:
    """Bias-corrected normal intervals of all coefficients from a bootstrap over draws."""
    nothing = np.full(n_coefficients, np.nan)
    first = used[0]
    draws = [i.draws_exposure for i in used if i.draws_exposure is not None]
    outcome = first.draws_outcome
    if len(draws) < len(used) or outcome is None:
        return nothing, nothing
    root = 1 / first.se_outcome
    found = []
    for share in draw_shares(first, n_bootstrap, seed):
        x = np.stack([share @ of_exposure for of_exposure in draws], axis=-1)
        y = share @ outcome
        turn = sign
        if n_coefficients > len(used):
            turn = np.where(x[..., 0] < 0, -1.0, 1.0)
            x = np.concatenate([turn[..., None], x], axis=-1)  # turned below, like the effects
        x, y = x * (root * turn)[..., None], y * root * turn
        left = np.swapaxes(x, 1, 2)
        found.append(np.linalg.solve(left @ x, left @ y[..., None])[..., 0])
    replicates = np.concatenate(found)
    ends = [
        wald_test(2 * e - float(r.mean()), float(r.std(ddof=1)))[1:3]
        for e, r in zip(estimate.tolist(), replicates.T, strict=True)
    ]
    return np.array([low for low, _ in ends]), np.array([high for _, high in ends])
