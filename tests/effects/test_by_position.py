"""What stands for a position, compared with pandas."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.testing import assert_allclose, assert_array_equal

from kipoi_mcdropout.effects.by_position import by_position


def test_it_is_what_pandas_groups() -> None:
    random = np.random.default_rng(0)
    rows = pd.DataFrame({"pos": random.integers(5, 40, 200), "effect": random.normal(size=200).round(1)})
    rows.loc[[3, 70], "effect"] = np.nan, -np.inf
    undefined = rows["pos"].isin(rows["pos"][[3, 70]])
    known, size = rows[~undefined], rows["effect"].abs()
    found = by_position(rows["pos"], rows["effect"])
    defined = np.isfinite(found.importance)
    assert_array_equal(found.counts, rows.groupby("pos").size())
    assert_array_equal(found.strongest[defined], size[~undefined].groupby(known["pos"]).idxmax())
    assert_allclose(found.importance[defined], -known.groupby("pos")["effect"].mean(), atol=1e-12)
    assert_array_equal(rows["pos"][found.strongest[~defined]], sorted(rows["pos"][[3, 70]]))


def test_no_effect_is_not_a_negative_zero() -> None:
    assert not np.signbit(by_position([1, 1], [0.0, 0.0]).importance).any()
