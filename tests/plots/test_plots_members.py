"""The plot of members, from Python and by the command; and what the report says of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_models import Linear, fixed, one_hot

import kipoi_mcdropout as mcd
from kipoi_mcdropout.cli.commands import plot
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.plots import plot_members
from kipoi_mcdropout.reports.story import story

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def effects(tmp_path_factory: pytest.TempPathFactory) -> mcd.Effects:
    model = mcd.Model([fixed(Linear(), seed) for seed in range(3)], outputs=["A", "B", "C"])
    options = mcd.MutationOptions(start=0, end=10)
    path = tmp_path_factory.mktemp("members") / "ism.h5"
    return mcd.ism(model, one_hot(2), n_draws=12, options=options, output=path)


def test_the_points_are_the_means_and_the_parts(effects: mcd.Effects) -> None:
    table, means = effects.table(), effects.member_means()
    panels = plot_members(table, means, output="B", names=effects.members)
    own = (table["output"] == "B").to_numpy()
    drawn = {c.get_gid(): np.asarray(c.get_offsets()) for c in panels["effects"].collections}
    for i, name in enumerate(effects.members):
        expected = np.column_stack([table["effect_mean"][own], means[i, own]])
        np.testing.assert_allclose(drawn[name], expected, rtol=1e-6)
    legend = panels["effects"].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["member 1", "member 2", "member 3"]
    (points,) = [c for c in panels["spread"].collections if c.get_gid() == "mutants"]
    expected = table.loc[own, ["effect_sd_within", "effect_sd_between"]].to_numpy()
    np.testing.assert_allclose(np.asarray(points.get_offsets()), expected, rtol=1e-6)
    text = " ".join(t.get_text() for t in panels["spread"].texts)
    share = 100 * float((expected[:, 1] > expected[:, 0]).mean())
    assert f"{share:.0f} % of the mutants" in text


def test_a_table_alone_has_the_panel_of_the_parts(effects: mcd.Effects) -> None:
    assert set(plot_members(effects.table(), output="A")) == {"spread"}


def test_effects_of_one_model_are_refused(effects: mcd.Effects) -> None:
    alone = mcd.ism(mcd.Model(fixed(Linear())), one_hot(1), n_draws=4).table()
    with pytest.raises(InputError, match="--member"):
        plot_members(alone, output="0")
    with pytest.raises(InputError, match=r"shape \(members, \d+\)"):
        plot_members(effects.table(), effects.member_means()[:, 1:], output="A")
    with pytest.raises(InputError, match="names must be those of the 3 members; got 2"):
        plot_members(effects.table(), effects.member_means(), output="A", names=["a", "b"])


def test_the_command_draws_it(effects: mcd.Effects, tmp_path: Path) -> None:
    assert effects.path is not None
    out = tmp_path / "members.png"
    assert plot.main(["members", str(effects.path), "--target", "A", "-o", str(out)]) == 0
    assert out.stat().st_size > 10_000


def test_the_report_says_what_the_members_are(effects: mcd.Effects, tmp_path: Path) -> None:
    words = " ".join(story(effects.provenance, "ism"))
    assert "3 members (trained networks: member 1, member 2, member 3), with 4 draws of each" in words
    page = tmp_path / "report.html"
    mcd.report(effects, page)
    assert "Within and between the members" in page.read_text()
