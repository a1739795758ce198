"""Scores by kipoi-interpret's names agree with kipoi-interpret's own, draw by draw."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from kipoi_interpret.importance_scores.ism_scores import scoring_options

from kipoi_mcdropout.effects.score_names import (
    NO_EFFECT,
    PREFERRED_SCORES,
    UNSIGNED_SCORES,
)
from kipoi_mcdropout.effects.scores import (
    SCORES,
    get_score,
    is_probability,
    logit,
    parse_scores,
    scores_as_dict,
)
from kipoi_mcdropout.errors import InputError

REF = np.array([[0.2, 0.5, 0.9]])
ALT = np.array([[0.4, 0.5, 0.1]])


def _ours(name: str) -> np.ndarray:
    score = SCORES[name]
    ref, alt = torch.from_numpy(REF), torch.from_numpy(ALT)
    if score.logit_scale:
        ref, alt = logit(ref), logit(alt)
    return score.function(ref, alt).numpy()


def test_all_of_kipoi_interprets_scores_are_offered() -> None:
    own = {"log2fc", *(name for name, score in SCORES.items() if score.on_profiles)}
    assert set(SCORES) == {*scoring_options, *own}


@pytest.mark.parametrize("name", sorted(set(scoring_options) - {"deepsea_effect"}))
def test_same_numbers_as_kipoi_interpret(name: str) -> None:
    np.testing.assert_allclose(_ours(name), scoring_options[name]()(REF, ALT), rtol=1e-12)


def test_deepsea_effect_equals_kipoi_interprets_for_a_palindrome() -> None:
    # kipoi-interpret insists on the other strand; given the same values there, it is ours.
    theirs = scoring_options["deepsea_effect"]()(REF, ALT, REF, ALT)
    np.testing.assert_allclose(_ours("deepsea_effect"), theirs, rtol=1e-12)


def test_scores_without_a_direction_are_marked() -> None:
    assert set(SCORES) - set(UNSIGNED_SCORES) == {"diff", "logit", "log2fc", "sax", "logsed"}
    assert set(PREFERRED_SCORES) == {"diff", "logit", "log2fc"}
    assert set(SCORES) > NO_EFFECT


def test_a_callable_and_a_score_object_of_kipoi_interpret_work() -> None:
    ratio = get_score(lambda ref, alt: alt / ref)
    np.testing.assert_allclose(ratio.function(torch.from_numpy(REF), torch.from_numpy(ALT)), ALT / REF)
    theirs = get_score(scoring_options["diff"]())
    np.testing.assert_allclose(theirs.function(torch.from_numpy(REF), torch.from_numpy(ALT)), ALT - REF)


@pytest.mark.parametrize(
    ("score", "options"),
    [("difference", {}), (3, {}), ("diff", {"x": 1}), ("diff", {"rc_merging": "max"})],
)
def test_unknown_scores_and_options_are_refused(score: object, options: dict) -> None:
    with pytest.raises(InputError, match="score"):
        get_score(score, **options)


def test_logit_of_certainty_is_infinite_and_probabilities_are_told_from_other_outputs() -> None:
    assert logit(torch.tensor([0.0, 1.0])).tolist() == [-np.inf, np.inf]
    assert is_probability(torch.tensor([0.0, 1.0, torch.nan]))
    assert not is_probability(torch.tensor([0.5, 1.5]))


def test_log2_fold_change_by_hand() -> None:
    ref, alt = torch.tensor([[3.0, 7.0]]), torch.tensor([[7.0, 0.0]])
    assert SCORES["log2fc"].function(ref, alt).tolist() == [[1.0, -3.0]]  # 8/4, 1/8
    none = get_score("log2fc", pseudocount=0)
    assert none.function(torch.tensor([2.0]), torch.tensor([8.0])).tolist() == [2.0]
    assert none.function(torch.tensor([2.0]), torch.tensor([0.0])).tolist() == [-np.inf]
    both_negative = SCORES["log2fc"].function(torch.tensor([-3.0]), torch.tensor([-5.0]))
    assert both_negative.isnan().all(), "the ratio of two negative numbers is no fold change"


def test_the_pseudocount_is_that_of_log2fc_alone_and_is_recorded() -> None:
    scores = parse_scores(["diff", "log2fc"], pseudocount=0.5)
    assert scores_as_dict(scores) == {"scores": ["diff", "log2fc"], "pseudocount": 0.5}
    assert pickle.loads(pickle.dumps(scores[1])) == scores[1]
    assert scores_as_dict(parse_scores("log2fc"))["pseudocount"] == 1.0
    with pytest.raises(InputError, match="log2fc, which is not asked for"):
        parse_scores("diff", pseudocount=1)
    for wrong in (-1, float("nan"), float("inf"), True):
        with pytest.raises(InputError, match="pseudocount must be a finite number"):
            parse_scores("log2fc", pseudocount=wrong)
