"""Mendelian randomization and calibration: lines are the estimates, points the instruments."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from numpy.testing import assert_allclose, assert_array_equal
from readable import by_gid, legend_labels, notes, tick_labels
from scipy import stats

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr import Instruments, answer, leave_one_out, mr_egger, mr_ivw
from kipoi_mcdropout.mr.estimators.bootstrap import point_estimate
from kipoi_mcdropout.plots import (
    plot_calibration,
    plot_mr,
    plot_mr_funnel,
    plot_mr_leave_one_out,
    plot_mr_scatter,
)
from kipoi_mcdropout.plots.calibration import binomial_interval
from kipoi_mcdropout.significance.calibration import CalibrationResult, calibrate


def instruments(n: int = 20, n_sequences: int = 1, seed: int = 0) -> Instruments:
    random = np.random.default_rng(seed)
    x = random.normal(0, 1, n)
    return Instruments(
        snp=[f"s{i}" for i in range(n)],
        beta_exposure=x,
        se_exposure=random.uniform(0.05, 0.2, n),
        beta_outcome=0.7 * x + 0.1 * np.sign(x) + random.normal(0, 0.1, n),
        se_outcome=random.uniform(0.05, 0.2, n),
        exposure="FOXA2",
        outcome="DNase",
        se_type="sd",
        n_draws=30,
        sequence=[f"region_{i % n_sequences}" for i in range(n)],
        provenance={"score": "logit"},
    )


def test_scatter_has_the_oriented_instruments_with_both_errors() -> None:
    given = instruments()
    ax = plot_mr_scatter(given)
    used = given.oriented()
    (points,) = by_gid(ax, "mutants")
    assert_allclose(points.get_xydata(), np.column_stack([used.beta_exposure, used.beta_outcome]))
    assert (points.get_xdata() >= 0).all()
    ends = [np.array(bars.get_segments()) for bars in by_gid(ax, "error")]
    across, up = sorted(ends, key=lambda e: np.ptp(e[0, :, 1]))  # level bars do not rise
    assert_allclose(across[:, 1, 0] - across[:, 0, 0], 2 * used.se_exposure)
    assert_allclose(up[:, 1, 1] - up[:, 0, 1], 2 * used.se_outcome)
    assert ax.get_xlabel() == "effect on FOXA2 (log odds)"
    assert ax.get_ylabel() == "effect on DNase (log odds)"
    assert notes(ax).split("\n")[:2] == ["20 mutants, turned to positive x", "bars: 1 sd over draws"]


def test_lines_have_the_slope_and_intercept_of_the_estimates() -> None:
    given = instruments()
    ax = plot_mr_scatter(given)
    egger, ivw = mr_egger(given), mr_ivw(given)
    for name, slope, intercept in (
        ("MR-Egger", egger.estimate, egger.intercept),
        ("IVW", ivw.estimate, 0.0),
    ):
        (line,) = by_gid(ax, name)
        (x0, x1), (y0, y1) = line.get_data()
        assert (y1 - y0) / (x1 - x0) == pytest.approx(slope)
        assert x0 == 0
        assert y0 == pytest.approx(intercept)
    words = legend_labels(ax)
    assert words[0].startswith(
        f"MR-Egger: {egger.estimate:.3g} ({egger.ci_lower:.3g} to {egger.ci_upper:.3g})"
    )
    assert words[1] == f"IVW: {ivw.estimate:.3g} ({ivw.ci_lower:.3g} to {ivw.ci_upper:.3g})"


def test_each_robust_method_has_its_line_and_each_group_its_colour() -> None:
    given = instruments()
    groups = {name: "2" if i % 4 == 0 else "1" for i, name in enumerate(given.snp.tolist())}
    groups["s1"] = "no group"
    ax = plot_mr_scatter(given, groups=groups, advice="two groups of mutations")
    for name in ("ivw_robust", "conmix", "weighted_median", "weighted_mode"):
        (line,) = by_gid(ax, name)
        (x0, x1), (y0, y1) = line.get_data()
        assert (x0, y0) == (0, 0)
        assert (y1 - y0) / (x1 - x0) == pytest.approx(point_estimate(given, name))
    words = legend_labels(ax)
    assert words[2] == f"robust IVW: {point_estimate(given, 'ivw_robust'):.3g}"
    more = {"lasso": "MR-Lasso", "maxlik": "maximum likelihood", "ivw_radial": "radial IVW"}
    for name, short in more.items():  # each has a line, or is named beside the line that it repeats
        own = any(word.startswith(f"{short}: ") for word in words)
        assert own == (len(by_gid(ax, name)) == 1)
        assert own != (short in notes(ax))
    assert len(words) == 6 + sum(len(by_gid(ax, name)) for name in more)
    used = given.oriented()
    (second,) = by_gid(ax, "group 2")
    assert_allclose(second.get_offsets(), np.column_stack([used.beta_exposure, used.beta_outcome])[::4])
    (none,) = by_gid(ax, "group no group")
    assert len(none.get_offsets()) == 1
    assert not np.allclose(second.get_facecolor(), none.get_facecolor())
    remarks = notes(ax).split("\n")
    assert remarks[2] == "a colour for each group"
    assert remarks[-1] == "Answer: two groups of mutations"
    assert "like IVW: maximum likelihood" in notes(ax)


def test_the_answer_is_below_the_panels() -> None:
    figure = plot_mr(instruments())["scatter"].figure
    (text,) = [t for ax in figure.axes for t in ax.texts if t.get_gid() == "answer"]
    assert " ".join(text.get_text().split()) == f"Answer: {answer(instruments()).words}"


def test_rows_that_are_not_kept_are_not_drawn() -> None:
    given = instruments()
    keep = np.arange(20) % 2 == 0
    some = given.with_keep(keep, np.where(keep, "", "weak"), {})
    (points,) = by_gid(plot_mr_scatter(some), "mutants")
    assert len(points.get_xdata()) == 10
    assert len(by_gid(plot_mr_funnel(some), "mutants")[0].get_offsets()) == 10


def test_two_instruments_have_no_egger_line() -> None:
    ax = plot_mr_scatter(instruments(2))
    assert by_gid(ax, "MR-Egger") == []
    assert len(by_gid(ax, "IVW")) == 1
    with pytest.raises(InputError, match="at least 2 instruments"):
        plot_mr_scatter(instruments(1))


def test_funnel_has_ratio_and_precision() -> None:
    given = instruments()
    ax = plot_mr_funnel(given)
    (points,) = by_gid(ax, "mutants")
    expected = [given.beta_outcome / given.beta_exposure, np.abs(given.beta_exposure) / given.se_outcome]
    assert_allclose(points.get_offsets(), np.column_stack(expected))
    for name, estimate in (("MR-Egger", mr_egger(given)), ("IVW", mr_ivw(given))):
        assert by_gid(ax, name)[0].get_xdata()[0] == pytest.approx(estimate.estimate)
    low, high = ax.get_xlim()
    outside = int(((expected[0] < low) | (expected[0] > high)).sum())
    assert notes(ax) == (f"ratios outside the frame: {outside}" if outside else "")


def test_funnel_leaves_out_exposure_effects_of_zero() -> None:
    given = instruments()
    x = np.array(given.beta_exposure)
    x[3] = 0
    none = Instruments(given.snp, x, given.se_exposure, given.beta_outcome, given.se_outcome)
    ax = plot_mr_funnel(none)
    assert len(by_gid(ax, "mutants")[0].get_offsets()) == 19
    assert "no effect on the exposure: 1" in notes(ax)


def _rows(ax: Axes) -> dict[str, float]:
    """Estimate by name, from the marks and the tick labels."""
    marks = np.concatenate([a.get_xydata() for a in ax.lines if a.get_marker() == "o"])
    labels = [label.get_text() for label in ax.get_yticklabels()]
    return {labels[round(y)]: x for x, y in marks}


def test_leave_one_out_has_a_row_per_mutant() -> None:
    given = instruments()
    rows = _rows(plot_mr_leave_one_out(given))
    table = leave_one_out(given).set_index("without").estimate
    assert len(rows) == 21
    assert rows.pop("none left out") == pytest.approx(table.pop("(none)"))
    assert rows == pytest.approx(table.to_dict())


def test_leave_one_out_of_many_is_by_sequence_or_of_those_that_matter() -> None:
    given = instruments(60, n_sequences=4)
    ax = plot_mr_leave_one_out(given)
    table = leave_one_out(given, by_sequence=True).set_index("without").estimate
    rows = _rows(ax)
    assert rows["region_2"] == pytest.approx(table["region_2"])
    assert len(rows) == 5
    assert "each sequence in turn" in notes(ax)
    ax = plot_mr_leave_one_out(given, by_sequence=False)
    single = leave_one_out(given).set_index("without").estimate
    moved = (single - single["(none)"]).abs().sort_values(ascending=False)[:20]
    assert set(_rows(ax)) == {*moved.index, "none left out"}
    assert notes(ax) == "each mutant in turn; 95 % intervals\nthe 20 of 60 that change it most"


def test_the_three_panels() -> None:
    panels = plot_mr(instruments())
    assert list(panels) == ["scatter", "funnel", "leave_one_out"]
    assert len({id(ax.figure) for ax in panels.values()}) == 1


@pytest.fixture(scope="module")
def calibrated() -> CalibrationResult:
    random = np.random.default_rng(0)
    n = 300
    names, mean, sd = [f"v{i}" for i in range(n)], random.normal(0, 1, n), random.uniform(0.1, 0.5, n)
    measured = pd.DataFrame({"variant": names, "effect": mean + 2 * sd * random.normal(size=n)})
    return calibrate(measured, pd.DataFrame({"variant": names, "effect_mean": mean, "effect_sd": sd}))


def test_coverage_is_the_result_and_the_line_goes_through_it(calibrated: CalibrationResult) -> None:
    ax = plot_calibration(calibrated)["coverage"]
    table = calibrated.coverage
    for gid, column in (("scaled", "scaled"), ("recalibrated", "recalibrated")):
        (marks,) = by_gid(ax, gid)
        assert_allclose(marks.get_xydata(), table[["level", column]])
    (line,) = by_gid(ax, "every level")
    levels, share = line.get_data()
    assert_allclose(np.interp(table.level, levels, share), table.observed, atol=1e-12)
    assert_allclose(by_gid(ax, "honest")[0].get_xydata(), [[0, 0], [1, 1]])
    bars = next(c for c in ax.collections if len(c.get_segments()) == len(table))
    ends = np.array(bars.get_segments())[:, :, 1]
    assert_allclose(ends, table[["lower", "upper"]])
    assert legend_labels(ax) == ["as predicted", f"sd × {calibrated.sd_scale:.3g}", "recalibrated"]
    assert "300 variants" in notes(ax)


@pytest.mark.parametrize("n", [1, 10, 11, 300, 999, 12345, 10**6])
def test_the_band_is_that_of_scipy(n: int) -> None:
    for p in (0.05, 0.1, 1 / 3, 0.5, 0.9):
        for level in (0.5, 0.8, 0.95, 0.999):
            assert_array_equal(binomial_interval(level, n, p), stats.binom.interval(level, n, p))


def test_the_pit_is_a_density_with_the_band_of_chance(calibrated: CalibrationResult) -> None:
    ax = plot_calibration(calibrated)["pit"]
    heights = np.array([bar.get_height() for bar in ax.patches if bar.get_gid() == "pit"])
    assert_allclose(heights, calibrated.pit_counts / 30)
    assert heights.mean() == pytest.approx(1)
    (band,) = by_gid(ax, "band")
    low, high = band.get_y() * 30, (band.get_y() + band.get_height()) * 30
    draws = np.random.default_rng(0).binomial(300, 0.1, 20_000)
    assert ((draws >= low) & (draws <= high)).mean() == pytest.approx(0.95, abs=0.02)
    assert f"λ = {calibrated.variance_scale:.3g}" in ax.get_title(loc="left")
    assert "PIT" in ax.get_xlabel()
    assert ax.get_ylabel() == "density"
    assert tick_labels(ax)
