"""Point estimates of many replicates at once, against the methods and against a plain search."""

from __future__ import annotations

import numpy as np
import pytest
from mr_data import DATA, from_draws, read_instruments, simulated

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr import (
    Instruments,
    draw_slopes,
    mr_bootstrap,
    mr_conmix,
    mr_ivw,
    mr_ivw_robust,
    mr_raps,
)
from kipoi_mcdropout.mr.estimators.bootstrap import bootstrap_estimates, point_estimate
from kipoi_mcdropout.mr.estimators.conmix import conmix_slope
from kipoi_mcdropout.mr.estimators.mm_regression import mm_fit
from kipoi_mcdropout.mr.estimators.points import POINT_ESTIMATORS
from kipoi_mcdropout.mr.estimators.resampling import draw_replicates

DATASETS = ("sim_mcdropout_sd", "sim_two_groups", "sim_direct_effects")


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_replicate_is_what_the_method_gives(dataset: str) -> None:
    one = read_instruments(DATA / f"{dataset}.csv")
    assert point_estimate(one, "conmix") == pytest.approx(mr_conmix(one).estimate, rel=1e-10)
    assert point_estimate(one, "ivw_robust") == pytest.approx(mr_ivw_robust(one).estimate, rel=1e-6)
    assert point_estimate(one, "raps") == pytest.approx(mr_raps(one).estimate, rel=1e-6)


def test_replicates_do_not_depend_on_each_other() -> None:
    one = simulated(n=15, n_draws=20)
    blocks = list(draw_replicates(one, 6, 0, "both"))
    (block,) = blocks
    for method, estimate in POINT_ESTIMATORS.items():
        together = estimate(*block)
        apart = [float(estimate(*(a[row] for a in block))) for row in range(6)]
        np.testing.assert_allclose(together, apart, rtol=1e-7, err_msg=method)


def test_the_mixture_has_the_largest_likelihood_of_a_fine_grid() -> None:
    rng = np.random.default_rng(0)
    ratio, se = rng.normal(0.5, 1, (20, 12)), rng.uniform(0.05, 0.4, (20, 12))
    found = conmix_slope(ratio, se)
    for r, s, slope in zip(ratio, se, found, strict=True):
        psi = 1.5 * r.std(ddof=1)
        grid = np.append(np.linspace(r.min(), r.max(), 4001), slope)[:, None]
        inside = -((grid - r) ** 2) / (2 * s**2) - np.log(s)
        outside = -(r**2) / (2 * (psi**2 + s**2)) - np.log(psi**2 + s**2) / 2
        likelihood = np.maximum(inside, outside).sum(axis=1)
        assert likelihood[-1] >= likelihood[:-1].max() - 1e-9


def test_an_interval_of_the_mixture_has_as_many_parts_as_there_are_groups() -> None:
    ratio = np.repeat([-0.7, 0.7], [10, 10]) + np.tile([-0.02, 0.02], 10)
    one = Instruments(
        [f"m{i}" for i in range(20)], np.ones(20), np.full(20, 0.01), ratio, np.full(20, 0.1)
    )
    estimate = mr_conmix(one)
    parts = estimate.ci_parts
    assert parts is not None
    assert len(parts) == 2
    assert parts[0][0] < -0.7 < parts[0][1] < parts[1][0] < 0.7 < parts[1][1]
    assert (estimate.ci_lower, estimate.ci_upper) == (parts[0][0], parts[1][1])
    row = estimate.as_dict()
    assert row["ci_parts"].count(" to ") == 2
    assert row["n_valid"] == 10
    for slope in (parts[0][1], parts[1][0]):  # at an end the likelihood is lower by 1.92, phi being 1
        assert _likelihood(one, slope) == pytest.approx(
            _likelihood(one, estimate.estimate) - 3.841459 / 2, abs=1e-6
        )


def _likelihood(one: Instruments, slope: float) -> float:
    ratio, se = one.beta_outcome / one.beta_exposure, np.abs(one.se_outcome / one.beta_exposure)
    spread = (1.5 * ratio.std(ddof=1)) ** 2 + se**2
    inside = -((slope - ratio) ** 2) / (2 * se**2) - np.log(se)
    return float(np.maximum(inside, -(ratio**2) / (2 * spread) - np.log(spread) / 2).sum())


def test_sequences_are_resampled_as_wholes() -> None:
    """Two sequences with one slope each: replicates have the slope of one, the other, or both."""
    one = simulated(n=20, n_draws=30, slope=0.5)
    x = one.draws_exposure
    assert x is not None
    slope = np.repeat([0.5, 0.9], 10)
    draws = np.ones((30, 1)) * x.mean(0)
    flat = Instruments(
        snp=one.snp, beta_exposure=x.mean(0), se_exposure=np.ones(20), beta_outcome=slope * x.mean(0),
        se_outcome=np.ones(20), draws_exposure=draws, draws_outcome=slope * draws,
        sequence=np.repeat(["a", "b"], 10),
    )  # fmt: skip
    found = bootstrap_estimates(flat, "ivw", resample="sequences", n_bootstrap=60)
    expected = {0.5, 0.9, round(mr_ivw(flat).estimate, 9)}
    assert set(found.round(9).tolist()) == expected
    with pytest.raises(InputError, match="offered for egger and ivw"):
        mr_bootstrap(flat, "conmix", resample="sequences")
    with pytest.raises(InputError, match="sequence of each instrument"):
        mr_bootstrap(one, "ivw", resample="sequences")


@pytest.mark.parametrize("method", POINT_ESTIMATORS)
def test_slopes_of_draws_leave_out_mutants_without_an_effect(method: str) -> None:
    one = simulated(n=12, n_draws=10)
    x, y = np.array(one.draws_exposure), np.array(one.draws_outcome)
    x[3, :4] = y[3, :4] = 0
    some = from_draws(x, y)
    slopes = draw_slopes(some, method)
    assert np.isfinite(slopes).all()
    rest = from_draws(x[:, 4:], y[:, 4:])
    if method not in ("egger", "ivw"):
        expected = POINT_ESTIMATORS[method](
            x[3, 4:], y[3, 4:], some.se_exposure[4:], some.se_outcome[4:]
        )
        assert slopes[3] == pytest.approx(float(expected))
    assert rest.n_kept == 8


def test_mm_estimation_ignores_nearly_half_of_the_rows() -> None:
    rng = np.random.default_rng(0)
    x = np.column_stack([np.ones(60), rng.uniform(1, 3, 60)])
    y = x @ [0.2, 0.7] + 0.01 * rng.normal(size=60)
    y[:24] = rng.uniform(5, 50, 24)
    fit = mm_fit(x, y)
    np.testing.assert_allclose(fit.coefficients, [0.2, 0.7], atol=0.02)
    assert 0.005 < fit.scale < 0.03
    with pytest.raises(InputError, match="at least 5 instruments"):
        mm_fit(x[:4], y[:4])
    with pytest.raises(InputError, match="lie on one line exactly"):
        mm_fit(x, x @ [0.2, 0.7])


@pytest.mark.parametrize(("seed", "loss"), [(45, "tukey"), (265, "l2"), (265, "huber")])
def test_raps_of_instruments_without_information_is_refused_by_name(seed: int, loss: str) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(3, 8))
    se = [np.exp(rng.normal(size=n) * rng.uniform(0, 6)) for _ in range(2)]
    beta = [rng.normal(size=n) * np.exp(rng.normal() * 4) for _ in range(2)]
    weak = Instruments(
        snp=[str(i) for i in range(n)],
        beta_exposure=beta[0], se_exposure=se[0], beta_outcome=beta[1], se_outcome=se[1],
    )  # fmt: skip
    with pytest.raises(InputError, match="MR-RAPS found no standard error"):
        mr_raps(weak, loss=loss)
