"""q-values from counts are those of all p-values at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from kipoi_mcdropout.effects import streamed_q
from kipoi_mcdropout.effects.streamed_q import StreamedQ, StreamedQs

COUNTS = st.lists(st.one_of(st.integers(1, 9), st.none()), max_size=12)


@given(st.lists(COUNTS, min_size=1, max_size=5), st.sampled_from([np.float32, np.float64]))
def test_as_by_statsmodels(pieces: list[list[int | None]], kind: type) -> None:
    parts = [np.array([np.nan if k is None else k / 9 for k in piece], kind) for piece in pieces]
    streamed = StreamedQ()
    for part in parts:
        streamed.add(part)
    q = np.concatenate([streamed.of(part) for part in parts])
    p = np.concatenate(parts)
    known = np.isfinite(p)
    assert np.isnan(q[~known]).all()
    if known.any():
        expected = multipletests(p[known].astype(np.float64), method="fdr_bh")[1]
        assert q[known] == pytest.approx(expected)


def test_memory_is_that_of_the_distinct_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed_q, "_AT_ONCE", 100)
    streamed, random = StreamedQ(), np.random.default_rng(0)
    for _ in range(50):
        streamed.add(random.integers(1, 8, 60) / 8)
        assert streamed._n_waiting <= 160
    assert len(streamed._p) == 7
    assert streamed._counts.sum() + streamed._n_waiting == 3000


def test_each_output_has_its_own() -> None:
    many = StreamedQs()
    many.add("a", np.array([0.01]))
    many.add("b", np.array([0.01, 1.0]))
    assert many.q("a", np.array([0.01])).tolist() == [0.01]
    assert many.q("b", np.array([0.01])).tolist() == [0.02]
