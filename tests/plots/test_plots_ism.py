"""The heat map of in-silico mutagenesis: cells, fading, letters, window."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import PathPatch
from numpy.testing import assert_allclose, assert_array_equal
from plot_tables import ism_table, of
from readable import by_gid, notes, tick_labels

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.plots import plot_ism, style
from kipoi_mcdropout.plots.ism import FADED, effect_grid


def test_every_cell_is_the_effect_of_its_mutant() -> None:
    table, _ = ism_table()
    panels = plot_ism(table, output="DNase", sequence=1)
    rows = of(table, "DNase", 1)
    for panel, column in (("effect", "effect_mean"), ("sd", "effect_sd")):
        (image,) = by_gid(panels[panel], panel)
        values = image.get_array()
        assert values.shape == (4, 12)
        letters = [label for label in tick_labels(panels[panel]) if label in "ACGT"]
        assert letters == list("ACGT")
        assert tuple(image.get_extent()) == (-0.5, 11.5, 3.5, -0.5)
        for row in rows.itertuples():
            assert values["ACGT".index(row.alt), row.position] == pytest.approx(getattr(row, column))
        assert values.count() == len(rows)  # what is left, the reference, is masked
    (image,) = by_gid(panels["effect"], "effect")
    largest = rows.effect_mean.abs().max()
    assert image.get_clim() == pytest.approx((-largest, largest))
    assert image.get_cmap().name == style.DIVERGING


@pytest.mark.parametrize("min_z", [1.0, 2.0, 4.0])
def test_the_faded_cells_are_exactly_those_that_are_not_significant(min_z: float) -> None:
    table, _ = ism_table()
    panels = plot_ism(table, output="FOXA2", min_z=min_z)
    (image,) = by_gid(panels["effect"], "effect")
    opacity = image.get_alpha()
    clear = {
        ("ACGT".index(row.alt), row.position)
        for row in of(table, sequence=0).itertuples()
        if abs(row.effect_mean) >= min_z * row.effect_sd
    }
    assert {tuple(cell) for cell in np.argwhere(opacity == 1)} == clear
    assert set(np.unique(opacity)) == {FADED, 1.0}
    (outlines,) = by_gid(panels["effect"], "significant")
    corners = {
        tuple(np.round(path.vertices[0] + 0.5).astype(int)[::-1]) for path in outlines.get_paths()
    }
    assert corners == clear
    assert f"|effect| at least {min_z:g} sd" in notes(panels["sd"])


def test_letters_are_the_reference_and_as_high_as_minus_the_mean_effect() -> None:
    table, _ = ism_table()
    panels = plot_ism(table, output="FOXA2", min_z=2)
    rows = of(table, sequence=0)
    heights = -rows.groupby("position").effect_mean.mean()
    reference = rows.groupby("position").ref.first()
    clear = (rows.effect_mean.abs() >= 2 * rows.effect_sd).groupby(rows.position).any()
    glyphs = [patch for patch in panels["logo"].patches if isinstance(patch, PathPatch)]
    assert len(glyphs) == 12
    for glyph in glyphs:
        box = glyph.get_path().get_extents()
        position = round((box.x0 + box.x1) / 2)
        floor, ceiling = sorted((0, heights[position]))
        assert (box.y0, box.y1) == pytest.approx((floor, ceiling), abs=1e-9)
        assert to_hex(glyph.get_facecolor()) == style.BASES[reference[position]].lower()
        assert glyph.get_alpha() == (1 if clear[position] else FADED)
    assert 0 < clear.sum() < 12


def test_a_long_sequence_is_shown_around_its_strongest_effect() -> None:
    table, _ = ism_table(1, 300, ("FOXA2",))
    table.loc[
        (table.position == 250) & (table.alt == table.alt[table.position == 250].iloc[0]), "effect_mean"
    ] = 3.0
    panels = plot_ism(table)
    assert panels["effect"].get_xlim() == (199.5, 299.5)
    (window,) = by_gid(panels["overview"], "window")
    assert (window.get_x(), window.get_x() + window.get_width()) == (199.5, 299.5)
    bars = np.concatenate([np.array(c.get_segments()) for c in by_gid(panels["overview"], "strongest")])
    strongest = table.loc[table.effect_mean.abs().groupby(table.position).idxmax()].effect_mean
    assert_allclose(bars[np.argsort(bars[:, 0, 0]), 1, 1], strongest)
    chosen = plot_ism(table, start=20, end=60)
    assert chosen["logo"].get_xlim() == (19.5, 59.5)
    assert "overview" not in plot_ism(ism_table(1, 40, ("FOXA2",))[0])


def test_panels_share_their_positions() -> None:
    panels = plot_ism(ism_table()[0], output="FOXA2")
    panels["sd"].figure.draw_without_rendering()
    places = [panels[name].get_position() for name in ("logo", "effect", "sd")]
    assert len({(round(p.x0, 6), round(p.x1, 6)) for p in places}) == 1
    assert panels["sd"].get_xlabel() == "position in the sequence (from 0)"
    assert (
        panels["effect_scale"].get_ylabel() == "effect on\nFOXA2\n(alt − ref)"
    )
    assert (
        "sd" in panels["sd_scale"].get_ylabel()
    )
    assert panels["logo"].get_title(loc="left") == "region_0  chr1:1-12 (from 1)"


def test_undefined_effects_are_hatched() -> None:
    table, _ = ism_table(1, outputs=("FOXA2",))
    cell = ("ACGT".index(table.alt[7]), table.position[7])
    table.loc[7, ["effect_mean", "effect_sd"]] = np.nan
    panels = plot_ism(table)
    (hatched,) = by_gid(panels["effect"], "unknown")
    (path,) = hatched.get_paths()
    assert tuple(np.round(path.vertices[0] + 0.5).astype(int)[::-1]) == cell
    assert "hatched: no number" in notes(panels["sd"])


def test_no_effect_at_all_is_drawn_without_letters() -> None:
    table, _ = ism_table(1, outputs=("FOXA2",))
    table[["effect_mean", "effect_sd"]] = 0.0
    panels = plot_ism(table)
    (image,) = by_gid(panels["effect"], "effect")
    assert (image.get_alpha() == FADED).all()
    assert not panels["logo"].patches


def test_a_constant_effect_is_significant() -> None:
    table, _ = ism_table(1, outputs=("FOXA2",))
    table["effect_sd"] = 0.0
    grid = effect_grid(of(table))
    assert_array_equal(grid.significant(2.0), np.isfinite(grid.mean))


def test_what_it_cannot_show_is_refused() -> None:
    table, _ = ism_table(1, 300, ("FOXA2",))
    with pytest.raises(InputError, match="readable for up to 200 positions; --start to --end has 250"):
        plot_ism(table, start=0, end=250)
    with pytest.raises(InputError, match="lacks position"):
        plot_ism(table.drop(columns="position"))
    with pytest.raises(InputError, match="has some more than once"):
        plot_ism(pd.concat([table[:9], table[:9]]))
    ax = style.new_figure(100, 100).add_axes((0, 0, 1, 1))
    with pytest.raises(InputError, match=r"figure.subplots or figure.add_subplot; got Axes"):
        plot_ism(table, ax=ax)


def test_the_place_of_an_axes_is_divided() -> None:
    figure = style.new_figure(183, 150)
    left = figure.add_subplot(2, 1, 1)
    panels = plot_ism(ism_table()[0], output="FOXA2", ax=left)
    assert left not in figure.axes
    assert all(ax.figure is figure for ax in panels.values())
    figure.draw_without_rendering()
    assert min(ax.get_position().y0 for ax in panels.values()) > 0.45
