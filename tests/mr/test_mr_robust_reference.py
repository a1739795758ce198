"""Robust methods against the numbers of R packages: `data/make_robust.R` wrote them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mr_data import DATA

from kipoi_mcdropout.mr import (
    NOT_OFFERED,
    R_EQUIVALENTS,
    R_MULTIVARIABLE,
    Instruments,
    mr_conmix,
    mr_maxlik,
    mr_raps,
    radial_parts,
)

TABLE = pd.read_table(DATA / "expected_robust.tsv", comment="#")
DATASETS = list(dict.fromkeys(TABLE["dataset"]))
PENALISED = ["mr_ivw_robust", "mr_ivw_penalized", "mr_ivw_penalized_robust"]
PENALISED += [name.replace("ivw", "egger") for name in PENALISED]
FIELDS = {"estimate": 1e-6, "se": 1e-6, "residual_se": 1e-6, "intercept": 1e-6, "intercept_se": 1e-6}

# What the packages export that fits, tests or draws: the lines export(mr...), export(mv...) and
# export(run_mr...) of NAMESPACE of TwoSampleMR 0.7.9, without mr_method_list and what reads the data of
# multivariable MR, and of MendelianRandomization 0.10.0, without mr_input and mr_mvinput.
TWOSAMPLEMR = (
    "mr", "mr_density_plot", "mr_egger_regression", "mr_egger_regression_bootstrap", "mr_forest_plot",
    "mr_funnel_plot", "mr_grip", "mr_heterogeneity", "mr_ivw", "mr_ivw_fe", "mr_ivw_mre",
    "mr_ivw_radial", "mr_leaveoneout", "mr_leaveoneout_plot", "mr_median", "mr_meta_fixed",
    "mr_meta_fixed_simple", "mr_meta_random", "mr_mode", "mr_moe", "mr_penalised_weighted_median",
    "mr_pleiotropy_test", "mr_raps", "mr_report", "mr_rucker", "mr_rucker_bootstrap",
    "mr_rucker_cooksdistance", "mr_rucker_jackknife", "mr_scatter_plot", "mr_sign", "mr_simple_median",
    "mr_simple_mode", "mr_simple_mode_nome", "mr_singlesnp", "mr_steiger", "mr_steiger2",
    "mr_two_sample_ml", "mr_uwr", "mr_wald_ratio", "mr_weighted_median", "mr_weighted_mode",
    "mr_weighted_mode_nome", "mr_wrapper", "mv_basic", "mv_ivw", "mv_lasso_feature_selection",
    "mv_multiple", "mv_residual", "mv_subset", "run_mr_presso", "run_mrmix",
)  # fmt: skip
MENDELIANRANDOMIZATION = (
    "mr_allmethods", "mr_egger", "mr_ivw", "mr_mbe", "mr_median", "mr_mvivw", "mr_mvivwme", "mr_mvegger",
    "mr_plot", "mr_forest", "mr_loo", "mr_funnel", "mr_maxlik", "mr_hetpen", "mr_conmix", "mr_mvmedian",
    "mr_mvlasso", "mr_lasso", "mr_divw", "mr_cML", "mr_pivw", "mr_mvcML", "mr_pcgmm", "mr_mvpcgmm",
    "mr_mvgmm", "mr_clr",
)  # fmt: skip
# Of the packages' functions, the forms in `R_EQUIVALENTS` have their option behind the name.
OPTIONS = (
    "tdist", "correl", "correl_tdist", "correl_fixed", "fixed", "delta", "delta_psi0.2", "simple",
    "weighted", "penalized", "weighted_delta", "robust", "penalized_robust", "random", "random_psi0.2",
)  # fmt: skip


def numbers(dataset: str, method: str, field: str) -> np.ndarray:
    rows = (TABLE["dataset"] == dataset) & (TABLE["method"] == method) & (TABLE["field"] == field)
    return TABLE.loc[rows, "value"].to_numpy()


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("method", PENALISED)
def test_robust_and_penalised_regression(
    dataset: str, method: str, reference: Callable[[str], Instruments]
) -> None:
    estimate = R_EQUIVALENTS["MendelianRandomization", method](reference(dataset))
    compared = 0
    for field, rtol in FIELDS.items():
        expected = numbers(dataset, method, field)
        if len(expected):
            assert getattr(estimate, field) == pytest.approx(expected[0], rel=rtol), field
            compared += 1
    assert compared == (5 if "egger" in method else 3)


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("overdispersion", [False, True])
@pytest.mark.parametrize("loss", ["l2", "huber", "tukey"])
def test_raps(
    dataset: str, overdispersion: bool, loss: Any, reference: Callable[[str], Instruments]
) -> None:
    method = f"mr.raps{'_overdispersed' if overdispersion else ''}_{loss}"
    estimate = mr_raps(reference(dataset), overdispersion=overdispersion, loss=loss)
    assert estimate.estimate == pytest.approx(numbers(dataset, method, "estimate")[0], rel=1e-6)
    assert (estimate.tau2 or 0.0) == pytest.approx(
        numbers(dataset, method, "tau2")[0], rel=1e-6, abs=1e-12
    )
    # At tau2 = 0 the package takes the standard error without overdispersion, where it finds exactly 0.
    rtol = 1e-4 if overdispersion and not estimate.tau2 else 1e-6
    assert estimate.se == pytest.approx(numbers(dataset, method, "se")[0], rel=rtol)


@pytest.mark.parametrize("dataset", DATASETS)
def test_contamination_mixture_on_the_grid_of_the_package(
    dataset: str, reference: Callable[[str], Instruments]
) -> None:
    expected = partial(numbers, dataset, "mr_conmix")
    step = float(expected("step")[0])
    one = reference(dataset)
    estimate = mr_conmix(one, convention="mendelianrandomization", grid_step=step)
    assert estimate.estimate == pytest.approx(expected("estimate")[0], rel=1e-9)
    assert estimate.p == pytest.approx(expected("p_value")[0], rel=1e-6)
    assert estimate.psi == pytest.approx(expected("psi")[0], rel=1e-12)
    ends = np.array(estimate.ci_parts)
    np.testing.assert_allclose(ends[:, 0], expected("ci_lower"), rtol=1e-9)
    np.testing.assert_allclose(ends[:, 1], expected("ci_upper"), rtol=1e-9)
    assert estimate.valid == tuple(one.snp[expected("valid").astype(int) - 1])
    exact = mr_conmix(one)
    assert exact.estimate == pytest.approx(estimate.estimate, abs=step)
    assert exact.ci_lower == pytest.approx(estimate.ci_lower, abs=1.01 * step)
    assert exact.ci_upper == pytest.approx(estimate.ci_upper, abs=1.01 * step)


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("intercept", [False, True])
def test_multivariable(
    dataset: str, intercept: bool, reference: Callable[[str], Instruments]
) -> None:
    one = reference(dataset)
    n = np.arange(1, len(one) + 1)
    second = Instruments(
        snp=one.snp,
        beta_exposure=one.beta_exposure * np.cos(n) + one.se_exposure * np.sin(3 * n),
        se_exposure=one.se_exposure,
        beta_outcome=one.beta_outcome,
        se_outcome=one.se_outcome,
        exposure="second",
    )
    method = "mr_mvegger" if intercept else "mr_mvivw"
    table = R_MULTIVARIABLE["MendelianRandomization", method]([one, second])
    np.testing.assert_allclose(table["estimate"], numbers(dataset, method, "estimates"), rtol=1e-8)
    np.testing.assert_allclose(table["se"], numbers(dataset, method, "ses"), rtol=1e-8)
    expected = numbers(dataset, method, "ps")
    known = expected > 1e-15
    np.testing.assert_allclose(table["p"][known], expected[known], rtol=1e-6)
    assert table["q"][0] == pytest.approx(numbers(dataset, method, "q")[0], rel=1e-8)
    if intercept:
        assert table["intercept"][0] == pytest.approx(numbers(dataset, method, "intercept")[0], rel=1e-8)
    assert table["draws_ci_lower"].isna().all()


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("method", ["mr_lasso", "mr_lasso_tdist"])
def test_lasso(dataset: str, method: str, reference: Callable[[str], Instruments]) -> None:
    one = reference(dataset)
    estimate = R_EQUIVALENTS["MendelianRandomization", method](one)
    expected = partial(numbers, dataset, method)
    assert estimate.valid == tuple(one.snp[expected("valid").astype(int) - 1])
    assert estimate.estimate == pytest.approx(expected("estimate")[0], rel=1e-8)
    assert estimate.se == pytest.approx(expected("se")[0], rel=1e-8)
    assert estimate.ci_lower == pytest.approx(expected("ci_lower")[0], rel=1e-8)
    assert estimate.p == pytest.approx(expected("p_value")[0], rel=1e-6)


MAXLIK = TABLE.loc[
    TABLE["method"].str.contains("maxlik|sample_ml$"), ["dataset", "implementation", "method"]
].drop_duplicates()


@pytest.mark.parametrize(("dataset", "package", "method"), MAXLIK.to_numpy().tolist())
def test_maximum_likelihood(
    dataset: str, package: str, method: str, reference: Callable[[str], Instruments]
) -> None:
    name = "twosamplemr" if package == "TwoSampleMR" else package
    estimate = R_EQUIVALENTS[name, method](reference(dataset))
    expected = partial(numbers, dataset, method)
    assert estimate.estimate == pytest.approx(expected("estimate")[0], rel=1e-7)
    assert estimate.se == pytest.approx(expected("se")[0], rel=1e-6)
    assert estimate.q == pytest.approx(expected("q")[0], rel=1e-7)
    assert estimate.p == pytest.approx(expected("p_value")[0], rel=1e-4)
    # The package stops before the maximum, where Q is least.
    theirs = numbers(dataset, "mr_two_sample_ml_default", "q")[0]
    assert theirs >= (mr_maxlik(reference(dataset)).q or 0.0) * (1 - 1e-9)


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("method", [name for package, name in R_EQUIVALENTS if package == "RadialMR"])
def test_radial_regression(
    dataset: str, method: str, reference: Callable[[str], Instruments]
) -> None:
    one = reference(dataset)
    estimate = R_EQUIVALENTS["RadialMR", method](one)
    compared = 0
    for field in ("estimate", "se", "intercept", "intercept_se", "q", "p", "intercept_p"):
        expected = numbers(dataset, method, "p_value" if field == "p" else field)
        if len(expected):
            rtol = 1e-6 if field.endswith("p") else 1e-8
            assert getattr(estimate, field) == pytest.approx(expected[0], rel=rtol), field
            compared += 1
    assert compared == (7 if "egger" in method else 3 if "iterated" in method else 4)
    if "iterated" in method:
        return
    outlier = numbers(dataset, method, "outlier").astype(int) - 1
    assert estimate.valid == tuple(np.delete(one.snp, outlier))
    kind, weights = method.split("_radial_")
    parts = radial_parts(one, kind, weights=weights)  # type: ignore[arg-type]
    if weights == "modified":
        np.testing.assert_allclose(parts["q"], numbers(dataset, method, "parts"), rtol=1e-7, atol=1e-12)
    assert np.flatnonzero(parts["outlier"]).tolist() == outlier.tolist()


def test_maximum_likelihood_was_computed_for_every_data_set_and_form() -> None:
    assert len(MAXLIK) == 4 * 4 - 1  # of the largest data set, not with correlated errors


def test_every_function_of_the_packages_is_offered_or_has_a_reason() -> None:
    offered, left_out = {*R_EQUIVALENTS, *R_MULTIVARIABLE}, set(NOT_OFFERED)
    assert not offered & left_out
    for package, functions in (
        ("twosamplemr", TWOSAMPLEMR), ("MendelianRandomization", MENDELIANRANDOMIZATION),
    ):  # fmt: skip
        ours = {name for where, name in offered if where == package}
        bare = {name.removesuffix(f"_{option}") for name in ours for option in (*OPTIONS, "")}
        reasons = {name for where, name in left_out if where == package}
        assert not {name for name in functions if name not in bare | reasons}
        assert not {name for name in functions if name in bare & reasons}
        assert reasons <= set(functions)  # no name that the package has not
    assert all(len(reason) > 20 for reason in NOT_OFFERED.values())
