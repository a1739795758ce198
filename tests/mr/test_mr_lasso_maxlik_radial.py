"""MR-Lasso, maximum likelihood and radial regression against plain searches, without R."""

from __future__ import annotations

import numpy as np
import pytest
from mr_data import DATA, read_instruments
from scipy import optimize

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr import (
    Instruments,
    mr_egger_radial,
    mr_ivw,
    mr_ivw_radial,
    mr_lasso,
    mr_maxlik,
    mr_raps,
    radial_parts,
)
from kipoi_mcdropout.mr.estimators.bootstrap import point_estimate
from kipoi_mcdropout.mr.estimators.lasso import _bounds, _huber_slope

DATASETS = ("sim_mcdropout_sd", "sim_two_groups", "sim_direct_effects")


def few(n: int = 5) -> Instruments:
    rng = np.random.default_rng(0)
    x = rng.uniform(0.5, 2, n)
    return Instruments(
        snp=[f"m{i}" for i in range(n)],
        beta_exposure=x,
        se_exposure=rng.uniform(0.05, 0.2, n),
        beta_outcome=0.5 * x + 0.3 * rng.normal(size=n),
        se_outcome=rng.uniform(0.05, 0.2, n),
    )


@pytest.mark.parametrize("psi", [0.0, 0.4])
def test_the_likelihood_of_all_unknowns_has_this_maximum(psi: float) -> None:
    """Over the slope and the true exposure effect of each mutant, by a general optimiser."""
    one = few()
    x, y, sx, sy = one.beta_exposure, one.beta_outcome, one.se_exposure, one.se_outcome

    def minus(parameters: np.ndarray) -> float:
        slope, true = parameters[0], parameters[1:]
        a, b = (x - true) / sx, (y - slope * true) / sy
        return float(((a**2 - 2 * psi * a * b + b**2) / (1 - psi**2)).sum()) / 2

    best = optimize.minimize(minus, np.append(0.4, x), method="BFGS", options={"gtol": 1e-9})
    found = mr_maxlik(one, psi=psi)
    assert found.estimate == pytest.approx(best.x[0], rel=1e-5)
    assert found.q == pytest.approx(2 * best.fun, rel=1e-8)

    def profile(slope: float) -> float:
        rest = optimize.minimize(lambda t: minus(np.append(slope, t)), x, method="BFGS")
        return float(rest.fun)

    h = 0.02
    around = [profile(found.estimate + k * h) for k in (-1, 0, 1)]
    curvature = (around[0] - 2 * around[1] + around[2]) / h**2
    assert found.se == pytest.approx(curvature**-0.5, rel=1e-2)


@pytest.mark.parametrize("dataset", DATASETS)
def test_maximum_likelihood_has_the_slope_of_raps_with_squared_loss(dataset: str) -> None:
    one = read_instruments(DATA / f"{dataset}.csv")
    found = mr_maxlik(one)
    assert found.estimate == pytest.approx(
        mr_raps(one, overdispersion=False, loss="l2").estimate, rel=1e-9
    )
    larger = mr_maxlik(one, convention="mendelianrandomization")
    assert larger.se == pytest.approx(found.se * max(1.0, found.residual_se or 0.0))


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("method", [mr_lasso, mr_maxlik, mr_ivw_radial, mr_egger_radial])
def test_a_replicate_is_what_the_method_gives(dataset: str, method: object) -> None:
    one = read_instruments(DATA / f"{dataset}.csv")
    estimate = method(one)  # type: ignore[operator]
    assert point_estimate(one, estimate.method) == pytest.approx(estimate.estimate, rel=1e-10)


def test_the_lasso_with_a_slope_is_huber_regression() -> None:
    """The penalised regression of glmnet, minimised over all direct effects by coordinate descent."""
    rng = np.random.default_rng(1)
    n, penalty = 8, 0.15
    x = rng.uniform(0.5, 3, n)
    y = 0.5 * x + rng.normal(size=n)
    y[:2] += 4
    centre = np.eye(n) - np.outer(x, x) / (x @ x)
    scale = centre.std(axis=0)  # glmnet scales the columns by it
    direct = np.zeros(n)
    for _ in range(400):
        for j in range(n):
            rest = centre @ (y - direct) + centre[:, j] * direct[j]
            push = centre[:, j] @ rest / n
            size = max(abs(push) - penalty * scale[j], 0.0)
            direct[j] = np.sign(push) * size / (centre[:, j] @ centre[:, j] / n)
    slope = x @ (y - direct) / (x @ x)
    reach = penalty * _bounds(x[None], np.array([[x @ x]]))
    found = _huber_slope(x[None], y[None], reach, np.array([0.0]))
    assert found[0] == pytest.approx(slope, rel=1e-9)
    outside = np.abs(y - found[0] * x) > reach[0]
    assert outside.tolist() == (direct != 0).tolist()
    assert 2 <= outside.sum() < n


def test_lasso_leaves_out_mutants_with_direct_effects() -> None:
    rng = np.random.default_rng(2)
    x = rng.uniform(0.5, 2, 40)
    y = 0.5 * x + 0.02 * rng.normal(size=40)
    y[:8] += 0.5
    one = Instruments(
        [f"m{i}" for i in range(40)], x, np.full(40, 0.02), y, np.full(40, 0.02)
    )
    found = mr_lasso(one)
    assert set(found.valid or ()) <= {f"m{i}" for i in range(8, 40)}
    assert len(found.valid or ()) >= 25
    assert found.estimate == pytest.approx(0.5, abs=0.01)
    valid = np.flatnonzero(np.isin(one.snp, found.valid))
    assert found.estimate == pytest.approx(mr_ivw(one.take(valid)).estimate)
    # Standard errors that explain all scatter: all are valid.
    wide = Instruments(one.snp, x, np.full(40, 0.02), y, np.full(40, 1.0))
    assert len(mr_lasso(wide).valid or ()) == 40


def test_radial_regression_with_first_order_weights_is_ivw() -> None:
    one = few(8)
    radial, ivw = mr_ivw_radial(one, weights="first_order"), mr_ivw(one, model="random_underdispersed")
    assert (radial.estimate, radial.se) == pytest.approx((ivw.estimate, ivw.se))
    assert radial.q == pytest.approx(ivw.q)


def test_iterated_weights_stay_with_their_slope() -> None:
    one = few(8)
    found = mr_ivw_radial(one, weights="iterated").estimate
    weight = one.beta_exposure**2 / (one.se_outcome**2 + found**2 * one.se_exposure**2)
    ratio = one.beta_outcome / one.beta_exposure
    assert found == pytest.approx((weight * ratio).sum() / weight.sum(), rel=1e-12)
    assert found != pytest.approx(mr_ivw_radial(one).estimate, rel=1e-9)


def test_parts_of_q_and_outliers() -> None:
    one = few(8)
    y = one.beta_outcome.copy()
    y[2] += 3
    far = Instruments(one.snp, one.beta_exposure, one.se_exposure, y, one.se_outcome)
    parts = radial_parts(far)
    found = mr_ivw_radial(far)
    assert parts["q"].sum() == pytest.approx(found.q)
    assert parts.loc[parts["q"].idxmax(), "SNP"] == "m2"
    assert "m2" not in (found.valid or ())
    assert parts["outlier"].sum() == 8 - len(found.valid or ())
    assert len(mr_ivw_radial(far, outlier_p=1e-300).valid or ()) == 8


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda one: mr_lasso(one.take([0, 1])), "MR-Lasso.*3 instruments"),
        (lambda one: mr_lasso(one, distribution="f"), "distribution must be"),
        (lambda one: mr_maxlik(one, psi=1.0), "psi is a correlation"),
        (lambda one: mr_maxlik(one, model="both"), "model must be"),
        (lambda one: mr_egger_radial(one, weights="iterated"), "weights must be one of"),
        (lambda one: mr_ivw_radial(one, weights="third"), "weights must be one of"),
        (lambda one: mr_ivw_radial(one, outlier_p=0), "outlier_p must lie"),
        (lambda one: radial_parts(one, "median"), "method must be"),
        (lambda one: mr_egger_radial(one.take([0, 1])), "radial MR-Egger.*3 instruments"),
    ],
)
def test_bad_requests_are_refused(call: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        call(few(4))  # type: ignore[operator]


def test_effects_without_a_slope_are_refused() -> None:
    flat = Instruments(list("abc"), np.zeros(3), np.ones(3), np.ones(3), np.ones(3))
    with pytest.raises(InputError, match="exposure effect other than 0"):
        mr_maxlik(flat)
    # Noise in the exposure explains everything: slopes without end are more likely, of either sign.
    x, y = [0.01, -0.01, 0.02, -0.02], [3.0, 3.0, -3.0, -3.0]
    weak = Instruments(list("abcd"), np.array(x), np.ones(4), np.array(y), np.full(4, 0.1))
    with pytest.raises(InputError, match="no maximum"):
        mr_maxlik(weak)
