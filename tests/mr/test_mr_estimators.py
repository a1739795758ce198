"""Estimators: invariance to allele coding, identities, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mr_data import from_draws, simulated
from numpy.testing import assert_allclose

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr import (
    METHODS,
    Instruments,
    draw_slopes,
    error_correlation,
    f_statistics,
    heterogeneity,
    i2_gx,
    leave_one_out,
    mean_f,
    mr_debiased_ivw,
    mr_egger,
    mr_estimate,
    mr_ivw,
    mr_simple_median,
    mr_weighted_median,
    mr_weighted_mode,
    wald_ratios,
)
from kipoi_mcdropout.mr.estimators import resampling
from kipoi_mcdropout.mr.estimators.points import egger_slope, ivw_slope, mad, mode, weighted_median


def summary(n: int, seed: int = 0) -> Instruments:
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, n)
    return Instruments(
        snp=[str(i) for i in range(n)],
        beta_exposure=x,
        se_exposure=rng.uniform(0.05, 0.2, n),
        beta_outcome=0.4 * x + rng.normal(0, 0.2, n),
        se_outcome=rng.uniform(0.1, 0.3, n),
    )


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=8)
@given(mask=st.lists(st.booleans(), min_size=12, max_size=12))
def test_no_method_depends_on_which_allele_is_counted(method: str, mask: list[bool]) -> None:
    one = simulated(n=12, n_draws=40, sequence=np.arange(12) % 4)
    a = mr_estimate(one, method, n_bootstrap=20)
    b = mr_estimate(one.flip(mask), method, n_bootstrap=20)
    assert b.estimate == pytest.approx(a.estimate, rel=1e-9)
    assert b.se == pytest.approx(a.se, rel=1e-9)
    assert b.p == pytest.approx(a.p, rel=1e-6, abs=1e-300)
    if a.intercept is not None:
        assert b.intercept == pytest.approx(a.intercept, rel=1e-6)


def test_correlated_methods_flip_their_correlation() -> None:
    one = simulated(n=6, n_draws=40)
    rho = np.corrcoef(one.draws_outcome.T)  # type: ignore[union-attr]
    given_matrix = Instruments(
        snp=one.snp,
        beta_exposure=one.beta_exposure,
        se_exposure=one.se_exposure,
        beta_outcome=one.beta_outcome,
        se_outcome=one.se_outcome,
        correlation=rho,
    )
    flipped = given_matrix.flip([True, False, True, True, False, False])
    for method in (mr_egger, mr_ivw):
        expected = method(given_matrix, correlated=True)
        assert method(flipped, correlated=True).estimate == pytest.approx(expected.estimate)
        assert method(one, correlated=True).se == pytest.approx(expected.se)


def test_the_identity_as_correlation_changes_nothing() -> None:
    plain = summary(9)
    with_identity = Instruments(
        **{n: getattr(plain, n) for n in ("snp", "beta_exposure", "se_exposure")},
        beta_outcome=plain.beta_outcome,
        se_outcome=plain.se_outcome,
        correlation=np.eye(9),
    )
    for method in (mr_egger, mr_ivw):
        a, b = method(plain), method(with_identity, correlated=True)
        for name in ("estimate", "se", "p", "q"):
            assert getattr(b, name) == pytest.approx(getattr(a, name))


def test_a_perfect_line_is_found() -> None:
    x = np.array([-0.3, 0.1, 0.2, 0.5, -0.8])
    sign = np.sign(x)
    exact = Instruments(
        snp=list("abcde"),
        beta_exposure=x,
        se_exposure=np.full(5, 0.1),
        beta_outcome=0.7 * x + 0.05 * sign,
        se_outcome=np.array([0.1, 0.2, 0.1, 0.3, 0.1]),
    )
    fit = mr_egger(exact)
    assert fit.estimate == pytest.approx(0.7)
    assert fit.intercept == pytest.approx(0.05)
    assert fit.q == pytest.approx(0, abs=1e-20)


def test_se_type_moves_errors_and_not_slopes() -> None:
    sd, mcse = simulated(n_draws=64), simulated(n_draws=64, se_type="mcse")
    for method in ("egger", "ivw", "weighted_median", "weighted_mode"):
        a, b = (mr_estimate(i, method, n_bootstrap=10) for i in (sd, mcse))
        assert b.estimate == pytest.approx(a.estimate)
        assert (a.se_type, b.se_type) == ("sd", "mcse")
    assert mr_ivw(sd, model="fixed").se == pytest.approx(8 * mr_ivw(mcse, model="fixed").se)
    assert mean_f(mcse) == pytest.approx(64 * mean_f(sd))
    assert mr_ivw(mcse).q == pytest.approx(64 * mr_ivw(sd).q)


def test_models_of_ivw() -> None:
    scattered, tight = summary(20), simulated(20)
    for data, above in ((scattered, True), (tight, False)):
        fixed, random = mr_ivw(data, model="fixed"), mr_ivw(data, model="random")
        under = mr_ivw(data, model="random_underdispersed")
        assert fixed.residual_se is not None
        assert (fixed.residual_se > 1) is above
        assert under.se == pytest.approx(fixed.se * fixed.residual_se)
        assert random.se == pytest.approx(max(fixed.se, under.se))
    three = summary(3).take([0, 1, 2])
    assert mr_ivw(three, convention="mendelianrandomization").se == mr_ivw(three, model="fixed").se
    assert mr_ivw(three).se == mr_ivw(three, model="random").se


def test_second_order_weights_meet_first_order_where_the_exposure_is_exact() -> None:
    one = summary(8)
    sure = Instruments(
        snp=one.snp,
        beta_exposure=one.beta_exposure,
        se_exposure=np.full(8, 1e-5),
        beta_outcome=one.beta_outcome,
        se_outcome=one.se_outcome,
    )
    a, b = mr_ivw(sure), mr_ivw(sure, weights="second_order")
    assert b.estimate == pytest.approx(a.estimate, rel=1e-6)
    assert mr_debiased_ivw(sure).estimate == pytest.approx(a.estimate, rel=1e-6)


def test_error_correlation_is_that_of_the_draws() -> None:
    rng = np.random.default_rng(3)
    common, own = rng.normal(size=(2, 4000, 15))
    x = 1 + common
    y = 2 + 0.6 * common + 0.8 * own
    assert error_correlation(from_draws(x, y)) == pytest.approx(0.6, abs=0.03)
    with pytest.raises(InputError, match="draws of both"):
        error_correlation(summary(5))


@pytest.mark.parametrize(
    ("method", "least"),
    [("egger", 3), ("ivw", 2), ("weighted_median", 3), ("weighted_mode", 3), ("debiased_ivw", 2)],
)
def test_too_few_instruments(method: str, least: int) -> None:
    one = summary(6).take(np.arange(least - 1))
    with pytest.raises(InputError, match=f"at least {least} instruments; {least - 1} of"):
        mr_estimate(one, method)


def test_one_instrument_has_a_wald_ratio() -> None:
    one = summary(1)
    table = wald_ratios(one)
    x, y = one.beta_exposure[0], one.beta_outcome[0]
    sx, sy = one.se_exposure[0], one.se_outcome[0]
    assert table["ratio"][0] == pytest.approx(y / x)
    assert table["se_first_order"][0] == pytest.approx(sy / abs(x))
    second = np.sqrt(sy**2 / x**2 + y**2 * sx**2 / x**4)
    assert table["se_second_order"][0] == pytest.approx(second)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda i: mr_egger(i, convention="r"), "convention must be one of"),
        (lambda i: mr_egger(i, distribution="z"), "distribution must be"),
        (lambda i: mr_ivw(i, model="both"), "model must be"),
        (lambda i: mr_ivw(i, weights="third"), "weights must be"),
        (lambda i: mr_ivw(i, psi=1.5, weights="second_order"), "psi is a correlation"),
        (
            lambda i: mr_ivw(i, weights="second_order", correlated=True),
            "give either the weights or the correlation",
        ),
        (lambda i: mr_weighted_median(i, n_bootstrap=1), "n_bootstrap must be at least 2"),
        (lambda i: mr_weighted_mode(i, seed=-1), "seed must not be negative"),
        (lambda i: mr_weighted_mode(i, bandwidth_factor=0), "bandwidth_factor must be positive"),
        (lambda i: mr_estimate(i, "mr_egger"), "method must be one of egger, ivw"),
        (lambda i: leave_one_out(i, "weighted_median"), "leave-one-out supports"),
        (lambda i: leave_one_out(i, by_sequence=True), "sequence of each instrument"),
        (lambda i: draw_slopes(i), "draws of both outputs"),
    ],
)
def test_bad_options_are_refused(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(summary(5))


def test_exposures_that_cannot_serve_are_refused() -> None:
    def with_exposure(x: list[float]) -> Instruments:
        one = summary(4)
        return Instruments(
            snp=one.snp,
            beta_exposure=x,
            se_exposure=one.se_exposure,
            beta_outcome=one.beta_outcome,
            se_outcome=one.se_outcome,
        )

    with pytest.raises(InputError, match=r"exposure effects that differ; all have the size 0\.5"):
        mr_egger(with_exposure([0.5, -0.5, 0.5, 0.5]))
    with pytest.raises(InputError, match="other than 0; 1 are 0, first: 2"):
        mr_simple_median(with_exposure([0.5, 0.4, 0.0, 0.5]))
    with pytest.raises(InputError, match="all are 0"):
        mr_ivw(with_exposure([0.0] * 4))
    with pytest.raises(InputError, match="mean F above 1"):
        mr_debiased_ivw(with_exposure([1e-3] * 4))


def test_leave_one_out_is_the_estimate_of_the_rest() -> None:
    one = summary(6)
    table = leave_one_out(one, "egger")
    assert table["without"].tolist() == [*one.snp, "(none)"]
    assert table["estimate"].iloc[2] == mr_egger(one.take([0, 1, 3, 4, 5])).estimate
    assert table["estimate"].iloc[-1] == mr_egger(one).estimate
    assert table["n_instruments"].tolist() == [5] * 6 + [6]


def test_leave_one_sequence_out() -> None:
    one = simulated(n=8, sequence=list("aabbbbcc"))
    table = leave_one_out(one, by_sequence=True)
    assert table["without"].tolist() == ["a", "b", "c", "(none)"]
    assert table["n_instruments"].tolist() == [6, 4, 6, 8]


def test_heterogeneity_sees_an_outlier() -> None:
    one = simulated(n=15, se_type="mcse")
    y = one.beta_outcome.copy()
    y[4] += 1.0
    bad = Instruments(
        snp=one.snp,
        beta_exposure=one.beta_exposure,
        se_exposure=one.se_exposure,
        beta_outcome=y,
        se_outcome=one.se_outcome,
    )
    calm, wild = heterogeneity(one), heterogeneity(bad)
    assert calm["method"].tolist() == ["ivw", "egger"]
    assert calm["q_df"].tolist() == [14, 13]
    assert (calm["q_p"] > 1e-3).all()
    assert (wild["q_p"] < 1e-10).all()
    assert ((wild["i2"] > 0.9) & (wild["i2"] <= 1)).all()
    assert heterogeneity(one.take([0, 1]))["method"].tolist() == ["ivw"]


def test_strength_by_hand() -> None:
    one = Instruments(
        snp=["a", "b"],
        beta_exposure=[2.0, -4.0],
        se_exposure=[1.0, 1.0],
        beta_outcome=[1.0, 1.0],
        se_outcome=[1.0, 2.0],
    )
    assert f_statistics(one).tolist() == [4.0, 16.0]
    # |bx| = 2, 4, mean 3: Q = 2, I2 = (2 - 1) / 2
    assert i2_gx(one) == pytest.approx(0.5)
    # |bx|/sy = 2, 2: Q = 0, no I2
    assert np.isnan(i2_gx(one, convention="mendelianrandomization"))


def test_replicates_at_once_are_replicates_one_by_one() -> None:
    rng = np.random.default_rng(0)
    x, y, w = rng.normal(size=(3, 7, 9))
    w = w**2 + 0.1
    for many in (egger_slope, ivw_slope):
        expected = [float(many(x[i], y[i], w[i])) for i in range(7)]
        assert_allclose(many(x, y, w), expected)
    for one in (weighted_median, mode):
        assert_allclose(one(x, w), [float(one(x[i], w[i])) for i in range(7)])


def test_weighted_median_by_hand() -> None:
    # halves of the shares: 0.1, 0.3, 0.7 of the total; 0.5 lies half way between 2 and 4
    assert weighted_median(np.array([4.0, 1.0, 2.0]), np.array([3.0, 1.0, 1.0])) == 3.0
    # 0.4, 0.85, 0.95: 0.5 lies 0.1 / 0.45 of the way from 1 to 2
    found = weighted_median(np.array([1.0, 2.0, 3.0]), np.array([8.0, 1.0, 1.0]))
    assert found == pytest.approx(1 + 0.1 / 0.45)
    assert weighted_median(np.array([5.0, 1.0, 9.0]), np.ones(3)) == 5.0


def test_mode_and_mad_by_hand() -> None:
    ratios = np.array([0.0, 0.01, -0.01, 0.02, 5.0, 5.1])
    assert mode(ratios, np.ones(6)) == pytest.approx(0.005, abs=0.02)
    assert mode(ratios, np.array([1, 1, 1, 1, 50, 50.0])) == pytest.approx(5.05, abs=0.06)
    assert mad(np.array([1.0, 2.0, 4.0, 8.0, 100.0])) == pytest.approx(1.4826 * 3)


def test_mode_is_the_peak_of_the_density_computed_directly() -> None:
    rng = np.random.default_rng(1)
    values, weight = rng.normal(size=(2, 30))
    weight = weight**2 + 0.1
    spread = min(values.std(ddof=1), float(mad(values)))
    bandwidth = 0.9 * spread * 30**-0.2
    grid = np.linspace(values.min() - 3 * bandwidth, values.max() + 3 * bandwidth, 512)
    density = np.exp(-0.5 * ((grid[:, None] - values) / bandwidth) ** 2) @ weight
    assert float(mode(values, weight)) == pytest.approx(grid[density.argmax()], abs=1e-12)


def test_blocks_of_replicates_do_not_change_a_standard_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = summary(8)
    for method in (mr_weighted_median, mr_weighted_mode):
        whole = method(one, n_bootstrap=40).se
        with monkeypatch.context() as patch:
            patch.setattr(resampling, "MAX_BLOCK_VALUES", 7 * 16)
            assert method(one, n_bootstrap=40).se == pytest.approx(whole, rel=1e-12)
