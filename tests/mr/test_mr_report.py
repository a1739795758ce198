"""Warnings, tables of several methods, several outcomes, several sequences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mr_data import from_draws, simulated
from scipy import optimize
from statsmodels.stats.multitest import multipletests

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr import (
    Instruments,
    combine,
    diagnose,
    estimates,
    i2_gx,
    leave_one_out,
    mr_across_sequences,
    mr_bootstrap,
    mr_egger,
    mr_ivw,
    mr_multiple,
    select_instruments,
)
from kipoi_mcdropout.mr.p_values import LEAST_P
from kipoi_mcdropout.reports.numbers import p_value


def codes(instruments: Instruments, **options: Any) -> set[str]:
    return {d.code for d in diagnose(instruments, **options)}


def strong(n: int = 20, n_draws: int = 100, seed: int = 0, **more: Any) -> Instruments:
    """Instruments that nothing can be said against."""
    rng = np.random.default_rng(seed)
    effect = rng.uniform(0.5, 3, n) * rng.choice([-1, 1], n)
    x = effect + 0.05 * rng.normal(size=(n_draws, n))
    y = 0.5 * effect + 0.05 * rng.normal(size=(n_draws, n))
    return from_draws(x, y, **more)


def test_no_warning_without_a_reason() -> None:
    assert diagnose(strong()) == []


def message(instruments: Instruments, code: str) -> str:
    (found,) = [d.message for d in diagnose(instruments) if d.code == code]
    return found


def test_weak_instruments_and_low_i2() -> None:
    weak = simulated(n=30, n_draws=100)
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, 30) + 1.5 * rng.normal(size=(100, 30))
    weak = from_draws(x, 0.5 * x)
    assert {"weak_instruments", "low_i2_gx"} <= codes(weak)
    assert "mean F is" in message(weak, "weak_instruments")
    # the same draws are plenty, and mcse says so
    assert "weak_instruments" not in codes(weak.with_se_type("mcse"))


def test_few_instruments() -> None:
    assert "few_instruments" in codes(strong(n=9))
    assert "few_instruments" not in codes(strong(n=10))


def test_zero_variance_rows_are_counted() -> None:
    one = strong()
    x = one.draws_exposure.copy()  # type: ignore[union-attr]
    x[:, 3] = 1.0
    found = from_draws(x, one.draws_outcome)  # type: ignore[arg-type]
    assert "1 of 20 mutants have the same effect in every draw" in message(found, "zero_variance")
    assert "first: m3" in message(found, "zero_variance")


def test_more_instruments_than_draws_are_told_where_it_matters() -> None:
    assert "more_than_draws" in codes(strong(n=40, n_draws=40), correlated=True)
    assert "more_than_draws" not in codes(strong(n=39, n_draws=40), correlated=True)
    many = strong(n=60, n_draws=40)
    told = {d.code: d.message for d in diagnose(many, correlated=True)}["more_than_draws"]
    assert "Select at most 39 instruments, run 21 more draws" in told
    assert "more_than_draws" not in codes(many)
    assert "more_than_draws" not in estimates(many, ["ivw"])["warnings"][0]
    assert "more_than_draws" in estimates(many, ["ivw", "ivw_correlated"])["warnings"][0]


def test_p_values_of_formulas_for_independent_mutants_are_left_out_where_they_share_draws() -> None:
    shared = strong(n=30)
    names = ["ivw", "egger", "ivw_bootstrap_both"]
    table = estimates(shared, names).set_index("method")
    assert table.loc[["ivw", "egger"], ["p", "q_p", "intercept_p"]].isna().all(axis=None)
    assert table.loc["ivw_bootstrap_both", "p"] == pytest.approx(
        max(1e-300, mr_bootstrap(shared, "ivw", resample="both").p), rel=1e-9
    )
    alone = Instruments(**{n: v for n, v in fields_of(shared).items() if n != "correlation"})
    table = estimates(alone, ["ivw", "egger"]).set_index("method")
    assert table.loc["ivw", "p"] == max(1e-300, mr_ivw(alone).p)
    assert table.loc["egger", "intercept_p"] == mr_egger(alone).intercept_p
    assert leave_one_out(shared)["p"].isna().all()
    assert leave_one_out(alone)["p"].notna().all()


def test_no_p_in_a_table_is_0() -> None:
    sure = Instruments(
        snp=np.arange(3).astype(str), beta_exposure=[1.0, 2.0, 3.0], se_exposure=[0.1] * 3,
        beta_outcome=[1.0, 2.1, 2.9], se_outcome=[0.001] * 3,
    )  # fmt: skip
    assert mr_ivw(sure, model="fixed").p == 0
    (p,) = estimates(sure, ["ivw_fixed"])["p"]
    assert p == LEAST_P
    assert p_value(p) == "< 1e-300"


def test_a_correlation_over_few_draws_is_told_where_it_is_used() -> None:
    few, many = strong(n=20, n_draws=199), strong(n=20, n_draws=200)
    assert codes(few) == codes(many) == codes(many, correlated=True) == set()
    assert codes(few, correlated=True) == {"noisy_correlation"}
    assert (estimates(few, ["egger_correlated"])["warnings"] == "noisy_correlation").all()
    assert (estimates(few, ["egger"])["warnings"] == "").all()
    given_matrix = few.without_draws().take(np.arange(20))
    assert codes(Instruments(**fields_of(given_matrix)), correlated=True) == set()


def fields_of(one: Instruments) -> dict[str, Any]:
    names = ("snp", "beta_exposure", "se_exposure", "beta_outcome", "se_outcome")
    return {n: getattr(one, n) for n in names} | {"correlation": np.eye(len(one))}


def test_how_many_more_draws_for_a_small_mcse() -> None:
    assert "mcse_large" not in codes(strong(n_draws=25))
    assert "for 20 % run 9 more draws (25 in all)" in message(strong(n_draws=16), "mcse_large").replace(
        "For", "for"
    )


@pytest.mark.parametrize("convention", ["twosamplemr", "mendelianrandomization"])
def test_the_number_of_draws_that_mcse_flattens_asks_for_is_right(convention: Any) -> None:
    rng = np.random.default_rng(0)
    effect = rng.uniform(0.5, 1.5, 40)
    noise = 3 * rng.normal(size=(30, 40))
    few = from_draws(effect + noise, 0.5 * effect + noise)
    (told,) = [d for d in diagnose(few, convention=convention) if d.code == "mcse_flattens"]
    needed = int(told.message.split(" in all")[0].split("(")[-1])
    mcse = few.with_se_type("mcse")

    def with_draws(n_draws: float) -> float:
        scale = np.sqrt(30 / n_draws)
        more = Instruments(
            snp=few.snp,
            beta_exposure=few.beta_exposure,
            se_exposure=mcse.se_exposure * scale,
            beta_outcome=few.beta_outcome,
            se_outcome=mcse.se_outcome * scale,
        )
        return i2_gx(more, convention=convention)

    assert with_draws(needed - 1) < 0.9 <= with_draws(needed) + 1e-12


def test_scatter_that_draws_do_not_explain() -> None:
    one = strong()
    kinked = one.draws_outcome + np.where(np.arange(20) % 2, 0.3, -0.3)  # type: ignore[operator]
    bad = from_draws(one.draws_exposure, kinked)  # type: ignore[arg-type]
    assert codes(bad) == {"scatter_beyond_draws"}
    assert "look at the groups of mutations" in message(bad, "scatter_beyond_draws")
    assert "on 18 df, p < 1e-300)" in message(bad, "scatter_beyond_draws")


def test_selection_on_the_draws_that_estimate_is_told() -> None:
    assert "unsplit_selection" in codes(select_instruments(strong(), min_z=1))
    assert "unsplit_selection" not in codes(select_instruments(strong(), min_z=1, select_draws="half"))


def test_report_has_a_row_a_method_with_its_convention_and_warnings() -> None:
    one = strong(n=9)
    table = estimates(one, n_bootstrap=50, convention="mendelianrandomization")
    assert table["method"].tolist() == [
        "ivw_bootstrap_draws",
        "ivw_bootstrap_both",
        "ivw_robust_bootstrap_both",
        "egger_bootstrap_both",
        "conmix_bootstrap_both",
        "weighted_median_bootstrap_both",
        "weighted_mode_bootstrap_both",
        "ivw",
        "ivw_robust",
        "egger",
        "conmix",
        "weighted_median",
        "weighted_mode",
    ]
    assert (table["convention"] == "mendelianrandomization").all()
    assert (table["warnings"] == "few_instruments").all()
    assert table.attrs["warnings"][0][0] == "few_instruments"
    assert set(table["answer"]) == {"too_few"}
    assert (table["note"] == "").all()
    egger = table.set_index("method").loc["egger"]
    assert egger["estimate"] == mr_egger(one).estimate
    assert egger["distribution"] == "normal"
    assert egger["i2_gx"] == i2_gx(one, convention="mendelianrandomization")
    first = mr_bootstrap(one, "ivw", n_bootstrap=50)
    assert table["se"][0] == first.se
    summaries = estimates(one.without_draws(), n_bootstrap=50)
    assert summaries["method"].tolist() == table["method"].tolist()[7:]


def test_report_says_why_a_method_gave_nothing() -> None:
    two = strong().take([0, 1])
    table = estimates(two, ["egger", "ivw"]).set_index("method")
    assert "at least 3 instruments" in table.loc["egger", "note"]
    assert np.isnan(table.loc["egger", "estimate"])
    assert table.loc["ivw", "estimate"] == mr_ivw(two).estimate
    with pytest.raises(InputError, match="requires at least"):
        estimates(strong().take([0]))
    with pytest.raises(InputError, match="methods must be among"):
        estimates(two, ["egger", "anova"])
    with pytest.raises(InputError, match="methods must be among"):
        estimates(two, [])
    with pytest.raises(InputError, match="convention"):
        estimates(two, convention="r")  # type: ignore[arg-type]


def test_several_outcomes_get_q_values_within_each_method(tmp_path: Path) -> None:
    many = [strong(seed=s, outcome=f"y{s}", exposure="x") for s in range(4)]
    many.append(strong(seed=9, outcome="short", exposure="x").take([0, 1]))
    methods = [f"{name}_bootstrap_both" for name in ("egger", "ivw")]
    table = mr_multiple(many, methods, n_bootstrap=200)
    assert len(table) == 10
    for method, n in zip(methods, (4, 5), strict=True):
        rows = table[(table["method"] == method) & table["p"].notna()]
        assert len(rows) == n
        expected = multipletests(rows["p"], method="fdr_bh")[1]
        np.testing.assert_allclose(rows["q_value"], expected)
    assert table.loc[table["note"] != "", "q_value"].isna().all()
    assert ("x", "short", "few_instruments") in [w[:3] for w in table.attrs["warnings"]]
    table.to_parquet(tmp_path / "t.parquet")  # attrs go into a file too
    with pytest.raises(InputError, match="different pairs"):
        mr_multiple([many[0], many[0]])
    with pytest.raises(InputError, match="different pairs"):
        mr_multiple([])


def test_sequences_are_estimated_apart_and_combined() -> None:
    one = strong(n=40, sequence=np.repeat(["a", "b", "c", "d"], [15, 15, 8, 2]))
    result = mr_across_sequences(one, "egger", meta_method="DL")
    table = result.table.set_index("sequence")
    assert table.loc["b", "estimate"] == mr_egger(one.take(np.arange(15, 30))).estimate
    assert "at least 3 instruments" in table.loc["d", "note"]
    expected = combine(table["estimate"][:3], table["se"][:3], "DL")
    assert result.combined == expected
    assert expected.k == 3
    with pytest.raises(InputError, match="at least 2 sequences with an estimate; 1 of 2"):
        mr_across_sequences(one.take([0, 1, 2, 3, 38, 39]))
    with pytest.raises(InputError, match="method must be one of"):
        mr_across_sequences(one, "anova")


def test_meta_analysis_of_equal_studies_and_of_no_spread() -> None:
    result = combine([1.0, 1.0, 1.0, 1.0], [0.2, 0.2, 0.2, 0.2])
    assert result.estimate == pytest.approx(1.0)
    assert result.se == pytest.approx(0.1)
    assert (result.tau2, result.q, result.i2) == (0.0, pytest.approx(0), 0.0)
    assert result.pi_upper - 1.0 == pytest.approx(4.302653 * 0.1, rel=1e-6)  # t(2)


def test_reml_of_studies_of_one_precision_is_the_sample_variance() -> None:
    y = np.array([0.3, 1.9, 0.4, 1.2, -0.5])
    for method in ("REML", "DL"):
        result = combine(y, np.full(5, 0.3), method)  # type: ignore[arg-type]
        assert result.tau2 == pytest.approx(y.var(ddof=1) - 0.09)
        assert result.estimate == pytest.approx(y.mean())
        assert result.i2 == pytest.approx(result.tau2 / (result.tau2 + 0.09))


def test_reml_is_the_peak_of_the_likelihood_where_full_steps_jump_over_it() -> None:
    rng = np.random.default_rng(2641)
    k = int(rng.integers(3, 30))
    se = np.exp(rng.normal(-3, 2, k))  # from 0.001 to 3
    y = 1 + rng.normal(size=k) * np.hypot(se, 0.1 * rng.integers(2))

    def minus_twice_log_likelihood(tau2: float) -> float:
        v = se**2 + tau2
        mean = np.average(y, weights=1 / v)
        return float(np.log(v).sum() + np.log((1 / v).sum()) + ((y - mean) ** 2 / v).sum())

    peak = optimize.minimize_scalar(
        minus_twice_log_likelihood, bounds=(0, 1e-3), method="bounded", options={"xatol": 1e-12}
    )
    assert combine(y, se).tau2 == pytest.approx(peak.x, rel=1e-4)


def test_prediction_interval_needs_three_studies() -> None:
    assert np.isnan(combine([1.0, 2.0], [0.1, 0.1]).pi_lower)
    assert np.isnan(combine([1.0, 2.0, 3.0], [0.1, 0.1, 0.1], "FE").pi_lower)


@pytest.mark.parametrize(
    ("estimates", "se", "method"),
    [
        ([1.0], [0.1], "DL"),
        ([1.0, 2.0], [0.1], "DL"),
        ([1.0, np.nan], [0.1, 0.1], "DL"),
        ([1.0, 2.0], [0.1, 0.0], "DL"),
        ([1.0, 2.0], [0.1, 0.1], "SJ"),
    ],
)
def test_bad_meta_analyses_are_refused(estimates: Any, se: Any, method: Any) -> None:
    with pytest.raises(InputError):
        combine(estimates, se, method)


def test_combining_a_table_requires_its_columns() -> None:
    from kipoi_mcdropout.mr.estimators.meta import combine_table

    with pytest.raises(InputError, match=r"missing \['se'\]"):
        combine_table(pd.DataFrame({"estimate": [1.0, 2.0]}))
