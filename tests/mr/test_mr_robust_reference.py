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
    Instruments,
    mr_conmix,
    mr_multivariable,
    mr_raps,
)

TABLE = pd.read_table(DATA / "expected_robust.tsv", comment="#")
DATASETS = list(dict.fromkeys(TABLE["dataset"]))
PENALISED = ["mr_ivw_robust", "mr_ivw_penalized", "mr_ivw_penalized_robust"]
PENALISED += [name.replace("ivw", "egger") for name in PENALISED]
FIELDS = {"estimate": 1e-6, "se": 1e-6, "residual_se": 1e-6, "intercept": 1e-6, "intercept_se": 1e-6}

# What estimates a slope, or draws, in the two packages: TwoSampleMR's mr_method_list() and
# MendelianRandomization's generics.
TWOSAMPLEMR = (
    "wald_ratio", "two_sample_ml", "egger_regression", "egger_regression_bootstrap", "simple_median",
    "weighted_median", "penalised_weighted_median", "ivw", "ivw_radial", "ivw_mre", "ivw_fe",
    "simple_mode", "weighted_mode", "weighted_mode_nome", "simple_mode_nome", "raps",
    "sign", "uwr", "grip",
)  # fmt: skip
MENDELIANRANDOMIZATION = (
    "divw", "ivw", "egger", "allmethods", "plot", "maxlik", "mvivwme", "hetpen", "conmix", "mvmedian",
    "forest", "loo", "funnel", "mvlasso", "lasso", "cML", "pivw", "mvcML", "pcgmm", "mvpcgmm", "mvgmm",
    "clr", "median", "mbe",
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
    table = mr_multivariable([one, second], intercept=intercept)
    np.testing.assert_allclose(table["estimate"], numbers(dataset, method, "estimates"), rtol=1e-8)
    np.testing.assert_allclose(table["se"], numbers(dataset, method, "ses"), rtol=1e-8)
    expected = numbers(dataset, method, "ps")
    known = expected > 1e-15
    np.testing.assert_allclose(table["p"][known], expected[known], rtol=1e-6)
    assert table["q"][0] == pytest.approx(numbers(dataset, method, "q")[0], rel=1e-8)
    if intercept:
        assert table["intercept"][0] == pytest.approx(numbers(dataset, method, "intercept")[0], rel=1e-8)
    assert table["draws_ci_lower"].isna().all()


def test_every_function_of_the_packages_is_offered_or_has_a_reason() -> None:
    named = {*R_EQUIVALENTS, *NOT_OFFERED}
    assert not set(R_EQUIVALENTS) & set(NOT_OFFERED)
    for package, functions in (
        ("TwoSampleMR", TWOSAMPLEMR), ("MendelianRandomization", MENDELIANRANDOMIZATION),
    ):  # fmt: skip
        ours = "twosamplemr" if package == "TwoSampleMR" else package
        mine = [name for where, name in named if where == ours]
        for function in functions:
            assert any(n == f"mr_{function}" or n.startswith(f"mr_{function}_") for n in mine), function
    assert all(len(reason) > 20 for reason in NOT_OFFERED.values())
