"""Calibration against measurements: cases whose truth is known."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.significance.calibration import CalibrationResult, calibrate, scale_sd
from kipoi_mcdropout.significance.quantile_map import QuantileMap

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


def test_the_scale_changes_z_and_p_with_the_sd() -> None:
    z = np.array([-3.0, 0.0, 1.0])
    table = pd.DataFrame({"effect_sd": [1.0, 2.0, 3.0], "z": z, "p_value": 0.5, "effect_q05": 1.0})
    scaled = scale_sd(table.assign(q_value=0.5), 2.0)
    assert_array_equal(scaled["z"], z / 2)
    # Of R: 2 * pnorm(-c(1.5, 0, 0.5)).
    assert_allclose(scaled["p_value"], [0.1336144, 1.0, 0.6170751], atol=1e-7)
    assert list(scaled) == ["effect_sd", "z", "p_value"]


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


def test_heavy_tails_need_the_map() -> None:
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


def test_the_map_is_monotone_from_0_to_1() -> None:
    result = calibrate(*tables(2.0, n=50))
    grid = np.linspace(0, 1, 101)
    mapped = result.recalibrate(grid)
    assert (np.diff(mapped) >= 0).all()
    assert (mapped[0], mapped[-1]) == (0.0, 1.0)


@pytest.mark.parametrize("true_scale", [1.0, 5.0, 20.0, 300.0])
def test_an_sd_that_is_far_too_small_is_recalibrated_too(true_scale: float) -> None:
    """Probabilities of errors beyond 8 sd round to 1 in float64; the errors do not."""
    result = calibrate(*tables(true_scale))
    assert_allclose(observed(result, "recalibrated"), [0.5, 0.8, 0.95], atol=0.02)
    assert result.sd_scale == pytest.approx(true_scale, rel=0.05)
    for level in (0.5, 0.8, 0.95, 0.999):
        low, high = result.interval(np.zeros(1), np.ones(1), level)
        width = 2 * true_scale * stats.norm.ppf((1 + level) / 2)
        assert high - low == pytest.approx(width, rel=0.05 if level < 0.96 else 0.2)


@pytest.mark.parametrize("true_scale", [1.0, 20.0])
def test_exchanging_the_signs_of_all_effects_changes_nothing(true_scale: float) -> None:
    measured, predicted = tables(true_scale, n=499)
    measured["effect"] += 0.3  # not symmetric
    one = calibrate(measured, predicted)
    other = calibrate(
        measured.assign(effect=-measured["effect"]),
        predicted.assign(effect_mean=-predicted["effect_mean"]),
    )
    pd.testing.assert_frame_equal(one.coverage, other.coverage)
    low, high = one.interval(np.array([0.2]), np.array([0.1]))
    assert_allclose(np.array(other.interval(np.array([-0.2]), np.array([0.1]))), [-high, -low])


def test_few_variants_have_intervals_with_ends() -> None:
    """Ten variants tell nothing about the outer 5 % on each side: the tail is that of a normal."""
    error = 50 * stats.norm.ppf((np.arange(10) + 0.5) / 10)
    names = [str(i) for i in range(10)]
    measured = pd.DataFrame({"variant": names, "effect": error})
    result = calibrate(measured, pd.DataFrame({"variant": names, "effect_mean": 0.0, "effect_sd": 1.0}))
    for level in (0.5, 0.8, 0.95, 0.999):
        ends = np.array(result.interval(np.zeros(1), np.ones(1), level)).ravel()
        expected = 50 * stats.norm.ppf((1 + level) / 2)
        assert_allclose(ends, [-expected, expected], rtol=0.06)  # the map is linear between errors


def test_map_by_hand() -> None:
    one = QuantileMap.of([-3.0, 1.0, 1.0, 2.0])
    assert_array_equal(one.z, [-3, 1, 2])
    assert_array_equal(one.share, [0.125, 0.5, 0.875])
    assert_allclose(one.share_below([-3, -1, 1, 1.5, 2]), [0.125, 0.3125, 0.5, 0.6875, 0.875])
    assert_allclose(one.z_at([0.125, 0.3125, 0.5, 0.875]), [-3, -1, 1, 2])
    # Beyond: a normal with median 1 through (2, 0.875), and one through (-3, 0.125).
    scale = 1 / stats.norm.ppf(0.875)
    assert float(one.z_at(0.99)) == pytest.approx(1 + scale * stats.norm.ppf(0.99))
    assert float(one.share_below(5.0)) == pytest.approx(stats.norm.cdf(4 / scale))
    assert float(one.z_at(0.01)) == pytest.approx(1 + 4 * scale * stats.norm.ppf(0.01))
    assert_array_equal(one.share_below([-np.inf, np.inf]), [0, 1])
    equal = QuantileMap.of([2.0, 2.0])
    assert_array_equal(equal.z_at([0.1, 0.5, 0.9]), 2.0)
    assert_array_equal(equal.share_below([1.0, 2.0, 3.0]), [0, 0.5, 1])


def test_another_scale_is_aligned_by_a_line() -> None:
    measured, predicted = tables(1.3)
    other = measured.assign(effect=3 * measured["effect"] + 7)
    result = calibrate(other, predicted, align="linear")
    assert result.slope == pytest.approx(3, rel=0.05)
    assert result.intercept == pytest.approx(7, abs=0.1)
    assert result.sd_scale == pytest.approx(1.3, rel=0.06)
    assert calibrate(other, predicted).variance_scale > 50
    low, high = result.interval(np.array([0.0]), np.array([0.1]))
    assert low < 7 < high
    assert high - low == pytest.approx(2 * 1.96 * 3 * 0.13, rel=0.1)
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
        (lambda m, p: (m.assign(variant="x" + m["variant"]), p), "0 are.*'xchr1:.*do they"),
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


def codes(result: CalibrationResult) -> list[str]:
    return [caution.code for caution in result.cautions]


def test_a_line_that_hides_opposite_effects_is_warned_of() -> None:
    _, predicted = tables(n=100)
    measured = pd.DataFrame({"variant": predicted["variant"], "effect": -predicted["effect_mean"]})
    result = calibrate(measured, predicted, align="linear")
    assert result.slope == pytest.approx(-1)
    assert result.correlation.r == pytest.approx(-1)
    assert (observed(result) == 1).all()
    assert "negative_correlation" in codes(result)
    assert "REF and ALT exchanged" in result.cautions[0].message
    assert "negative_correlation" in codes(calibrate(measured, predicted))
    assert codes(calibrate(*tables())) == []


@pytest.mark.parametrize("align", ["none", "linear"])
def test_effects_that_are_not_correlated_are_warned_of(align: Any) -> None:
    measured, predicted = tables(n=400)
    both = measured.merge(predicted, on="variant")
    fit = stats.linregress(both["effect_mean"], both["effect"])
    rest = both["effect"] - (fit.slope - 1e-8) * both["effect_mean"]
    result = calibrate(both[["variant"]].assign(effect=rest), predicted, align=align)
    assert "no_correlation" in codes(result)
    assert result.correlation.lower < 0 < result.correlation.upper
    if align == "linear":
        assert "nearly flat" in result.cautions[0].message
        assert result.slope == pytest.approx(1e-8, rel=1e-3)
        assert result.sd_scale > 1e7
        assert "sd_scale_far_from_one" in codes(result)
    constant = calibrate(measured.assign(effect=0.1), predicted)
    assert codes(constant) == ["no_correlation", "scaled_intervals_too_wide"]
    assert np.isnan(constant.correlation.r)


def test_a_factor_far_from_one_is_warned_of() -> None:
    measured, predicted = tables(30.0)
    assert "sd_scale_far_from_one" in codes(calibrate(measured, predicted))
    assert "sd_scale_far_from_one" in codes(calibrate(measured.assign(se=1e6), predicted))
    assert codes(calibrate(*tables(5.0))) == []


def test_the_correlation_is_that_of_scipy() -> None:
    measured, predicted = tables(8.0, n=60)
    both = measured.merge(predicted, on="variant")
    expected = stats.pearsonr(both["effect"], both["effect_mean"])
    found = calibrate(measured, predicted).correlation
    assert found.r == pytest.approx(expected.statistic)
    assert (found.lower, found.upper) == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_what_goes_into_files_says_how_it_was_made() -> None:
    result = calibrate(*tables(2.0, n=100), align="linear")
    record = json.loads(json.dumps(result.provenance()))
    for name in ("n", "lambda", "sd_scale", "align", "slope", "intercept", "correlation", "cautions"):
        assert name in record
    assert record["lambda"] == result.variance_scale
    table = result.table()
    assert (table["n"] == 100).all()
    assert (table["align"] == "linear").all()
    assert (table["lambda"] == result.variance_scale).all()
    assert {"sd_scale", "slope", "intercept", "correlation", "cautions"} <= set(table)


def test_overlapping_windows_count_a_variant_once_where_it_is_central() -> None:
    """Two windows of 60 positions, 20 apart: the 40 they share are taken from the nearer middle."""
    rng = np.random.default_rng(0)
    windows = [
        pd.DataFrame(
            {
                "sequence": i, "chrom": "1", "strand": "+", "pos": np.arange(60) + 1 + 20 * i,
                "position": np.arange(60), "ref": "A", "alt": "C", "output": "y",
                "effect_mean": rng.normal(size=60), "effect_sd": 0.1 + i,
            }
        )
        for i in range(2)
    ]  # fmt: skip
    predicted = pd.concat(windows, ignore_index=True)
    measured = pd.DataFrame({"variant": [f"1:{p}:A:C" for p in range(1, 81)], "effect": 0.0})
    result = calibrate(measured, predicted)
    assert (result.n, result.n_repeated) == (80, 40)
    mean = np.concatenate([windows[0]["effect_mean"][:40], windows[1]["effect_mean"][20:]])
    sd = np.repeat([0.1, 1.1], 40)
    assert_allclose(result.pit, stats.norm.cdf(-mean / sd))


def test_windows_of_the_other_strand_have_the_names_of_the_genome() -> None:
    predicted = pd.DataFrame(
        {
            "sequence": 0, "chrom": "1", "strand": "-", "pos": 40 - np.arange(20),
            "position": np.arange(20), "ref": ["A", "G"] * 10, "alt": "C",
            "effect_mean": np.arange(20.0), "effect_sd": 1.0,
        }
    )  # fmt: skip
    names = [f"1:{40 - i}:{'TC'[i % 2]}:G" for i in range(20)]
    result = calibrate(pd.DataFrame({"variant": names, "effect": np.arange(20.0)}), predicted)
    assert (result.n, result.n_only_measured) == (20, 0)
    assert (result.pit == 0.5).all()


def test_sequences_without_a_place_on_the_genome_are_refused_by_name() -> None:
    measured, _ = tables(n=20)
    predicted = pd.DataFrame(
        {
            "chrom": None, "pos": None, "position": range(20), "ref": "A", "alt": "C",
            "effect_mean": 0.0, "effect_sd": 1.0,
        }
    )  # fmt: skip
    with pytest.raises(InputError, match="no coordinates"):
        calibrate(measured, predicted)
