"""Effects against a background: by numpy, draw by draw, in the run and after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from small_models import LENGTH, Linear, NoDropout, fixed, one_hot
from torch import nn

import kipoi_mcdropout as mcd
from kipoi_mcdropout.effects.columns import BACKGROUND_STATISTICS, Q_EMPIRICAL
from kipoi_mcdropout.effects.false_discovery import benjamini_hochberg
from kipoi_mcdropout.errors import InputWarning
from kipoi_mcdropout.significance.background import Background

COLUMNS = [*BACKGROUND_STATISTICS, Q_EMPIRICAL]
# The incremental engine gives exactly 0 where nothing changes.
EXACT = mcd.RunOptions(engine="incremental")
WORDS: dict[str, Any] = {"n_draws": 6, "seed": 3, "scores": ("diff", "logit"), "running": EXACT}
FEW = mcd.BackgroundOptions(n_effects=200, per_window=20)


class Convolution(nn.Module):
    """With a nonlinearity and a pooling, so that some effects are exactly 0."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(4, 3, 5), nn.ReLU(), nn.MaxPool1d(18), nn.Dropout(0.3), nn.Flatten(),
            nn.Linear(3 * 2, 2), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> Any:
        return self.body(x)


def ready(net: nn.Module | None = None) -> mcd.Model:
    net = fixed(Convolution()) if net is None else net
    return mcd.Model(net, outputs=["a", "b"], input_shape=(4, LENGTH))


def made(model: mcd.Model, output: Path | None = None, **other: Any) -> Background:
    """A background of shuffles of four sequences."""
    words = {**WORDS, "options": FEW, **other}
    return mcd.background(model, one_hot(4, seed=1), output=output, **words)


def scored(model: mcd.Model, background: Path | None, keep: bool = True, **other: Any) -> mcd.Effects:
    """Effects of two sequences."""
    options = mcd.MutationOptions(keep_draws=keep, background=background)
    return mcd.ism(model, one_hot(2, seed=2), options=options, **{**WORDS, **other})


def rows_of(path: Path) -> pd.DataFrame:
    """A background as a table with its draws, read by pandas."""
    return pd.read_parquet(path)


def test_the_numbers_are_those_of_numpy(tmp_path: Path) -> None:
    path = tmp_path / "null.parquet"
    model = ready()
    made(model, path)
    effects = scored(model, path)
    null, n_zero = rows_of(path), 0
    for score in ("diff", "logit"):
        for output in ("a", "b"):
            found = effects.table(output, score)
            draws = effects.draws(output, score)
            own = null[(null["score"] == score) & (null["output"] == output)]
            b, v = own["effect_mean"].to_numpy(), found["effect_mean"].to_numpy()
            assert len(b) == 200
            n_zero += int((v == 0).sum())
            at_least = (np.abs(b)[None] >= np.abs(v)[:, None]).sum(axis=1)
            p = (1 + at_least) / 201
            np.testing.assert_allclose(found["p_empirical"], p, rtol=1e-6)
            np.testing.assert_allclose(found[Q_EMPIRICAL], benjamini_hochberg(p), rtol=1e-5)
            assert (found["p_empirical"][v == 0] == 1).all()
            of_draws = np.stack(own["effect_draws"].to_numpy())  # shape=(200, 6)
            ranks = [
                scipy.stats.percentileofscore(np.abs(of_draws[:, d]), np.abs(draws[d]), kind="mean")
                for d in range(6)
            ]
            np.testing.assert_allclose(found["percentile_sd"], np.std(ranks, axis=0, ddof=1), atol=2e-5)
            signed = [
                scipy.stats.percentileofscore(of_draws[:, d], draws[d], kind="mean") for d in range(6)
            ]
            sd = np.std(signed, axis=0, ddof=1)
            np.testing.assert_allclose(found["percentile_signed_sd"], sd, atol=2e-5)
            agree = (np.sign(draws) == np.sign(v)).mean(axis=0) + (draws == 0).mean(axis=0) / 2
            some = v != 0
            np.testing.assert_allclose(found["sign_probability"][some], agree[some], rtol=1e-6)
    assert n_zero > 20


@pytest.mark.parametrize("name", ["out.h5", "out.parquet", "out.tsv"])
def test_a_run_with_a_background_is_the_comparison_after_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / "null.parquet"
    model = ready()
    background = made(model, path)
    plain = scored(model, None, output=tmp_path / f"plain_{name}")
    with_it = scored(model, path, output=tmp_path / name)
    assert set(with_it.table()) - set(plain.table()) == set(COLUMNS)
    after = plain.significance(path)
    in_order = scored(model, None).significance(background)  # in memory
    expected = COLUMNS if name == "out.h5" else [c for c in COLUMNS if not c.endswith("_sd")]
    assert [c for c in COLUMNS if c in after] == expected
    for score in ("diff", "logit"):
        table = with_it.table(score=score)
        for other, columns in ((after, expected), (in_order, COLUMNS)):
            own = other[other["score"] == score].reset_index(drop=True)
            pd.testing.assert_frame_equal(own[columns], table[columns])
        assert table["percentile_sd"].gt(1).any()


def test_the_draws_need_not_be_kept(tmp_path: Path) -> None:
    path = tmp_path / "null.parquet"
    model = ready()
    made(model, path)
    kept, not_kept = scored(model, path), scored(model, path, keep=False)
    assert not not_kept.has_draws
    pd.testing.assert_frame_equal(kept.table(), not_kept.table())


@pytest.mark.parametrize("with_dropout", [True, False])
def test_members(tmp_path: Path, with_dropout: bool) -> None:
    """The sd of the percentiles is the total of the parts within and between members."""
    path, n = tmp_path / "null.parquet", 6 if with_dropout else 3
    nets = [fixed(Linear(2) if with_dropout else NoDropout(2), seed) for seed in range(3)]
    model = mcd.Model(nets, outputs=["a", "b"], input_shape=(4, LENGTH))
    made(model, path, n_draws=n, scores="diff")
    effects = scored(model, path, n_draws=n, scores="diff")
    found, draws = effects.table("b"), effects.draws("b")
    null = rows_of(path)
    of_draws = np.stack(null[null["output"] == "b"]["effect_draws"].to_numpy())
    ranks = np.array(
        [
            scipy.stats.percentileofscore(np.abs(of_draws[:, d]), np.abs(draws[d]), kind="mean")
            for d in range(n)
        ]
    )
    means = np.stack([ranks[m::3].mean(axis=0) for m in range(3)])
    variance = means.var(axis=0, ddof=1)
    if with_dropout:
        within = np.mean([ranks[m::3].var(axis=0, ddof=1) for m in range(3)], axis=0)
        variance = variance + within / 2
    np.testing.assert_allclose(found["percentile_sd"], np.sqrt(variance), atol=2e-5)
    after = scored(model, None, n_draws=n, scores="diff").significance(path)
    own = after[after["output"] == "b"].reset_index(drop=True)
    pd.testing.assert_frame_equal(own[COLUMNS], found[COLUMNS])


def test_p_is_uniform_for_a_network_with_random_weights() -> None:
    """Substitutions of random sequences against shuffles of others: nothing means anything here."""
    model = ready(fixed(Linear(2), 5))
    options = mcd.BackgroundOptions(n_effects=1000, per_window=25)
    background = mcd.background(model, one_hot(40, seed=7), n_draws=6, options=options)
    effects = mcd.ism(model, one_hot(30, seed=8), n_draws=6)
    found = effects.significance(background)
    one = found.groupby(["sequence", "output"]).sample(20, random_state=0)
    for column in ("p_empirical", "p_empirical_signed"):
        for output in ("a", "b"):
            p = one[one["output"] == output][column]
            assert len(p) == 600
            # The background is a sample too: Kolmogorov-Smirnov for two, of 600 and of 1000.
            distance = scipy.stats.kstest(p, "uniform").statistic
            assert scipy.stats.kstwo.sf(distance, round(600 * 1000 / 1600)) > 0.05
            assert abs((p <= 0.05).mean() - 0.05) < 0.03


def test_effects_that_are_only_rounding_rank_as_zero(tmp_path: Path) -> None:
    """The full engine gives 1e-8 where the incremental one gives 0."""
    background = made(ready(), tmp_path / "null.parquet", running=mcd.RunOptions(engine="full"))
    tables = []
    for engine in ("full", "incremental"):
        running = mcd.RunOptions(engine=engine, verify=False)
        effects = scored(ready(), None, running=running)
        if engine == "full":
            tables.append(effects.significance(background))
        else:
            with pytest.warns(InputWarning, match="engine full and this run by incremental"):
                tables.append(effects.significance(background))
    full, incremental = tables
    zero = incremental["effect_mean"] == 0
    assert zero.sum() > 20
    assert (full["p_empirical"][zero] == 1).all()
    assert (incremental["p_empirical"][zero] == 1).all()


def test_without_draws_the_effects_with_dropout_off_are_ranked() -> None:
    model = ready()
    background = made(model, n_draws=0)
    found = scored(model, None, n_draws=0, keep=False).significance(background)
    assert found["p_empirical"].between(1 / 201, 1).all()
    largest = found.loc[found["effect_point"].abs().groupby(found["output"]).idxmax()]
    assert (largest["p_empirical"] < 0.1).all()
    assert found["sign_probability"].isna().all()
