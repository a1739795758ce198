"""Names of the statistics of effects, as they stand in every file and table."""

from __future__ import annotations

REFERENCE_STATISTICS = ("ref_mean", "ref_var", "ref_point")
MUTANT_STATISTICS = (
    "alt_mean", "alt_var", "alt_point", "ref_alt_cov",
    "effect_mean", "effect_sd", "effect_mcse", "effect_point", "prob_positive",
)  # fmt: skip
COUNTS = ("n_nonfinite", "n_saturated")
# Relative precision of a model that computes less precisely than float32; others have no such column.
OUTPUT_EPS = "output_eps"


def quantile_name(q: float) -> str:
    """Column name of a quantile, e.g. effect_q0.05."""
    return f"effect_q{q:g}"
