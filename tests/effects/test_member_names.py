"""What members are called in columns, legends and sentences."""

from __future__ import annotations

import pytest

from kipoi_mcdropout.effects.member_names import asked_columns, mean_columns, short_names


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["member 1 (net.py:Net)", "member 2 (a/fold_2.pt)"], ("net.py:Net", "fold_2.pt")),
        (["member 2 (m/1/w.pt)", "member 1 (m/0/w.pt)"], ("1/w.pt", "0/w.pt")),
        (["member 1 (w.pt)", "member 2 (a/w.pt)"], ("w.pt", "a/w.pt")),
        (["member 1 (zoo/Net)", "member 2 (zoo/Net)"], ("member 1 (Net)", "member 2 (Net)")),
        (["member 1", "member 2 (b.pt)"], ("member 1", "b.pt")),
        (["member 1 (a (1).pt)", "member 2 (C:\\\\folds\\\\b.pt)"], ("a (1).pt", "b.pt")),
    ],
)
def test_short_names_tell_members_apart(names: list[str], short: tuple[str, ...]) -> None:
    assert short_names(names) == short


def test_columns_have_the_number_in_which_a_member_was_given() -> None:
    names = ["member 10 (c.pt)", "member 2 (a.pt)", "member 1"]
    assert mean_columns(names) == {"effect_mean_1": 2, "effect_mean_2": 1, "effect_mean_10": 0}
    assert list(mean_columns(names)) == ["effect_mean_1", "effect_mean_2", "effect_mean_10"]


def test_columns_are_there_on_request_alone() -> None:
    record = {"members": [{"name": "member 2"}, {"name": "member 1"}], "options": {}}
    assert asked_columns(record) == {}
    record["options"] = {"member_means": True}
    assert asked_columns(record) == {"effect_mean_1": 1, "effect_mean_2": 0}
