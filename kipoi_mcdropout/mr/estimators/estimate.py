"""The record every method returns, and the tests and intervals in it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from kipoi_mcdropout.mr.estimators.convention import Convention
from kipoi_mcdropout.mr.pairs.instruments import Instruments, SeType

CI_LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """One causal estimate.

    Attributes
    ----------
    method, convention : str
        What was computed, and whose rules it follows.
    n_instruments : int
    estimate, se : float
        Slope: units of the outcome per unit of the exposure, and its standard error.
    ci_lower, ci_upper : float
        95 % interval.
    p : float
        Two-sided, of slope 0.
    distribution : str
        The distribution behind `p` and the interval, e.g. "normal" or "t(88)".
    intercept, intercept_se, intercept_p : float, optional
        MR-Egger's average direct (pleiotropic) effect.
    q, q_df, q_p, i2 : float, optional
        Cochran's Q of the residuals, its degrees of freedom, p, and I2 = max(0, (Q - df) / Q).
    residual_se : float, optional
        Residual standard error of the weighted regression; below 1 the instruments scatter less
        than their standard errors say.
    se_type : "sd", "mcse" or None
        What the standard errors of the instruments were.
    ci_parts : tuple of (lower, upper), optional
        The parts of an interval that has several; `ci_lower` and `ci_upper` are its outermost ends.
    valid : tuple of str, optional
        Names of the mutants that a method takes as valid.
    tau2 : float, optional
        Variance of direct effects on the outcome (overdispersion).
    psi : float, optional
        Of the contamination mixture: spread of invalid ratios.
    """

    method: str
    convention: Convention
    exposure: str
    outcome: str
    n_instruments: int
    estimate: float
    se: float
    ci_lower: float
    ci_upper: float
    p: float
    distribution: str
    intercept: float | None = None
    intercept_se: float | None = None
    intercept_p: float | None = None
    q: float | None = None
    q_df: int | None = None
    q_p: float | None = None
    i2: float | None = None
    residual_se: float | None = None
    se_type: SeType | None = None
    ci_parts: tuple[tuple[float, float], ...] | None = None
    valid: tuple[str, ...] | None = None
    tau2: float | None = None
    psi: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Fields by name, for a row of a table: `ci_parts` as a text, `n_valid` for the names."""
        row = asdict(self)
        valid, parts = row.pop("valid"), row.pop("ci_parts")
        several = parts is not None and len(parts) > 1
        row["ci_parts"] = "; ".join(f"{a:.6g} to {b:.6g}" for a, b in parts) if several else None
        row["n_valid"] = None if valid is None else len(valid)
        return row


def wald_test(estimate: float, se: float, df: int | None = None) -> tuple[float, float, float, str]:
    """Two-sided p, 95 % interval and the name of the distribution: normal, or t with `df`."""
    law = stats.norm() if df is None else stats.t(df)
    half = float(law.isf((1 - CI_LEVEL) / 2)) * se
    # An se of exactly 0 (a perfect fit) is a z of infinity, not a division error.
    z = np.divide(abs(estimate), se) if se > 0 else (np.inf if estimate else 0.0)
    name = "normal" if df is None else f"t({df})"
    return float(2 * law.sf(z)), estimate - half, estimate + half, name


def make_estimate(
    method: str,
    instruments: Instruments,
    convention: Convention,
    estimate: float,
    se: float,
    df: int | None = None,
    **more: Any,
) -> Estimate:
    """An Estimate with its Wald test; `more` overrides or adds fields."""
    p, lower, upper, name = wald_test(estimate, se, df)
    fields: dict[str, Any] = dict(p=p, ci_lower=lower, ci_upper=upper, distribution=name) | more
    return Estimate(
        method=method,
        convention=convention,
        exposure=instruments.exposure,
        outcome=instruments.outcome,
        n_instruments=len(instruments),
        estimate=float(estimate),
        se=float(se),
        se_type=instruments.se_type,
        **fields,
    )
