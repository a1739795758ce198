"""How many draws are enough: the numbers, and the curves that show them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from numpy.testing import assert_allclose
from plot_tables import ism_table, of
from readable import by_gid, legend_labels, notes

from kipoi_mcdropout.effects.draws_enough import draws_enough
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.model.ensemble import DEFAULT_DRAWS
from kipoi_mcdropout.plots import plot_convergence
from kipoi_mcdropout.plots.convergence import running_moments


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30), st.floats(-1e6, 1e6))
def test_running_moments_are_those_of_the_first_n(values: list[float], shift: float) -> None:
    draws = np.array(values) + shift
    mean, sd = running_moments(draws)
    for i, n in enumerate(range(2, len(draws) + 1)):
        assert mean[i] == pytest.approx(draws[:n].mean(), rel=1e-9, abs=1e-6)
        assert sd[i] == pytest.approx(draws[:n].std(ddof=1), rel=1e-6, abs=1e-4)


def test_curves_are_of_mutants_from_the_strongest_to_the_weakest() -> None:
    table, draws = ism_table()
    panels = plot_convergence(table, draws, output="DNase", min_z=2, n_mutants=3)
    rows = of(table, "DNase")
    clear = rows[rows.effect_mean.abs() >= 2 * rows.effect_sd]
    ranked = clear.effect_mean.abs().sort_values(ascending=False).index
    chosen = [ranked[0], ranked[(len(ranked) - 1) // 2], ranked[-1]]
    own = draws[:, (table.output == "DNase").to_numpy()]
    for i, (mean_line, sd_line) in zip(
        chosen,
        zip(by_gid(panels["mean"], "running"), by_gid(panels["sd"], "running"), strict=True),
        strict=True,
    ):
        for line, statistic in ((mean_line, np.mean), (sd_line, lambda x: np.std(x, ddof=1))):
            n, values = line.get_data()
            assert_allclose(n, np.arange(2, 21))
            expected = np.array([statistic(own[:k, i]) for k in range(2, 21)]) / statistic(own[:, i])
            assert_allclose(values, expected, rtol=1e-6)
    words = legend_labels(panels["mean"].figure.axes[0])
    row = rows.loc[chosen[0]]
    assert words[0].startswith(f"{row.chrom}:{row.pos}:{row.ref}:{row.alt}: mean ")
    assert f"sd {row.effect_sd:.2g}" in words[0]


def test_bands_are_one_monte_carlo_error() -> None:
    table, draws = ism_table(outputs=("FOXA2",))
    panels = plot_convergence(table, draws, n_mutants=1)
    strongest = draws[:, table.effect_mean.abs().argmax()]
    mean, sd = strongest.mean(), strongest.std(ddof=1)
    for name, middle, error in (
        ("mean", 1.0, sd / np.sqrt(20) / abs(mean)),
        ("sd", 1.0, 1 / np.sqrt(2 * 19)),
    ):
        (band,) = by_gid(panels[name], "band")
        last = [y for x, y in band.get_paths()[0].vertices if x == 20]
        assert min(last) == pytest.approx(middle - error, rel=1e-6)
        assert max(last) == pytest.approx(middle + error, rel=1e-6)


def _enough_at(ax: Axes) -> int:
    (line,) = by_gid(ax, "enough")
    return line.get_xdata()[0]


def test_the_lines_are_where_it_is_enough() -> None:
    table, draws = ism_table(outputs=("FOXA2",))
    found = draws_enough(table, tolerance=0.1)
    panels = plot_convergence(table, draws, tolerance=0.1)
    assert _enough_at(panels["mean"]) == found.for_mean
    assert _enough_at(panels["sd"]) == found.for_sd == 51
    assert panels["sd"].get_xlim()[1] > 51  # in sight, though there are 20 draws
    assert "20 draws: sd to 16 %; for 10 % use --n_draws 51" in notes(panels["sd"])
    rough = plot_convergence(table, draws, tolerance=0.3)
    assert "20 draws: sd to 16 %, enough" in notes(rough["sd"])


def test_enough_means_what_it_says() -> None:
    table, _ = ism_table(n_sequences=6, outputs=("FOXA2",))
    found = draws_enough(table, tolerance=0.1, min_z=2)
    clear = table[table.effect_mean.abs() >= 2 * table.effect_sd]
    assert found.n_mutants == len(clear)
    relative = clear.effect_sd / np.sqrt(found.for_mean) / clear.effect_mean.abs()
    assert np.quantile(relative, 0.95) <= 0.1
    fewer = clear.effect_sd / np.sqrt(found.for_mean - 1) / clear.effect_mean.abs()
    assert np.quantile(fewer, 0.95) > 0.1
    assert found.for_mean <= 25  # 1 / (0.1 * 2)**2
    assert 1 / np.sqrt(2 * (found.for_sd - 1)) <= 0.1 < 1 / np.sqrt(2 * (found.for_sd - 2))
    assert not found.enough
    assert found.sentence().endswith("For 10 % run with --n_draws 51.")
    many = draws_enough(table.assign(n_draws=60))
    assert many.enough
    assert "run with" not in many.sentence()


def test_the_default_number_of_draws_is_enough_by_the_one_rule() -> None:
    table, _ = ism_table(outputs=("FOXA2",))
    assert DEFAULT_DRAWS == 30
    found = draws_enough(table.assign(n_draws=30))
    assert (found.for_sd, found.enough) == (24, True)
    assert found.sd_error == pytest.approx(1 / np.sqrt(58))
    words = found.sentence()
    assert words.startswith("30 draws give each sd to 13 %, and the mean effect to ")
    more = "51 would give each sd to 10 %, 201 would give each sd to 5 %"
    assert words.endswith(f"That is enough for most uses; {more}.")
    assert not draws_enough(table.assign(n_draws=23)).enough


def test_simulated_sd_is_known_as_well_as_promised() -> None:
    n = draws_enough(ism_table(outputs=("FOXA2",))[0], tolerance=0.1).for_sd
    sd = np.random.default_rng(0).normal(size=(4000, n)).std(axis=1, ddof=1)
    assert sd.std() == pytest.approx(0.1, rel=0.05)


def test_without_a_clear_effect_the_most_certain_are_shown() -> None:
    table, draws = ism_table(1, outputs=("FOXA2",))
    panels = plot_convergence(table, draws, min_z=1e6, n_mutants=2)
    assert len(by_gid(panels["mean"], "running")) == 2
    assert by_gid(panels["mean"], "enough") == []
    found = draws_enough(table, min_z=1e6)
    assert (found.n_mutants, found.for_mean) == (0, 0)
    assert "no mutant has" in found.sentence()


def test_draws_of_another_table_are_refused() -> None:
    table, draws = ism_table(outputs=("FOXA2",))
    with pytest.raises(InputError, match=r"shape \(n_draws >= 2, 72\).*got \(20, 71\)"):
        plot_convergence(table, draws[:, 1:])
    with pytest.raises(InputError, match="their means differ from effect_mean"):
        plot_convergence(table, draws[:, ::-1])
    with pytest.raises(InputError, match=r"an effect|varies over the draws; this result has none"):
        plot_convergence(table.assign(effect_sd=0.0), draws)
    with pytest.raises(InputError, match="tolerance must lie between 0 and 1; got 2"):
        draws_enough(table, tolerance=2)
    with pytest.raises(InputError, match="min_z must be above 0; got 0"):
        draws_enough(table, min_z=0)
