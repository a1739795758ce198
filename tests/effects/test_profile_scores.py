"""Scores of profiles: numbers worked by hand, scipy, and the way through a run."""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from torch import Tensor

from kipoi_mcdropout.dropout.locked_model import POINT
from kipoi_mcdropout.effects import read_blocks
from kipoi_mcdropout.effects.profile_scores import jsd, l2, l2_log, logsed, sax
from kipoi_mcdropout.effects.score_names import SCORE_NAMES, UNSIGNED_SCORES, undefined
from kipoi_mcdropout.effects.scores import SCORES, Score, get_score, parse_scores, scores_as_dict
from kipoi_mcdropout.effects.summarize import summarize_effects
from kipoi_mcdropout.effects.summary import EffectOptions, EffectSummary
from kipoi_mcdropout.engine.full import DrawBlock
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.outputs.bound import bind
from kipoi_mcdropout.outputs.labels import ArrayLabels
from kipoi_mcdropout.outputs.readout import Readout
from kipoi_mcdropout.outputs.targets import Targets
from kipoi_mcdropout.sequence.mutants import MutantBatch
from kipoi_mcdropout.sequence.one_hot import OneHotLayout


def one(*numbers: float) -> Tensor:
    """A profile of one output of one mutant."""
    return torch.tensor([[numbers]], dtype=torch.float64)


def test_numbers_worked_by_hand() -> None:
    ref, alt = one(1, 0, 3), one(3, 2, 2)
    assert l2(ref, alt).item() == 3.0  # 4 + 4 + 1
    logs = math.log(4 / 2) ** 2 + math.log(3) ** 2 + math.log(3 / 4) ** 2
    assert l2_log(ref, alt).item() == pytest.approx(math.sqrt(logs), rel=1e-12)
    assert sax(ref, alt).item() == 2.0
    assert sax(one(1, 5), one(2, 3)).item() == -2.0
    assert logsed(ref, alt).item() == pytest.approx(math.log2(8 / 5), rel=1e-12)


def test_jensen_shannon_distance_by_hand_and_by_scipy() -> None:
    # p = (1/2, 1/2), q = (1, 0), m = (3/4, 1/4)
    divergence = (0.5 * math.log(2 / 3) + 0.5 * math.log(2) + math.log(4 / 3)) / 2
    assert jsd(one(2, 2), one(7, 0)).item() == pytest.approx(math.sqrt(divergence), rel=1e-12)
    assert jsd(one(1, 0), one(0, 1)).item() == pytest.approx(math.sqrt(math.log(2)), rel=1e-12)
    rng = np.random.default_rng(0)
    ref, alt = rng.random((2, 5, 3, 40))
    expected = [
        [jensenshannon(a, b) for a, b in zip(*pair, strict=True)] for pair in zip(ref, alt, strict=True)
    ]
    found = jsd(torch.from_numpy(ref), torch.from_numpy(alt))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("name", [name for name in SCORES if SCORES[name].on_profiles])
def test_the_same_profile_has_no_effect_at_all(name: str) -> None:
    x = torch.rand(50, 3, 17, dtype=torch.float64)
    x[:, :, 3] = 0
    assert (SCORES[name].function(x, x.clone()) == 0).all()


def test_what_is_not_defined_is_no_number() -> None:
    assert jsd(one(1, -1), one(1, 1)).isnan().all()
    assert jsd(one(0, 0), one(1, 1)).isnan().all()
    assert l2_log(one(-2, 0), one(1, 1)).isnan().all()
    assert not torch.isfinite(logsed(one(-1, 0), one(1, 1))).any()
    assert undefined("jsd") == "a bin of a profile is negative, or all are 0"
    assert undefined("logit_alt") == "a probability is 0 or 1"
    assert undefined("mine") == "the score is not defined for these outputs"


def test_each_score_says_whether_it_has_a_sign() -> None:
    assert tuple(SCORES) == SCORE_NAMES
    assert {name for name, score in SCORES.items() if not score.signed} == set(UNSIGNED_SCORES)
    assert {"l2", "l2_log", "jsd"} < set(UNSIGNED_SCORES)
    assert SCORES["sax"].signed
    assert SCORES["logsed"].signed


def _l1(ref: Tensor, alt: Tensor) -> Tensor:
    return (alt - ref).abs().sum(-1)


def test_a_score_of_ones_own() -> None:
    own = Score("l1", _l1, on_profiles=True, signed=False)
    assert get_score(own) is own
    assert pickle.loads(pickle.dumps(own)) == own
    assert pickle.loads(pickle.dumps(SCORES["jsd"])) is SCORES["jsd"]
    recorded = scores_as_dict(parse_scores([own, "sax"]))
    assert recorded["scores"] == ["l1", "sax"]
    assert recorded["unsigned_scores"] == ["l1"]
    other = Score("l1", lambda ref, alt: (ref - alt).abs().sum(-1), on_profiles=True, signed=False)
    assert scores_as_dict([own]) == scores_as_dict([own])
    assert scores_as_dict([own]) != scores_as_dict([other]), "a run would be resumed with another score"
    with pytest.raises(InputError, match="needs another name than 'l2'"):
        get_score(Score("l2", _l1, on_profiles=True))
    with pytest.raises(InputError, match="a name and a function"):
        Score("", _l1)
    with pytest.raises(InputError, match="logits"):
        Score("x", _l1, logit_scale=True, on_profiles=True)


# Two tracks of six bins, of which the bins 1 to 3 are in a window: for each draw the reference's, then
# two mutants' profiles. The first is the prediction with dropout off.
PROFILES = torch.tensor(
    [
        [[[9, 1, 2, 3, 9, 9], [0, 1, 1, 1, 0, 0]], [[9, 2, 2, 3, 9, 9], [0, 1, 1, 1, 0, 0]],
         [[0, 1, 2, 3, 0, 0], [0, 3, 1, 0, 0, 0]]],
        [[[9, 0, 2, 0, 9, 9], [0, 1, 1, 2, 0, 0]], [[9, 0, 2, 4, 9, 9], [0, 1, 1, 2, 0, 0]],
         [[0, 0, 2, 0, 0, 0], [0, 1, 1, 1, 0, 0]]],
        [[[9, 1, 1, 1, 9, 9], [0, 2, 2, 2, 0, 0]], [[9, 1, 0, 1, 9, 9], [0, 2, 2, 2, 0, 0]],
         [[0, 1, 1, 1, 0, 0], [0, 2, 2, 5, 0, 0]]],
    ],
    dtype=torch.float32,
)  # fmt: skip


class Given:
    """An engine that has the bins 1 to 3 of these profiles, in blocks of one draw."""

    def run(
        self, _batch: MutantBatch, draws: Sequence[int], selected: Tensor | None = None
    ) -> Iterator[DrawBlock]:
        assert selected is None
        assert [*draws] == [POINT, 0, 1]
        for profiles in PROFILES[..., 1:4]:
            flat = profiles.flatten(1)
            yield DrawBlock(slice(0, 2), flat[None, :1], flat[None, 1:])


def summaries(*scores: str | Score, columns: tuple[int, ...] = (0, 1, 2, 3)) -> list[EffectSummary]:
    """Of the outputs a|sum@1:4, a|max@1:3, b|sum@1:4, b|max@1:3."""
    readout = Readout(reduce=["sum@1:4", "max@1:3"]).comparing()
    bound = bind(readout, ArrayLabels((2, 6), "", ("a", "b"), 0), "the output")
    whole = bound.profiles(columns)
    assert whole is not None
    assert bound.values(PROFILES[0]).shape == (3, 2, 3)
    labels = tuple(bound.labels[i] for i in columns)
    codes = np.zeros((1, 5), np.uint8)
    mutants = np.repeat(codes, 2, axis=0)
    mutants[:, 0] = 1, 2
    layout = OneHotLayout((4, 5), 0)
    batch = MutantBatch(np.zeros((1, 4, 5)), None, layout, codes, np.zeros(2, np.int64), mutants)
    targets = Targets(labels, columns, 4, profiles=whole)
    options = EffectOptions(parse_scores(scores), 2, keep_draws=True)
    return summarize_effects(Given(), batch, targets, options)


def test_profiles_are_compared_in_the_window_of_each_output() -> None:
    l2_, diff = summaries("l2", "diff")
    assert l2_.draws is not None
    # a: bins 1-3 differ by (0, 0, 4) and (0, -1, 0); in bins 1-2 by (0, 0) and (0, -1)
    assert l2_.draws[:, 0, :2].tolist() == [[4, 0], [1, 1]]
    assert l2_.draws[:, 1, 2:].tolist() == [[1, 0], [3, 0]]
    assert l2_.mutant["effect_point"][:, 0].tolist() == [1, 0]
    assert l2_.mutant["effect_mean"][0].tolist() == [2.5, 0.5, 0, 0]
    # the columns of reference and mutant are the reduced values, for every score
    for summary in (l2_, diff):
        assert summary.reference["ref_mean"].tolist() == [[2.5, 1.5, 5, 1.5]]
        assert summary.mutant["alt_mean"][0].tolist() == [4, 1.5, 5, 1.5]
    assert diff.mutant["effect_mean"][0].tolist() == [1.5, 0, 0, 0]
    assert l2_.mutant["prob_positive"][0].tolist() == [1, 0.75, 0.5, 0.5]


def test_some_of_the_outputs_and_a_score_of_ones_own() -> None:
    own, signed = summaries(Score("l1", _l1, on_profiles=True), "sax", columns=(0, 3))
    assert own.draws is not None
    assert signed.draws is not None
    assert own.draws[:, 0].tolist() == [[4, 0], [1, 0]]
    assert signed.draws[:, 0].tolist() == [[4, 0], [-1, 0]]


def test_what_is_undefined_in_a_draw_is_counted() -> None:
    (found,) = summaries("jsd")
    assert found.counts["n_saturated"].tolist() == [[0, 0, 0, 0], [0, 0, 0, 0]]
    PROFILES[1, 2, 0, 2] = -1.0
    try:
        (found,) = summaries("jsd")
    finally:
        PROFILES[1, 2, 0, 2] = 2.0
    assert found.counts["n_saturated"].tolist() == [[0, 0, 0, 0], [1, 1, 0, 0]]
    assert np.isnan(found.mutant["effect_mean"][1, :2]).all()
    assert np.isfinite(found.mutant["effect_mean"][1, 2:]).all()


def test_few_profiles_at_a_time_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = summaries("l2", "jsd", "sax")
    monkeypatch.setattr(read_blocks, "_NUMBERS", 1)
    for one_by_one, together in zip(summaries("l2", "jsd", "sax"), at_once, strict=True):
        np.testing.assert_array_equal(one_by_one.draws, together.draws)


def test_what_is_only_rounding_is_a_tie() -> None:
    before = PROFILES.clone()
    PROFILES[:, 1] = PROFILES[:, 0] * (1 + 2.0**-23)
    try:
        sax_, l2_ = summaries("sax", "l2")
    finally:
        PROFILES.copy_(before)
    assert (sax_.draws[:, 0] != 0).any()  # type: ignore[index]
    for summary in (sax_, l2_):
        assert (summary.mutant["prob_positive"][0] == 0.5).all()
