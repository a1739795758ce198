"""Names of the statistics of effects, as they stand in every file and table."""

from __future__ import annotations

REFERENCE_STATISTICS = ("ref_mean", "ref_var", "ref_point")
MUTANT_STATISTICS = (
    "alt_mean", "alt_var", "alt_point", "ref_alt_cov",
    "effect_mean", "effect_sd", "effect_mcse", "effect_point", "prob_positive",
)  # fmt: skip
# Where the model has several members: the parts of a variance or sd within and between them.
MEMBER_REFERENCE_STATISTICS = ("ref_var_within", "ref_var_between")
MEMBER_STATISTICS = (
    "alt_var_within", "alt_var_between", "effect_sd_within", "effect_sd_between", "sign_agreement",
)  # fmt: skip
# Where there is a background: how an effect compares with effects that mean nothing.
BACKGROUND_STATISTICS = (
    "p_empirical", "p_empirical_signed", "percentile", "percentile_signed", "percentile_sd",
    "percentile_signed_sd", "sign_probability", "sign_probability_mcse",
)  # fmt: skip
P_EMPIRICAL, Q_EMPIRICAL = "p_empirical", "q_empirical"
OF_EACH = ("effect_draws", "effect_member_mean")  # a number for each draw or member: in HDF5 alone
COUNTS = ("n_nonfinite", "n_saturated")
# Relative precision of a model that computes less precisely than float32; others have no such column.
OUTPUT_EPS = "output_eps"
# Where there is a calibration, and where effects are shrunken.
INTERVAL_STATISTICS = ("ci_lower", "ci_upper", "sign_probability_calibrated")
SHRINKAGE_STATISTICS = ("effect_posterior", "lfsr")


def quantile_name(q: float) -> str:
    """Column name of a quantile, e.g. effect_q0.05."""
    return f"effect_q{q:g}"
