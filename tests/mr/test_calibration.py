"""Calibration against measurements: cases whose truth is known."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from kipoi_mcdropout.calibration import CalibrationResult, calibrate, scale_sd
from kipoi_mcdropout.errors import InputError

N = 4000


def tables(
    true_scale: float = 1.0, se: float = 0.0, n: int = N, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measured effects that scatter `true_scale` times as much as the predicted sd says."""
    rng = np.random.default_rng(seed)
    mean, sd = rng.normal(0, 1, n), rng.uniform(0.1, 0.5, n)
    effect = mean + true_scale * sd * rng.normal(size=n) + se * rng.normal(size=n)
    names = [f"chr1:{i}:A:C" for i in range(n)]
    measured = pd.DataFrame({"variant": names, "effect": effect})
    if se:
        measured["se"] = se
    predicted = pd.DataFrame({"variant": names, "effect_mean": mean, "effect_sd": sd})
    return measured.sample(frac=1, random_state=1), predicted


def observed(result: CalibrationResult, column: str = "observed") -> np.ndarray:
    return result.coverage[column].to_numpy()


def test_a_calibrated_model_is_found_calibrated() -> None:
    result = calibrate(*tables())
    assert result.coverage["level"].tolist() == [0.5, 0.8, 0.95]
    assert (result.coverage["lower"] < [0.5, 0.8, 0.95]).all()
    assert (result.coverage["upper"] > [0.5, 0.8, 0.95]).all()
    assert result.variance_scale == pytest.approx(1, abs=4 * np.sqrt(2 / N))
    assert stats.chisquare(result.pit_counts).pvalue > 1e-3
    assert result.pit_counts.sum() == result.n == N


@pytest.mark.parametrize("true_scale", [0.5, 2.0])
def test_a_wrong_scale_is_found_and_mended(true_scale: float) -> None:
    result = calibrate(*tables(true_scale))
    assert result.sd_scale == pytest.approx(true_scale, rel=0.05)
    assert result.variance_scale == pytest.approx(result.sd_scale**2)
    z = stats.norm.ppf([0.75, 0.9, 0.975])
    assert_allclose(observed(result), 2 * stats.norm.cdf(z / true_scale) - 1, atol=0.03)
    assert_allclose(observed(result, "scaled"), [0.5, 0.8, 0.95], atol=0.03)
    assert_allclose(observed(result, "recalibrated"), [0.5, 0.8, 0.95], atol=0.03)
    ends = result.pit_counts[[0, -1]].mean() / result.pit_counts[4:6].mean()
    assert bool(ends > 1) == (true_scale > 1)


def test_applying_the_scale_makes_lambda_one() -> None:
    measured, predicted = tables(1.7)
    factor = calibrate(measured, predicted).sd_scale
    scaled = scale_sd(predicted.assign(effect_mcse=0.01), factor)
    again = calibrate(measured, scaled)
    assert again.variance_scale == pytest.approx(1)
    assert again.sd_scale == pytest.approx(1)
    assert_array_equal(scaled["effect_mcse"], 0.01)  # a Monte Carlo error is not the model's
    assert_array_equal(predicted["effect_sd"] * factor, scaled["effect_sd"])


def test_the_error_of_the_measurement_is_not_laid_on_the_model() -> None:
    measured, predicted = tables(1.5, se=0.4)
    with_se = calibrate(measured, predicted)
    without = calibrate(measured.drop(columns="se"), predicted)
    assert with_se.sd_scale == pytest.approx(1.5, rel=0.06)
    assert without.sd_scale > 1.9
    root = np.mean(
        (measured.sort_index()["effect"] - predicted["effect_mean"]) ** 2
        / (with_se.sd_scale**2 * predicted["effect_sd"] ** 2 + 0.16)
    )
    assert root == pytest.approx(1)


def test_measurements_that_explain_all_scatter_leave_no_sd() -> None:
    measured, predicted = tables(0.5)
    result = calibrate(measured.assign(se=5.0), predicted)
    assert result.sd_scale == 0.0
    assert result.variance_scale < 1
    with pytest.raises(InputError, match="sd_scale must be positive"):
        scale_sd(predicted, result.sd_scale)


def test_lambda_pit_and_coverage_by_hand() -> None:
    error = np.array([-2.0, -1, -0.5, 0, 0, 0, 0.5, 1, 2, 3])
    names = [str(i) for i in range(10)]
    measured = pd.DataFrame({"variant": names, "effect": error + 5})
    predicted = pd.DataFrame({"variant": names, "effect_mean": 5.0, "effect_sd": 1.0})
    result = calibrate(measured, predicted, levels=[0.95])
    assert result.variance_scale == pytest.approx((error**2).mean())
    assert_allclose(result.pit, stats.norm.cdf(error))
    assert observed(result)[0] == 0.7  # -2, 2 and 3 lie outside 1.96


def test_heavy_tails_need_the_isotonic_map() -> None:
    rng = np.random.default_rng(0)
    measured, predicted = tables()
    predicted = predicted.set_index("variant").loc[measured["variant"]].reset_index()
    noise = rng.standard_t(2, size=N) * predicted["effect_sd"].to_numpy()
    heavy = pd.DataFrame({"variant": predicted["variant"], "effect": predicted["effect_mean"] + noise})
    result = calibrate(heavy, predicted)
    assert abs(observed(result, "scaled")[0] - 0.5) > 0.1
    assert_allclose(observed(result, "recalibrated"), [0.5, 0.8, 0.95], atol=0.03)
    fresh = rng.standard_t(2, size=20_000)
    for level in (0.5, 0.8, 0.95):
        low, high = result.interval(np.zeros(1), np.ones(1), level)
        assert ((fresh > low) & (fresh < high)).mean() == pytest.approx(level, abs=0.03)
    with pytest.raises(InputError, match="level must lie"):
        result.interval(0.0, 1.0, 1.0)


def test_the_isotonic_map_is_monotone_from_0_to_1() -> None:
    result = calibrate(*tables(2.0, n=50))
    grid = np.linspace(0, 1, 101)
    mapped = result.recalibrate(grid)
    assert (np.diff(mapped) >= 0).all()
    assert (mapped[0], mapped[-1]) == (0.0, 1.0)


def test_another_scale_is_aligned_by_a_line() -> None:
    measured, predicted = tables(1.3)
    other = measured.assign(effect=3 * measured["effect"] + 7)
    result = calibrate(other, predicted, align="linear")
    assert result.slope == pytest.approx(3, rel=0.05)
    assert result.intercept == pytest.approx(7, abs=0.1)
    assert result.sd_scale == pytest.approx(1.3, rel=0.06)
    assert calibrate(other, predicted).variance_scale > 50
    low, high = result.interval(np.array([0.0]), np.array([0.1]))
    assert low < 7 < high and high - low == pytest.approx(2 * 1.96 * 3 * 0.13, rel=0.1)
    assert result.provenance()["align"] == "linear"
    flat = predicted.assign(effect_mean=1.0)
    with pytest.raises(InputError, match="effects that differ"):
        calibrate(other, flat, align="linear")


def test_names_from_columns_outputs_and_counts_of_the_unmatched() -> None:
    measured, predicted = tables(n=30)
    split = predicted["variant"].str.split(":", expand=True)
    split.columns = pd.Index(["chrom", "position", "ref", "alt"])
    table = pd.concat([split, predicted.drop(columns="variant")], axis=1)
    two = pd.concat([table.assign(output="a"), table.assign(output="b", effect_sd=9.0)])
    result = calibrate(measured.iloc[:20], two.astype({"position": int}), output="a")
    assert (result.n, result.n_only_measured, result.n_only_predicted) == (20, 0, 10)
    assert_array_equal(result.pit, calibrate(measured.iloc[:20], predicted).pit)
    with pytest.raises(InputError, match="one output is required, of a, b; got None"):
        calibrate(measured, two)
    assert calibrate(measured, two[two["output"] == "a"]).n == 30


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m, p: (m.drop(columns="effect"), p), "measured effects must have.*lacks effect"),
        (lambda m, p: (m, p.drop(columns="effect_sd")), "predicted effects must have"),
        (lambda m, p: (m, p.drop(columns="variant")), "without 'variant',.* lacks chrom"),
        (lambda m, p: (pd.concat([m, m[:1]]), p), "1 measured rows repeat"),
        (lambda m, p: (m, pd.concat([p, p[:2]])), "2 predicted rows repeat"),
        (lambda m, p: (m[:9], p), "at least 10 variants in both tables are required; 9 are"),
        (lambda m, p: (m.assign(variant="x" + m["variant"]), p), "0 are.*'xchr1:.*are they"),
        (lambda m, p: (m[:0], p), "0 are. Measured names look like nothing"),
        (lambda m, p: (m.assign(effect=np.nan), p), "must be finite"),
        (lambda m, p: (m.assign(se=-1.0), p), "must not be negative"),
        (lambda m, p: (m, p.assign(effect_sd=-1.0)), "must not be negative"),
        (lambda m, p: (m.assign(se=0.0), p.assign(effect_sd=0.0)), "vary over the draws"),
    ],
)
def test_bad_tables_are_refused(change: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        calibrate(*change(*tables(n=20)))


def test_bad_options_are_refused() -> None:
    with pytest.raises(InputError, match="levels must lie"):
        calibrate(*tables(n=20), levels=[95])
    with pytest.raises(InputError, match="align must be"):
        calibrate(*tables(n=20), align="rank")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="lacks effect_sd"):
        scale_sd(pd.DataFrame({"x": [1]}), 2.0)


def test_scikit_learn_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.isotonic", None)
    with pytest.raises(ImportError, match=r"pip install kipoi_mcdropout\[calibration\]"):
        calibrate(*tables(n=20))
