"""--until: a mutant has the first n of the same draws, and n depends on its own effects alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from small_models import LENGTH, Linear, fixed, one_hot
from torch import Tensor, nn

import kipoi_mcdropout as mcd
from kipoi_mcdropout.dropout.locked_model import POINT, LockedModel
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.effects.accumulator import Accumulator
from kipoi_mcdropout.effects.draws_enough import TOLERANCE, draws_for_sd
from kipoi_mcdropout.effects.members import Member, summarize_members
from kipoi_mcdropout.effects.rounds import summarize_in_rounds
from kipoi_mcdropout.effects.scores import parse_scores
from kipoi_mcdropout.effects.summarize import summarize_effects
from kipoi_mcdropout.effects.summary import EffectOptions, EffectSummary
from kipoi_mcdropout.effects.until import Until, check_until
from kipoi_mcdropout.engine import IncrementalEngine
from kipoi_mcdropout.engine.full import DrawBlock, FullEngine
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.outputs.targets import Targets
from kipoi_mcdropout.runs.ism.mutate import MutationOptions
from kipoi_mcdropout.sequence.mutants import MutantBatch, all_substitutions, substituted
from kipoi_mcdropout.sequence.one_hot import OneHotLayout
from kipoi_mcdropout.vcf.place.views import ViewAverage, ViewedBatch

TARGETS = Targets(("a", "b"), (0, 1), 2)
MOST = 100
UNTIL = Until(0.2, (0.05,))


class ScriptedEngine:
    """Outputs of a sequence and a draw: numbers of a hash, in blocks of any size."""

    def __init__(self, mutants: int = 7, draws: int = 5, saturates: bool = False) -> None:
        self.mutants, self.draws, self.saturates = mutants, draws, saturates
        self.asked: list[tuple[int, list[int]]] = []

    def run(
        self, batch: MutantBatch, draws: Sequence[int], selected: Tensor | None = None
    ) -> Iterator[DrawBlock]:
        self.asked.append((batch.n_mutants, list(draws)))
        for first in range(0, batch.n_mutants, self.mutants):
            rows = slice(first, min(first + self.mutants, batch.n_mutants))
            for begin in range(0, len(draws), self.draws):
                part = draws[begin : begin + self.draws]
                ref = [[self.output(x, d, is_ref=True) for x in batch.reference_codes] for d in part]
                alt = [[self.output(x, d) for x in batch.codes[rows]] for d in part]
                yield DrawBlock(rows, *(torch.from_numpy(np.array(values)) for values in (ref, alt)))

    def output(self, codes: np.ndarray, draw: int, is_ref: bool = False) -> np.ndarray:
        """Two probabilities, that vary little, or more, or much over the draws."""
        content = int.from_bytes(hashlib.blake2b(codes.tobytes(), digest_size=6).digest(), "little")
        noise = np.random.default_rng([content, draw + 2]).standard_normal(2)
        spread = np.random.default_rng(content).choice([0.003, 0.02, 0.06, 0.15], 2)
        spread = spread if not is_ref else 0.003
        if self.saturates and not is_ref and content % 5 == 0 and draw == 3:
            return np.array([1.0, 0.5])
        return np.clip(0.5 + spread * noise * (draw != POINT), 0.01, 0.99)


def batch_of(n: int = 40, references: int = 1) -> MutantBatch:
    x = one_hot(references)
    layout = OneHotLayout.of(x)
    codes = layout.codes(x)
    mutants, owner = [], []
    for i in range(references):
        edits = all_substitutions(codes[i], 4, include_reference=True)
        own = substituted(codes[i], edits.position, edits.alt)[: n - i]
        mutants.append(own)
        owner += [i] * len(own)
    return MutantBatch(x, None, layout, codes, np.array(owner), np.concatenate(mutants))


def options(
    until: Until | None, n_draws: int = MOST, scores: Sequence[str] = ("diff",)
) -> EffectOptions:
    return EffectOptions(parse_scores(scores), n_draws, until=until)


def in_rounds(engine: Any, batch: MutantBatch, until: Until = UNTIL, **more: Any) -> list[EffectSummary]:
    return summarize_in_rounds(engine, batch, TARGETS, options(until, **more))


def statistics(summary: EffectSummary, batch: MutantBatch) -> dict[str, np.ndarray]:
    """All of them with a row per mutant."""
    reference = {name: values[batch.owner] for name, values in summary.reference.items()}
    return {**reference, **summary.mutant, **summary.counts}


def assert_first_n(
    found: EffectSummary, batch: MutantBatch, engine: Any, targets: Targets, **near: Any
) -> None:
    """Each mutant's statistics are those of a run with as many draws for all."""
    used = found.counts["n_draws"]
    assert (used == used[:, :1]).all()
    for n in np.unique(used):
        own = replace(options(None, int(n)), scores=(found.score,))
        whole = statistics(summarize_effects(engine, batch, targets, own)[0], batch)
        mine = statistics(found, batch)
        assert whole.keys() | {"n_draws"} == mine.keys()
        rows = used[:, 0] == n
        for name, values in whole.items():
            if near:
                np.testing.assert_allclose(mine[name][rows], values[rows], err_msg=name, **near)
            else:
                np.testing.assert_array_equal(mine[name][rows], values[rows], err_msg=name)


# -- the rule --


def test_the_rule_by_hand() -> None:
    """Mcse against 0.2 of the effect or of the threshold; 100 draws, so mcse = sd / 10."""
    mean = [0.0, 0.0, 0.5, -0.5, 3.0, -3.0, np.nan]
    sd = [2.0, 2.1, 2.0, 2.1, 6.0, 6.1, np.nan]
    found = Until(0.2, (1.0,)).settled(mean, sd, 100)
    assert found.tolist() == [True, False, True, False, True, False, True]


def test_without_a_threshold_the_sd_takes_its_place() -> None:
    """By the sd 25 draws are enough for a share of 0.2, and fewer where the effect is larger than it."""
    until = Until(0.2)
    assert until.settled([0.0, 0.1, 0.9], [1.0, 1.0, 1.0], 24).tolist() == [False, False, False]
    assert until.settled([0.0, 0.1, 0.9], [1.0, 1.0, 1.0], 25).all()
    assert until.settled([1.1], [1.0], 24).all()


def test_few_draws_are_enough_only_below_the_threshold() -> None:
    until, n = Until(0.2, (1.0,)), draws_for_sd(TOLERANCE) - 1
    mean, sd = [0.9, 1.0, -1.1, 0.0], [0.1, 0.1, 0.1, 0.0]
    assert until.settled(mean, sd, n).tolist() == [True, False, False, False]
    assert until.settled(mean, sd, n + 1).all()


def test_checkpoints_fill_blocks_with_the_point_prediction() -> None:
    assert Until(0.1, (1.0,)).checkpoints(200) == (15, 31, 63, 127, 200)
    assert Until(0.1).checkpoints(127) == (31, 63, 127)
    assert Until(0.1, (1.0,)).checkpoints(15) == (15,)


# -- what a mutant gets --


@pytest.mark.parametrize("scores", [("diff",), ("diff", "logit", "ref")])
def test_each_mutant_has_the_first_n_draws_bit_for_bit(scores: tuple[str, ...]) -> None:
    engine, batch = ScriptedEngine(draws=1), batch_of()
    until = Until(0.2, (0.05, 0.2, 0.05)[: len(scores)])
    summaries = in_rounds(engine, batch, until, scores=scores)
    assert {15, 31, 63, 100} <= set(np.unique(summaries[0].counts["n_draws"])) or len(scores) > 1
    for summary in summaries:
        np.testing.assert_array_equal(summary.counts["n_draws"], summaries[0].counts["n_draws"])
        assert_first_n(summary, batch, engine, TARGETS)


def test_numbers_of_draws_by_hand() -> None:
    """The rule over numpy's mean and sd of each mutant's own draws, all outputs satisfied."""
    engine, batch = ScriptedEngine(), batch_of()
    (found,) = in_rounds(engine, batch)
    expected = []
    for codes, owner in zip(batch.codes, batch.owner, strict=True):
        own = np.array([engine.output(codes, d) for d in range(MOST)])
        ref = [engine.output(batch.reference_codes[owner], d, is_ref=True) for d in range(MOST)]
        effect = own - ref if (codes != batch.reference_codes[owner]).any() else 0 * own
        for n in (15, 31, 63, 100):
            mean, sd = np.abs(effect[:n].mean(0)), effect[:n].std(0, ddof=1)
            good = sd / np.sqrt(n) <= 0.2 * np.maximum(mean, 0.05)
            if n == 15:
                good &= (mean < 0.05) & (sd > 0)
            if good.all():
                break
        expected.append(n)
    assert found.counts["n_draws"][:, 0].tolist() == expected
    assert len(set(expected)) == 4


def test_only_those_that_are_not_finished_go_on() -> None:
    engine, batch = ScriptedEngine(), batch_of()
    (found,) = in_rounds(engine, batch)
    used = found.counts["n_draws"][:, 0]
    going = [(used >= n).sum() for n in (15, 31, 63, 100)]
    assert [n for n, _ in engine.asked] == going
    draws = [[POINT, *range(15)], list(range(15, 31)), list(range(31, 63)), list(range(63, 100))]
    assert [asked for _, asked in engine.asked] == draws


def test_it_depends_on_the_mutant_alone() -> None:
    batch, order = batch_of(), np.random.default_rng(1).permutation(40)
    (whole,) = in_rounds(ScriptedEngine(draws=1), batch)
    shuffled = replace(batch, owner=batch.owner[order], codes=batch.codes[order])
    (other,) = in_rounds(ScriptedEngine(mutants=3, draws=1), shuffled)
    half = replace(batch, owner=batch.owner[::2], codes=batch.codes[::2])
    (part,) = in_rounds(ScriptedEngine(mutants=100, draws=1), half)
    for name, values in statistics(whole, batch).items():
        np.testing.assert_array_equal(statistics(other, shuffled)[name], values[order], err_msg=name)
        np.testing.assert_array_equal(statistics(part, half)[name], values[::2], err_msg=name)


def test_several_references_and_views() -> None:
    """References whose mutants are all finished are not run any more."""
    batch = batch_of(references=3)
    other = replace(
        batch, codes=batch.codes[:, ::-1].copy(), reference_codes=batch.reference_codes[:, ::-1].copy()
    )
    viewed = ViewedBatch(
        **{f: getattr(batch, f) for f in batch.__dataclass_fields__}, views=(batch, other)
    )
    engine = ViewAverage(ScriptedEngine(mutants=1000, draws=1000))
    (found,) = in_rounds(engine, viewed, Until(0.2, (0.05,)))
    assert len(np.unique(found.counts["n_draws"])) > 2
    assert_first_n(found, viewed, engine, TARGETS, rtol=1e-12, atol=1e-14)


def test_some_of_a_batch_have_their_own_references() -> None:
    batch = batch_of(references=3)
    rows = np.array([119, 3, 90, 1])[[1, 2]]
    part = batch.some(rows)
    np.testing.assert_array_equal(part.codes, batch.codes[rows])
    np.testing.assert_array_equal(
        part.reference_codes[part.owner], batch.reference_codes[batch.owner[rows]]
    )
    np.testing.assert_array_equal(part.references[part.owner], batch.references[batch.owner[rows]])
    assert len(part.reference_codes) == 2


def test_an_effect_that_is_nan_asks_for_no_more_draws() -> None:
    engine, batch = ScriptedEngine(saturates=True), batch_of()
    (found,) = in_rounds(engine, batch, Until(0.2, (5.0,)), scores=("logit",))
    nan = np.isnan(found.mutant["effect_mean"][:, 0])
    assert 0 < nan.sum() < len(nan)
    np.testing.assert_array_equal(found.counts["n_saturated"][:, 0] > 0, nan)
    assert set(found.counts["n_draws"][nan, 0]) == {15}


def test_progress_counts_every_draw_once() -> None:
    done: list[int] = []
    summarize_in_rounds(ScriptedEngine(), batch_of(), TARGETS, options(UNTIL), done.append)
    assert sum(done) == 40 * (MOST + 1)


# -- never, and both engines --


class Net(nn.Module):
    """A site behind a convolution and one behind a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(4, 8, 5, padding=2), nn.ReLU(), nn.Dropout(0.3), nn.MaxPool1d(4), nn.Flatten(),
            nn.Linear(8 * LENGTH // 4, 6), nn.ReLU(), nn.Dropout(0.3), nn.Linear(6, 2),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Any:
        return self.body(x)


ENGINES = {"full": FullEngine, "incremental": IncrementalEngine}


@pytest.mark.parametrize("kind", list(ENGINES))
@pytest.mark.parametrize("until", [Until(0), Until(float("inf"), (0.1,)), Until(1e-9, (1e-9,))])
def test_a_run_that_never_stops_is_that_with_a_fixed_number(kind: str, until: Until) -> None:
    """Also in rounds (the last of the three) bit for bit: rounds are whole blocks of the engine."""
    model, batch = LockedModel(fixed(Net())), batch_of()
    batch = batch.some(np.flatnonzero(~batch.unchanged()))  # whose error is 0, below any share
    engine = ENGINES[kind](model, MaskBank(3))
    member = Member(engine, model.borrow)
    (plain,) = summarize_members([member], batch, TARGETS, options(None))
    (never,) = summarize_members([member], batch, TARGETS, options(until))
    assert ("n_draws" in never.counts) == (not until.never)
    for name, values in statistics(plain, batch).items():
        np.testing.assert_array_equal(statistics(never, batch)[name], values, err_msg=name)
    if kind == "incremental":
        assert engine.paths["slices"] > 0


@pytest.mark.parametrize("kind", list(ENGINES))
@pytest.mark.parametrize("references", [1, 3])
def test_first_n_of_a_network(kind: str, references: int) -> None:
    model, batch = LockedModel(fixed(Net())), batch_of(60, references)
    with model.borrow():
        engine = ENGINES[kind](model, MaskBank(3), batch_size=16)
        (found,) = in_rounds(engine, batch, Until(0.2, (0.005,)))
        assert len(np.unique(found.counts["n_draws"])) > 2
        assert_first_n(found, batch, engine, TARGETS, rtol=1e-4, atol=1e-7)
        other = ENGINES[kind](model, MaskBank(3), batch_size=7)
        (again,) = in_rounds(other, batch, Until(0.2, (0.005,)))
    np.testing.assert_array_equal(found.counts["n_draws"], again.counts["n_draws"])


# -- what is refused --


def test_refusals() -> None:
    for share in (-0.1, 1.0, 2.0, float("nan")):
        with pytest.raises(InputError, match="until must be a share above 0 and below 1"):
            Until(share)
    with pytest.raises(InputError, match="threshold must be above 0"):
        Until(0.1, (0.0,))
    with pytest.raises(InputError, match="threshold has a meaning with until alone"):
        Until.of(None, 0.1, 1)
    with pytest.raises(InputError, match="got 1 for 2 scores"):
        Until.of(0.1, 0.1, 2)
    assert Until.of(0.1, [0.1, 0.5], 2) == Until(0.1, (0.1, 0.5))
    assert Until.of(None, None, 1) is None
    with pytest.raises(InputError, match=r"first after 15 draws, so n_draws.*must be above 15; got 15"):
        options(UNTIL, 15)
    with pytest.raises(InputError, match="without threshold looks first after 31 draws"):
        options(Until(0.1), 30)
    options(Until(0), 4)
    for more in ({"keep_draws": True}, {"quantiles": (0.5,)}):
        with pytest.raises(InputError, match="keep_draws and quantiles need the same draws"):
            EffectOptions(parse_scores(("diff",)), MOST, until=UNTIL, **more)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="one member; this one has 3"):
        check_until(UNTIL, MOST, n_members=3)


def test_several_members_are_refused() -> None:
    model = mcd.Model([fixed(Linear(), seed) for seed in (0, 1)])
    chosen = MutationOptions(until=0.2, threshold=0.1)
    with pytest.raises(InputError, match="one member; this one has 2"):
        mcd.ism(model, one_hot(1), n_draws=40, options=chosen)
    member = Member(ScriptedEngine(), nullcontext)
    with pytest.raises(InputError, match="one member; this one has 2"):
        summarize_members([member, member], batch_of(), TARGETS, options(UNTIL))


def test_all_that_an_accumulator_holds_goes_on() -> None:
    """A new attribute with a row per mutant must be given to `continued.taken` and `joined` too."""
    (score,) = parse_scores(("diff",))
    fresh = Accumulator(
        score, torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.bool), 3, False
    )
    assert set(vars(fresh)) == {
        "eps", "score", "owner", "unchanged", "n_draws", "keep_draws", "pairs", "effects", "positive",
        "nonfinite", "saturated", "kept", "points",
    }  # fmt: skip


# -- what stopping does to the statistics --


def simulated(mean: float, until: Until, most: int = 127, n: int = 4000) -> tuple[np.ndarray, ...]:
    """Draws used, mean and sd of effects with standard normal draws about a mean."""
    x = np.random.default_rng(5).standard_normal((most, n)) + mean
    used, means, sds = np.zeros(n, int), np.zeros(n), np.zeros(n)
    for k in until.checkpoints(most):
        m, s = x[:k].mean(0), x[:k].std(0, ddof=1)
        now = (used == 0) & (until.settled(m, s, k) | (k == most))
        used[now], means[now], sds[now] = k, m[now], s[now]
    return used, means, sds


@pytest.mark.parametrize("mean", [0.0, 0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("threshold", [0.25, 1.0, 2.0, None])
def test_bias_and_coverage_of_normal_draws(mean: float, threshold: float | None) -> None:
    """The bounds that docs/concepts.md states."""
    until = Until(0.15, () if threshold is None else (threshold,))
    used, means, sds = simulated(mean, until)
    error = means - mean
    assert abs(error.mean()) <= 0.05 + 3 * error.std() / np.sqrt(len(error))
    assert abs(sds.mean() - 1) <= 0.05
    covered = np.abs(error) <= 1.96 * sds / np.sqrt(used)
    assert covered.mean() == pytest.approx(0.94, abs=0.02)
