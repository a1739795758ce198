"""Ranks among a background: by hand, by counting one by one, and by scipy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kipoi_mcdropout.significance.ranks import Ranks

HALVES = st.integers(-6, 6).map(lambda n: n / 2)  # so that there are ties, and zeros


def ranked(background: list[float], values: list[float]) -> Ranks:
    return Ranks.of(np.sort(np.array(background, np.float32)), np.array(values, np.float32))


def test_by_hand() -> None:
    ranks = ranked([-3, -1, 0, 0, 2], [2, -2, 0, 5, 1])
    # |background| is 0 0 1 2 3
    assert ranks.percentile().tolist() == [70, 70, 20, 100, 50]
    assert ranks.percentile_signed().tolist() == [90, 20, 60, 100, 80]
    assert ranks.p_value() == pytest.approx([3 / 6, 3 / 6, 1, 1 / 6, 4 / 6])
    # upper tails: 2/6, 5/6, 4/6, 1/6, 2/6; lower tails: 6/6, 2/6, 5/6, 6/6, 5/6
    assert ranks.p_value_signed() == pytest.approx([4 / 6, 4 / 6, 1, 2 / 6, 4 / 6])


@given(st.lists(HALVES, min_size=1, max_size=30), st.lists(HALVES, min_size=1, max_size=8))
def test_as_counted_one_by_one(background: list[float], values: list[float]) -> None:
    ranks, b, n = ranked(background, values), np.array(background), len(background)
    for i, v in enumerate(values):
        assert ranks.p_value()[i] == (1 + sum(abs(b) >= abs(v))) / (1 + n)
        tails = (1 + sum(b >= v)) / (1 + n), (1 + sum(b <= v)) / (1 + n)
        assert ranks.p_value_signed()[i] == (1 if v == 0 else min(1, 2 * min(tails)))
        of_size = scipy.stats.percentileofscore(abs(b), abs(v), kind="mean")
        assert ranks.percentile()[i] == pytest.approx(of_size)
        signed = scipy.stats.percentileofscore(b, v, kind="mean")
        assert ranks.percentile_signed()[i] == pytest.approx(signed)


@given(arrays.arrays(np.float32, st.integers(1, 40), elements=st.floats(-4, 4, width=32)))
def test_an_effect_of_zero_is_never_significant(background: np.ndarray) -> None:
    ranks = ranked(background.tolist(), [0.0, -0.0])
    assert ranks.p_value().tolist() == ranks.p_value_signed().tolist() == [1, 1]


def test_no_number_has_no_rank() -> None:
    ranks = ranked([1, 2], [np.nan, 1])
    for of in (Ranks.p_value, Ranks.p_value_signed, Ranks.percentile, Ranks.percentile_signed):
        values = of(ranks)
        assert np.isnan(values).tolist() == [True, False]
