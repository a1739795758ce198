"""The bootstrap over clusters: whole clusters are drawn, and intervals hold on data of known truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.significance.agreement import pearson, share_right
from kipoi_mcdropout.significance.cluster_bootstrap import blocks_of_places, bootstrap, interval


def test_whole_clusters_are_drawn() -> None:
    cluster = np.array([0, 1, 0, 2, 1])
    seen = bootstrap({"counts": lambda counts: counts}, cluster, 500, 0)["counts"]
    assert (seen[:, 0] == seen[:, 2]).all()
    assert (seen[:, 1] == seen[:, 4]).all()
    assert (seen[:, [0, 1, 3]].sum(axis=1) == 3).all()
    assert seen[:, [0, 1, 3]].mean(axis=0) == pytest.approx(1, abs=0.1)


def test_the_seed_alone_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).normal(size=(2, 40))
    statistics = {"r": pearson(*x), "mean": share_right(x[0])}
    whole = bootstrap(statistics, np.arange(40), 300, 5)
    assert whole["r"].std() > 0
    monkeypatch.setattr("kipoi_mcdropout.significance.cluster_bootstrap._AT_ONCE", 40 * 7)
    pieces = bootstrap({"r": statistics["r"]}, np.arange(40), 300, 5)
    np.testing.assert_allclose(pieces["r"], whole["r"], rtol=1e-12)
    assert (bootstrap({"r": statistics["r"]}, np.arange(40), 300, 6)["r"] != whole["r"]).any()


def test_blocks_are_stretches_of_a_contig() -> None:
    names = pd.Series(["chr1:19:A:C", "chr1:20:A:C", "chr1:39:AT:C", "chr2:20:A:C", "a:b:20:A:C"])
    blocks = blocks_of_places(names, 20)
    assert blocks is not None
    assert blocks.tolist() == [0, 1, 1, 2, 3]
    assert blocks_of_places(pd.Series(["chr1:19:A:C", "rs12"]), 20) is None
    with pytest.raises(InputError, match="block_bp must be 1 or more; got 0"):
        blocks_of_places(names, 0)


def test_an_interval_needs_values() -> None:
    values = np.arange(101.0)
    assert interval(values, 0.9) == pytest.approx((5.0, 95.0))
    values[:60] = np.nan
    assert np.isnan(interval(values, 0.9)).all()


@pytest.mark.parametrize("clustered", [True, False])
def test_intervals_of_neighbours_hold_only_if_they_are_drawn_together(clustered: bool) -> None:
    """40 clusters of 5 variants that share most of their error; the true mean is 0."""
    rng, hold, n_runs = np.random.default_rng(3), 0, 200
    cluster = np.repeat(np.arange(40), 5) if clustered else np.arange(200)
    for run in range(n_runs):
        shared = np.repeat(rng.normal(size=40), 5)
        values = shared + 0.3 * rng.normal(size=200)
        drawn = bootstrap({"mean": share_right(values)}, cluster, 300, run)["mean"]
        lower, upper = interval(drawn, 0.9)
        hold += lower < 0 < upper
    if clustered:
        assert 0.83 <= hold / n_runs <= 0.96  # 0.9 with 3 binomial errors of 0.021
    else:
        assert hold / n_runs < 0.7
