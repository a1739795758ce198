"""Weighted regression of outcome effects on exposure effects, with or without correlation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.regression.linear_model import GLS, WLS

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.mr.pairs.correlation import outcome_correlation
from kipoi_mcdropout.mr.pairs.instruments import Instruments


@dataclass(frozen=True)
class Fit:
    """Coefficients with their standard errors for a residual standard error of 1."""

    coefficients: FloatArray
    unit_se: FloatArray
    residual_se: float
    df: int

    @property
    def se(self) -> FloatArray:
        """Random-effects standard errors, never below the fixed: se / min(1, residual_se)."""
        return self.unit_se * max(1.0, self.residual_se)

    def q_statistics(self) -> dict[str, Any]:
        """Cochran's Q of the residuals with its degrees of freedom, p and I2."""
        q = self.residual_se**2 * self.df
        return {
            "q": q,
            "q_df": self.df,
            "q_p": float(stats.chi2.sf(q, self.df)),
            "i2": max(0.0, (q - self.df) / q) if q > 0 else 0.0,
            "residual_se": self.residual_se,
        }


def fit_effects(
    instruments: Instruments,
    *,
    intercept: bool,
    correlated: bool = False,
    variance: NDArray[np.float64] | None = None,
) -> Fit:
    """Regress outcome effects on exposure effects, weighted by the inverse variance of the outcome.

    Parameters
    ----------
    instruments : Instruments
        Rows to use, oriented where an intercept is fitted.
    intercept : bool
    correlated : bool
        Generalised least squares with the correlation of the outcome effects.
    variance : array, shape=(n,), optional
        Residual variances; by default se_outcome**2.
    """
    y, x = instruments.beta_outcome, instruments.beta_exposure
    design = np.column_stack([np.ones_like(x), x]) if intercept else x[:, None]
    if correlated:
        se = instruments.se_outcome
        model = GLS(y, design, sigma=outcome_correlation(instruments) * np.outer(se, se))
    else:
        model = WLS(y, design, weights=1 / (instruments.se_outcome**2 if variance is None else variance))
    result = model.fit()
    return Fit(
        coefficients=np.asarray(result.params),
        unit_se=np.sqrt(np.diag(result.normalized_cov_params)),
        residual_se=float(np.sqrt(result.scale)),
        df=int(result.df_resid),
    )
