"""The statistics of some mutants at a time are those of all at once, by their definitions in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from kipoi_mcdropout.effects import scored_draws
from kipoi_mcdropout.effects.accumulator import Accumulator
from kipoi_mcdropout.effects.read_blocks import ReadBlock
from kipoi_mcdropout.effects.scores import Score, get_score, logit
from kipoi_mcdropout.effects.summarize import empty_summary
from kipoi_mcdropout.effects.summary import EffectOptions, EffectSummary

N_DRAWS, N_MUTANTS, N_OUTPUTS = 11, 9, 3
OWNER = torch.tensor([0, 0, 0, 1, 1, 0, 1, 1, 1])
DEAD, BROKEN, SATURATED, SAME = 2, 4, 5, 7


def _outputs() -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities in float32: references and mutants, the first draw with dropout off."""
    generator = torch.Generator().manual_seed(3)
    ref = torch.rand(1 + N_DRAWS, 2, N_OUTPUTS, generator=generator) * 0.8 + 0.1
    alt = torch.rand(1 + N_DRAWS, N_MUTANTS, N_OUTPUTS, generator=generator) * 0.8 + 0.1
    alt[:, DEAD] = ref[:, OWNER[DEAD]]
    alt[4, BROKEN, 1] = torch.nan
    alt[6, SATURATED, 2] = 1.0
    return ref, alt


def _summary(score: str, cuts: list[int]) -> EffectSummary:
    ref, alt = _outputs()
    options = EffectOptions((get_score(score),), N_DRAWS, keep_draws=True)
    unchanged = torch.arange(N_MUTANTS) == SAME
    accumulator = Accumulator(options.scores[0], OWNER, unchanged, N_DRAWS, keep_draws=True)
    for begin, end in zip([0, *cuts], [*cuts, 1 + N_DRAWS], strict=True):
        accumulator.update(ReadBlock(slice(0, N_MUTANTS), ref[begin:end], alt[begin:end], {}))
    summary = empty_summary(options.scores[0], options, N_DRAWS, 2, N_MUTANTS, N_OUTPUTS, np.float64)
    accumulator.write(summary, slice(0, N_MUTANTS))
    return summary


def _everything(summary: EffectSummary) -> dict[str, np.ndarray]:
    return {**summary.reference, **summary.per_mutant()}


@pytest.mark.parametrize("score", ["diff", "logit", "deepsea_effect"])
@pytest.mark.parametrize("cuts", [[], [1], [5], [1, 2, 9]])
def test_statistics_are_their_definitions(
    score: str, cuts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scored_draws, "_VALUES", 2 * N_OUTPUTS * (1 + N_DRAWS))  # two mutants at a time
    found = _summary(score, cuts)
    ref, alt = (x.double().numpy() for x in _outputs())
    alt[:, SAME] = ref[:, 1]
    with np.errstate(all="ignore"):
        on_scale = (lambda p: np.log(p / (1 - p))) if score == "logit" else (lambda p: p)
        ref_logit, alt_logit = (np.log(p / (1 - p)) for p in (ref[:, OWNER], alt))
        effect = on_scale(alt) - on_scale(ref[:, OWNER])
        if score == "deepsea_effect":
            effect = np.abs(alt_logit - ref_logit) * np.abs(alt - ref[:, OWNER])
        ref, alt, effect = on_scale(ref)[1:, OWNER], on_scale(alt)[1:], effect[1:]
    undefined = ~np.isfinite(effect).all(axis=0)
    assert undefined[BROKEN, 1]
    assert undefined[SATURATED, 2] == (score != "diff")
    alt, effect = (np.where(np.isfinite(x).all(axis=0), x, np.nan) for x in (alt, effect))
    ties = (effect > 0) + 0.5 * (effect == 0)
    expected = {
        "alt_mean": alt.mean(0), "alt_var": alt.var(0, ddof=1), "effect_mean": effect.mean(0),
        "effect_sd": effect.std(0, ddof=1), "effect_mcse": effect.std(0, ddof=1) / math.sqrt(N_DRAWS),
        "ref_alt_cov": ((alt - alt.mean(0)) * (ref - ref.mean(0))).sum(0) / (N_DRAWS - 1),
        "prob_positive": np.where(undefined, np.nan, ties.mean(0)),
    }  # fmt: skip
    for name, values in expected.items():
        np.testing.assert_allclose(found.mutant[name], values, rtol=1e-12, atol=1e-15, err_msg=name)
    assert found.counts["n_nonfinite"].sum() == found.counts["n_nonfinite"][BROKEN, 1] == 1
    assert (
        found.counts["n_saturated"].sum()
        == found.counts["n_saturated"][SATURATED, 2]
        == (score != "diff")
    )
    for same in (DEAD, SAME):
        assert (found.mutant["effect_sd"][same] == 0).all()
        assert (found.mutant["effect_mean"][same] == 0).all()
        assert (found.mutant["prob_positive"][same] == 0.5).all()


LOG_ODDS = Score("log odds", lambda ref, alt: logit(alt) - logit(ref))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("score", ["diff", "logit", "deepsea_effect", "log2fc", LOG_ODDS])
def test_a_mutant_with_the_outputs_of_its_reference_has_an_effect_of_exactly_zero(
    score: str | Score, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever torch rounds in logits and logarithms, of many outputs, and of one reference."""
    monkeypatch.setattr(scored_draws, "_VALUES", 2 * 919 * (1 + N_DRAWS))
    generator = torch.Generator().manual_seed(0)
    ref = torch.rand(1 + N_DRAWS, 1, 919, generator=generator, dtype=torch.float64).to(dtype)
    alt = ref.expand(-1, 5, -1).clone()
    alt[:, 3] = 1 - alt[:, 3]
    own = get_score(score)
    accumulator = Accumulator(
        own, torch.zeros(5, dtype=torch.int64), torch.zeros(5, dtype=torch.bool), N_DRAWS, False
    )
    accumulator.update(ReadBlock(slice(0, 5), ref, alt, {}))
    summary = empty_summary(own, EffectOptions((own,), N_DRAWS), N_DRAWS, 1, 5, 919)
    accumulator.write(summary, slice(0, 5))
    for name in ("effect_mean", "effect_sd", "effect_point"):
        assert (summary.mutant[name][[0, 1, 2, 4]] == 0).all(), name
        assert (summary.mutant[name][3] != 0).any()


@pytest.mark.parametrize("score", ["diff", "logit"])
def test_any_number_of_mutants_at_a_time_gives_the_same_bits(
    score: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces: list[int] = []
    few = scored_draws.few

    def counted(*args: object) -> list[slice]:
        rows = list(few(*args))
        pieces.append(len(rows))
        return rows

    monkeypatch.setattr("kipoi_mcdropout.effects.accumulator.few", counted)
    whole = _everything(_summary(score, [6]))
    assert max(pieces) == 1
    for n in (1, 2, 4):
        monkeypatch.setattr(scored_draws, "_VALUES", n * N_OUTPUTS * 6)
        pieces.clear()
        parts = _everything(_summary(score, [6]))
        assert min(pieces) == math.ceil(N_MUTANTS / n)
        for name, values in whole.items():
            np.testing.assert_array_equal(parts[name], values, err_msg=name)
