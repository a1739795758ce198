"""Mean-variance, volcano, covariance and effects: what is drawn is what the table holds."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from numpy.testing import assert_allclose, assert_array_equal
from plot_tables import ism_table, of, vcf_table
from readable import by_gid, legend_labels, notes
from scipy import stats

from kipoi_mcdropout.errors import InputError, TargetError
from kipoi_mcdropout.plots import (
    plot_effects,
    plot_mean_variance,
    plot_ref_alt_covariance,
    plot_volcano,
    style,
)


def offsets(ax: Axes, gid: str) -> np.ndarray:
    """Points of the scatters of this name, sorted, shape=(n, 2)."""
    points = np.concatenate([np.asarray(artist.get_offsets()) for artist in by_gid(ax, gid)])
    return points[np.lexsort(points.T)]


def pairs(x: pd.Series, y: pd.Series) -> np.ndarray:
    points = np.column_stack([x, y]).astype(float)
    return points[np.lexsort(points.T)]


def test_mean_variance_has_a_point_per_mutant_and_the_coin_above() -> None:
    table, _ = ism_table()
    ax = plot_mean_variance(table, output="DNase")
    rows = of(table, "DNase")
    assert_allclose(offsets(ax, "mutants"), pairs(rows.alt_mean, rows.alt_var))
    references = rows.groupby("name")[["ref_mean", "ref_var"]].first()
    assert_allclose(offsets(ax, "reference"), pairs(references.ref_mean, references.ref_var))
    (ceiling,) = by_gid(ax, "ceiling")
    p, highest = ceiling.get_data()
    assert_allclose(highest, p * (1 - p))
    assert p.min() < 0.01
    assert p.max() > 0.99
    assert max(highest) == pytest.approx(0.25)
    assert ax.get_xlabel() == "mean over draws: DNase"
    assert ax.get_ylabel() == "variance over draws"


def test_mean_variance_gives_each_sequence_its_colour() -> None:
    table, _ = ism_table(n_sequences=9)
    ax = plot_mean_variance(table, output="FOXA2")
    assert legend_labels(ax) == [f"region_{i}" for i in range(9)]
    colour_of = {}
    for i, mark in enumerate(by_gid(ax, "reference")):
        colour_of[f"region_{i}"] = to_hex(mark.get_facecolor()[0])
    assert list(colour_of.values())[:7] == [color.lower() for color in style.CATEGORIES]
    rows = of(table).set_index(["alt_mean", "alt_var"])["name"]
    for circles in by_gid(ax, "mutants"):
        for (x, y), color in zip(circles.get_offsets(), circles.get_facecolor(), strict=True):
            assert to_hex(color) == colour_of[rows[(x, y)]]
    assert len(by_gid(ax, "mutants")) == 2  # beyond seven the colours come again, with another mark


def test_mean_variance_of_many_sequences_has_a_scale_instead_of_a_legend() -> None:
    table, _ = ism_table(n_sequences=20, length=4)
    ax = plot_mean_variance(table, output="FOXA2")
    assert ax.get_legend() is None
    (points,) = by_gid(ax, "mutants")
    assert_array_equal(np.unique(points.get_array()), np.arange(20))
    assert "sequence" in ax.figure.axes[1].get_ylabel()


def test_no_ceiling_where_predictions_are_no_probabilities() -> None:
    table, _ = ism_table(scores=("logit",))
    ax = plot_mean_variance(table, output="FOXA2")
    assert by_gid(ax, "ceiling") == []
    assert "log odds" in ax.get_xlabel()
    wide, _ = ism_table()
    wide[["alt_mean", "ref_mean"]] *= 5
    assert by_gid(plot_mean_variance(wide, output="FOXA2"), "ceiling") == []


def test_undefined_and_constant_rows_are_counted_not_drawn() -> None:
    table, _ = ism_table(outputs=("FOXA2",))
    table.loc[:2, ["alt_mean", "alt_var", "effect_mean", "effect_sd"]] = np.nan
    table.loc[3:4, ["alt_var", "effect_sd"]] = 0
    ax = plot_mean_variance(table)
    assert len(offsets(ax, "mutants")) == len(table) - 5
    assert notes(ax) == "2 with variance 0 not shown\n3 undefined (NaN) not shown"
    assert notes(plot_volcano(table)) == "2 with sd 0 not shown\n3 undefined (NaN) not shown"
    assert "2 with sd 0 not shown\n3 undefined" in notes(plot_ref_alt_covariance(table))
    assert "3 undefined (NaN) not shown" in notes(plot_effects(table))


def test_above_the_limit_points_are_sampled_and_it_is_said() -> None:
    table, _ = ism_table(n_sequences=3, length=20, outputs=("FOXA2",))
    large = pd.concat([table] * (100_000 // len(table) + 2), ignore_index=True)
    for function, gid in ((plot_mean_variance, "mutants"), (plot_ref_alt_covariance, "mutants")):
        ax = function(large)
        assert sum(len(artist.get_offsets()) for artist in by_gid(ax, gid)) == 100_000
        assert f"100,000 of {len(large):,} points, at random" in notes(ax)
        assert all(artist.get_rasterized() for artist in by_gid(ax, gid))
    assert not any(artist.get_rasterized() for artist in by_gid(plot_mean_variance(table), "mutants"))
    variants = large.drop(columns=["sequence", "name", "position"]).assign(pos=range(len(large)))
    ax = plot_effects(variants)
    assert sum(len(line.get_xdata()) for line in ax.lines if line.get_gid()) == 100_000
    assert f"100,000 of {len(large):,} points, at random" in notes(ax)


def test_volcano_has_effect_and_z_of_every_variant() -> None:
    table = vcf_table()
    ax = plot_volcano(table, min_z=2.5)
    groups = {
        "|z| < 2.5": table.z.abs() < 2.5,
        "lowers": (table.z <= -2.5),
        "raises": (table.z >= 2.5),
    }
    for gid, member in groups.items():
        rows = table[member]
        assert_allclose(offsets(ax, gid), pairs(rows.effect_mean, rows.z.abs()))
    assert legend_labels(ax) == [f"{gid} ({member.sum()})" for gid, member in groups.items()]
    assert by_gid(ax, "min_z")[0].get_ydata()[0] == 2.5
    assert "alt − ref" in ax.get_xlabel()
    assert "sd" in ax.get_ylabel()


def test_volcano_names_the_strongest_by_id_or_place() -> None:
    table = vcf_table()
    ax = plot_volcano(table, n_labels=3)
    named = {text.get_text(): text.xy for text in ax.texts if text.get_gid() == "name"}
    assert len(named) == 3
    for name, (x, _) in named.items():
        row = table[np.isclose(table.effect_mean, x)].iloc[0]
        assert name in (row.id, f"chr1:{row.pos}:{row.ref}:{row.alt}")
        assert abs(row.z) >= 2
    assert list(plot_volcano(table, n_labels=0).texts) == []


def test_a_name_stands_nearest_to_its_own_mark() -> None:
    random = np.random.default_rng(3)
    n = 60
    table = pd.concat([vcf_table()] * 2, ignore_index=True)[:n]
    table["id"] = [f"rs{i}" for i in range(n)]
    table["effect_mean"] = -0.4 + 0.1 * random.random(n)
    table["effect_sd"] = table["effect_mean"].abs() / (4 + 3 * random.random(n))
    ax = plot_volcano(table, n_labels=20)
    ax.figure.draw_without_rendering()
    z = (table["effect_mean"] / table["effect_sd"]).abs()
    marks = ax.transData.transform(np.column_stack([table["effect_mean"], z]))
    names = [text for text in ax.texts if text.get_gid() == "name"]
    assert len(names) >= 5
    near = [text for text in names if text.arrow_patch is None]
    assert near
    for text in near:
        box = text.get_window_extent()
        gaps = np.hypot(*(marks - np.clip(marks, (box.x0, box.y0), (box.x1, box.y1))).T)
        assert table["id"][int(gaps.argmin())] == text.get_text()
        assert np.sort(gaps)[1] > 1.5 * gaps.min()


def test_lines_to_names_do_not_cross() -> None:
    lines = []
    for seed in range(6):
        random = np.random.default_rng(seed)
        table = pd.concat([vcf_table()] * 2, ignore_index=True)[:60]
        table["id"] = [f"variant{i}" for i in range(60)]
        table["effect_mean"] = -0.4 + 0.2 * random.random(60)
        table["effect_sd"] = table["effect_mean"].abs() / (4 + 3 * random.random(60))
        ax = plot_volcano(table, n_labels=20)
        ax.figure.draw_without_rendering()
        names = [text for text in ax.texts if text.get_gid() == "name"]
        ours = [text.arrow_patch.get_path() for text in names if text.arrow_patch is not None]
        lines += [*combinations(ours, 2)]
    assert len(lines) > 50
    assert not any(one.intersects_path(other, filled=False) for one, other in lines)


def test_a_deletion_is_no_substitution() -> None:
    table = vcf_table()
    strongest = table.effect_mean.abs().idxmax()
    table.loc[strongest, ["ref", "alt"]] = ["CA", "C"]  # the ALT is one base, as of a substitution
    ax = plot_effects(table, min_z=0)
    drawn = {line.get_gid(): line.get_ydata() for line in ax.lines if line.get_gid()}
    assert table.effect_mean[strongest] in drawn["indel or other"]
    assert table.effect_mean[strongest] not in drawn["to C"]
    substitutions = table[(table.ref.str.len() == 1) & (table.alt == "C")]
    assert_allclose(np.sort(drawn["to C"]), np.sort(substitutions.effect_mean))


def test_rounding_noise_is_no_effect() -> None:
    table = vcf_table()
    table.loc[5, ["effect_mean", "effect_sd"]] = 1e-9, 1e-11
    ax = plot_volcano(table)
    below = offsets(ax, "|z| < 2")
    assert 0 in below[:, 1]


def test_covariance_plot_shows_sd_with_and_without_the_covariance() -> None:
    table, _ = ism_table(outputs=("FOXA2",))
    ax = plot_ref_alt_covariance(table)
    independent = np.sqrt(table.ref_var + table.alt_var)
    shared = np.sqrt(table.ref_var + table.alt_var - 2 * table.ref_alt_cov)
    assert_allclose(offsets(ax, "mutants"), pairs(independent, shared), rtol=1e-9)
    for factor in (1, 10, 100):
        (line,) = by_gid(ax, f"1/{factor}")
        x, y = line.get_data()
        assert_allclose(y, x / factor)
    median = np.median(independent / shared)
    assert f"median: {median:.3g}× shorter" in notes(ax)
    (points,) = by_gid(ax, "mutants")
    assert_allclose(points.get_array(), table.effect_mean.abs())
    assert ax.get_xscale() == ax.get_yscale() == "log"


def test_covariance_plot_needs_a_difference() -> None:
    table, _ = ism_table(outputs=("FOXA2",))
    with pytest.raises(InputError, match=r"diff or logit.*'deepsea_effect'"):
        plot_ref_alt_covariance(table.assign(score="deepsea_effect"))


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_effects_have_their_intervals(level: float) -> None:
    table, _ = ism_table()
    ax = plot_effects(table, output="FOXA2", sequence="region_1", level=level, min_z=2)
    rows = of(table, sequence=1)
    half = stats.norm.ppf((1 + level) / 2) * rows.effect_sd
    clear = rows.effect_mean.abs() >= 2 * rows.effect_sd
    groups = {f"to {base}": clear & (rows.alt == base) for base in "ACGT"}
    groups["|effect| < 2 sd"] = ~clear
    assert (~clear).any()
    assert clear.any()
    for gid, member in groups.items():
        if not member.any():
            assert gid not in legend_labels(ax)
            continue
        marks, bars = _marks_and_bars(ax, gid)
        own = rows[member]
        assert_allclose(marks[:, 1], own.effect_mean)
        assert_array_equal(np.round(marks[:, 0]), own.position)
        assert_allclose(
            bars[:, :, 1],
            np.column_stack([own.effect_mean - half[member], own.effect_mean + half[member]]),
        )
        assert_allclose(bars[:, 0, 0], marks[:, 0])
        assert gid in legend_labels(ax)
    assert f"{100 * level:g} %" in notes(ax)
    assert ax.get_title(loc="left") == "region_1"


def _marks_and_bars(ax: Axes, gid: str) -> tuple[np.ndarray, np.ndarray]:
    """Marks, shape=(n, 2), and bars, shape=(n, 2 ends, 2), of one colour."""
    line, bars = by_gid(ax, gid) if hasattr(by_gid(ax, gid)[0], "get_xydata") else by_gid(ax, gid)[::-1]
    return line.get_xydata(), np.array(bars.get_segments())


def test_effects_use_quantiles_where_there_are_some() -> None:
    table, _ = ism_table(1, outputs=("FOXA2",))
    table["effect_q0.05"], table["effect_q0.95"] = table.effect_mean - 2, table.effect_mean + 3
    ax = plot_effects(table, level=0.9)
    _, bars = _marks_and_bars(ax, "|effect| < 2 sd")
    assert_allclose(bars[:, 1, 1] - bars[:, 0, 1], 5)
    assert "quantiles" in notes(ax)
    assert "normal" in notes(plot_effects(table, level=0.8))


def test_effects_of_a_vcf_are_along_the_chromosome() -> None:
    table = vcf_table()
    ax = plot_effects(table, start=3, end=9)
    marks = np.concatenate([line.get_xydata() for line in ax.lines if line.get_gid()])
    inside = table[(table.pos >= 3) & (table.pos < 9)]
    assert len(marks) == len(inside)
    assert "genome (from 1)" in ax.get_xlabel()
    assert ax.get_title(loc="left") == "chr1"
    assert "indel or other" in legend_labels(plot_effects(table))


def test_the_axes_given_is_the_one_drawn_on() -> None:
    table, _ = ism_table()
    for function in (plot_mean_variance, plot_effects, plot_ref_alt_covariance, plot_volcano):
        ax = style.new_axes()
        assert function(table, output="FOXA2", ax=ax) is ax


def test_outputs_scores_and_sequences_are_chosen_or_refused() -> None:
    table, _ = ism_table(scores=("logit", "diff"))
    with pytest.raises(InputError, match="one output is required; the table has 2: FOXA2, DNase"):
        plot_mean_variance(table)
    with pytest.raises(TargetError, match="'CTCF' is not in the table"):
        plot_mean_variance(table, output="CTCF")
    with pytest.raises(InputError, match=r"--score must be one of .*logit, diff; got 'ref'"):
        plot_mean_variance(table, output="FOXA2", score="ref")
    with pytest.raises(
        InputError, match="sequence '7' is not in the table; it has 2: region_0, region_1"
    ):
        plot_effects(table, output="FOXA2", sequence=7)
    assert "alt − ref" in plot_volcano(table, output="FOXA2").get_xlabel()  # diff before logit
    assert "log odds" in plot_volcano(table, output="FOXA2", score="logit").get_xlabel()
    by_number = plot_effects(table, output="FOXA2", sequence=1)
    assert by_number.get_title(loc="left") == "region_1"
    with pytest.raises(InputError, match="needs effects; the table has no rows"):
        plot_volcano(table[:0])
    with pytest.raises(InputError, match=r"lacks effect_sd.*--n_draws 2"):
        plot_volcano(table.drop(columns="effect_sd"), output="FOXA2")
    with pytest.raises(InputError, match=r"level must lie between 0 and 1; got 1\.5"):
        plot_effects(table, output="FOXA2", level=1.5)
    with pytest.raises(
        InputError, match="--start 50 to --end 60 contains no mutant; positions are 0 to 11"
    ):
        plot_effects(table, output="FOXA2", start=50, end=60)


def test_sequences_of_one_name_are_told_apart() -> None:
    table, _ = ism_table()
    table["name"] = "same"
    ax = plot_mean_variance(table, output="FOXA2")
    assert legend_labels(ax) == ["same (0)", "same (1)"]
    assert plot_effects(table, output="FOXA2", sequence=1).get_title(loc="left") == "same (1)"
