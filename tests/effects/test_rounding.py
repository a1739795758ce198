"""Differences that are only rounding count as no effect, in draws and in tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from kipoi_mcdropout.dropout.locked_model import LockedModel
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.effects.rounding import (
    FLOAT32_EPS,
    SHARE_OF_LARGEST,
    effect_rounding,
    logit_rounding,
    output_rounding,
)
from kipoi_mcdropout.effects.scores import SCORES, Score
from kipoi_mcdropout.effects.summarize import summarize_effects
from kipoi_mcdropout.effects.summary import EffectOptions, EffectSummary
from kipoi_mcdropout.effects.z import z_ratio, z_values
from kipoi_mcdropout.engine.choose import make_engine
from kipoi_mcdropout.engine.full import DrawBlock, Engine
from kipoi_mcdropout.outputs.targets import Targets
from kipoi_mcdropout.sequence.mutants import MutantBatch, all_substitutions, substituted
from kipoi_mcdropout.sequence.one_hot import OneHotLayout
from kipoi_mcdropout.vcf.write.table import z_and_p

LENGTH, HIDDEN = 40, 128


class BlindToBases(nn.Module):
    """Sees whether there is a base, not which: no substitution changes anything.

    The weights of a position are the same for all bases. Yet a sum in another order is rounded
    otherwise, so outputs of mutants differ from the reference in the last digits.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            of_position = torch.randn(HIDDEN, 1, LENGTH).expand(-1, 4, -1)
            self.first = nn.Linear(4 * LENGTH, HIDDEN)
            self.drop = nn.Dropout(0.3)
            self.last = nn.Linear(HIDDEN, 1)
        self.first.weight.data = of_position.reshape(HIDDEN, -1).clone() / LENGTH**0.5
        self.last.weight.data *= 4
        self.last.bias.data += float(np.log(probability / (1 - probability)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.last(self.drop(torch.tanh(self.first(x.flatten(1))))))


def all_mutants() -> MutantBatch:
    layout = OneHotLayout((4, LENGTH), 0)
    codes = np.random.default_rng(0).integers(0, 4, LENGTH).astype(np.uint8)
    edits = all_substitutions(codes, 4)
    mutants = substituted(codes, edits.position, edits.alt)
    reference = layout.encode(codes[None], np.dtype(np.float32))
    return MutantBatch(reference, None, layout, codes[None], np.zeros(len(mutants), int), mutants)


def summaries(engine: Engine, batch: MutantBatch, scores: Sequence[Score], n_draws: int) -> list:
    targets = Targets(("y",), (0,), 1)
    return summarize_effects(engine, batch, targets, EffectOptions(tuple(scores), n_draws))


@pytest.mark.parametrize("engine", ["full", "incremental"])
@pytest.mark.parametrize("probability", [1e-5, 0.53, 0.994])
def test_rounding_has_no_sign_on_any_scale(engine: str, probability: float) -> None:
    model = LockedModel(BlindToBases(probability).eval())
    with model.borrow():
        runner = make_engine(model, MaskBank(0), 32, engine)
        found = summaries(runner, all_mutants(), [SCORES["diff"], SCORES["logit"]], 40)
    for summary in found:
        effect = summary.mutant["effect_mean"]
        assert np.abs(effect).max() < 1e-3
        assert engine == "incremental" or np.abs(effect).max() > 0, "there is rounding to be seen"
        assert (summary.mutant["prob_positive"] == 0.5).all(), summary.score.name


class OneBlock:
    """An engine of outputs that are given, shape=(draws, mutants); the point prediction is the first."""

    def __init__(self, ref: Tensor, alt: Tensor) -> None:
        self.ref, self.alt = ref, alt

    def run(
        self, batch: MutantBatch, draws: Sequence[int], selected: Tensor | None = None
    ) -> Iterator[DrawBlock]:
        ref, alt = (torch.cat([values[:1], values])[..., None] for values in (self.ref, self.alt))
        yield DrawBlock(slice(0, self.alt.shape[1]), ref, alt)


def of_outputs(ref: float, alt: Sequence[float], score: Score | None = None) -> EffectSummary:
    """Summary of mutants of one reference, the same in two draws."""
    batch = all_mutants()
    few = MutantBatch(
        batch.references, None, batch.layout, batch.reference_codes,
        batch.owner[: len(alt)], batch.codes[: len(alt)],
    )  # fmt: skip
    engine = OneBlock(torch.full((2, 1), ref), torch.tensor([list(alt)] * 2))
    return summaries(engine, few, [score or SCORES["logit"]], 2)[0]


@pytest.mark.parametrize("p", [1e-6, 0.02, 0.53, 0.994, 0.99999])
@pytest.mark.parametrize("score", ["diff", "logit"])
def test_a_few_units_in_the_last_place_are_a_tie_and_more_are_an_effect(p: float, score: str) -> None:
    ref = np.float32(p)
    least = float(output_rounding(float(ref), FLOAT32_EPS))
    steps = [0.4 * least, -0.4 * least, 3 * least, -3 * least]
    summary = of_outputs(float(ref), [float(ref + np.float32(step)) for step in steps], SCORES[score])
    assert summary.mutant["prob_positive"][:, 0].tolist() == [0.5, 0.5, 1.0, 0.0]


def test_a_score_of_ones_own_counts_rounding_as_the_reference_itself() -> None:
    ratio = Score("ratio", lambda ref, alt: alt / ref)  # above 0 also for no effect
    fold = Score("fold", lambda ref, alt: torch.log(alt / ref))
    nearly = [0.5 + 6e-8, 0.6]
    assert of_outputs(0.5, nearly, ratio).mutant["prob_positive"][:, 0].tolist() == [1.0, 1.0]
    assert of_outputs(0.5, nearly, fold).mutant["prob_positive"][:, 0].tolist() == [0.5, 1.0]


def test_rounding_by_hand() -> None:
    eps = FLOAT32_EPS
    np.testing.assert_allclose(output_rounding(np.array([0.0, 2.0, -0.5]), eps), [0, 16 * eps, 4 * eps])
    assert float(output_rounding(np.array(np.exp(-10.0)), eps)) == pytest.approx(80 * eps * np.exp(-10))
    np.testing.assert_array_equal(
        output_rounding(torch.tensor([0.0, 2.0, 0.01]), eps, torch).numpy(),
        output_rounding(torch.tensor([0.0, 2.0, 0.01]).numpy(), eps),
    )
    p = np.array([1e-4, 0.5, 0.99])
    slope = 1 / (p * (1 - p))  # of the logit
    np.testing.assert_allclose(
        logit_rounding(np.log(p / (1 - p))), output_rounding(p, eps) * slope, rtol=1e-12
    )


def test_z_of_effects_that_are_rounding_or_the_same_in_every_draw() -> None:
    table = pd.DataFrame(
        {
            "effect_mean": [1e-8, 1e-8, -0.1, -0.1, 0.2, 0.0, np.nan],
            "effect_sd": [1e-9, 0.0, 1e-9, 0.0, 0.1, 0.0, 0.1],
        }
    )
    right = [0.0, 0.0, -np.inf, -np.inf, 2.0, 0.0, np.nan]
    np.testing.assert_array_equal(z_values(table), right)
    outputs = table.assign(ref_mean=0.5, alt_mean=0.5, ref_var=0.0, alt_var=0.0)
    np.testing.assert_array_equal(z_values(outputs), right)


def test_what_is_rounding_follows_the_outputs_of_the_row() -> None:
    table = pd.DataFrame(
        {
            "effect_mean": [5e-7, 5e-7], "effect_sd": [1e-7, 1e-7], "score": "diff",
            "ref_mean": [0.9, 1e-5], "alt_mean": [0.9, 1e-5], "ref_var": 0.0, "alt_var": 0.0,
        }
    )  # fmt: skip
    assert z_values(table).tolist() == [0.0, pytest.approx(5)]
    logits = table.assign(score="logit", ref_mean=[7.0, 0.0], alt_mean=[7.0, 0.0])
    np.testing.assert_allclose(effect_rounding(logits), logit_rounding([7.0, 0.0]))
    assert effect_rounding(table[["effect_mean", "effect_sd"]]).tolist() == [SHARE_OF_LARGEST * 5e-7] * 2
    hidden = table.assign(ref_mean=np.nan)
    assert effect_rounding(hidden).tolist() == [SHARE_OF_LARGEST * 5e-7] * 2
    spread = table.assign(ref_mean=0.0, alt_mean=0.0, ref_var=1.0)
    np.testing.assert_allclose(effect_rounding(spread), 8 * FLOAT32_EPS)


def test_other_scores_are_measured_by_their_own_largest_effect() -> None:
    """deepsea_effect is a product of two differences, and can be far below the rounding of an output."""
    table = pd.DataFrame(
        {
            "effect_mean": [5e-7, 1e-4, 0.2], "effect_sd": [1e-7, 1e-5, 0.1],
            "score": ["deepsea_effect", "deepsea_effect", "diff"],
            "ref_mean": 0.9, "alt_mean": 0.9, "ref_var": 0.0, "alt_var": 0.0,
        }
    )  # fmt: skip
    np.testing.assert_allclose(effect_rounding(table)[:2], SHARE_OF_LARGEST * 1e-4)
    assert z_values(table).tolist() == [pytest.approx(5), pytest.approx(10), pytest.approx(2)]


def test_a_variant_whose_draws_differ_by_rounding_has_no_p() -> None:
    one = {name: np.array([0.9, 0.9, 0.9]) for name in ("ref_mean", "alt_mean")}
    one |= {name: np.zeros(3) for name in ("ref_var", "alt_var")}
    one |= {"effect_mean": np.array([2e-7, 0.1, 0.2]), "effect_sd": np.array([1e-8, 0.0, 0.1])}
    z, p = z_and_p(one, SCORES["diff"])
    np.testing.assert_allclose(z, [np.nan, np.nan, 2])
    np.testing.assert_allclose(p, [np.nan, np.nan, 0.0455002639])
    np.testing.assert_allclose(z_and_p(one, SCORES["deepsea_effect"])[0], [20, np.nan, 2])


def test_z_where_the_sd_is_zero_is_said_in_one_place() -> None:
    mean, sd = [3.0, 0.0, -1.0, np.nan, 1e-9], [2.0, 0.0, 0.0, 1.0, 0.0]
    np.testing.assert_array_equal(z_ratio(mean, sd), [1.5, 0, -np.inf, np.nan, np.inf])
    np.testing.assert_array_equal(z_ratio(mean, sd, 1e-8), [1.5, 0, -np.inf, np.nan, 0])
