"""Adds up the draws of one score for some mutants, while they stream by."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kipoi_mcdropout.arrays.moments import Moments, PairedMoments
from kipoi_mcdropout.effects.read_blocks import Compared, ReadBlock
from kipoi_mcdropout.effects.rounding import output_rounding
from kipoi_mcdropout.effects.scores import Score, is_probability, logit
from kipoi_mcdropout.effects.summary import EffectSummary
from kipoi_mcdropout.errors import InputError


class _ScoredDraws(NamedTuple):
    """Draws of one score. References: shape=(draws, references, outputs), else mutants in the middle."""

    ref: Tensor
    alt: Tensor
    effect: Tensor
    sign: Tensor  # the effect without rounding: whose sign counts
    nonfinite: Tensor

    def without_point(self) -> _ScoredDraws:
        """All but the first draw, which is the point prediction."""
        return _ScoredDraws(*(values[1:] for values in self))


class Accumulator:
    """Moments of one score for one slice of mutants, while `n_draws` draws stream by.

    `eps` is the relative precision of the model's arithmetic, where it is less than that of the outputs.
    """

    def __init__(
        self,
        score: Score,
        owner: Tensor,
        unchanged: Tensor,
        n_draws: int,
        keep_draws: bool,
        eps: float = 0.0,
    ) -> None:
        self.eps = eps
        self.score = score
        self.owner = owner
        self.unchanged = unchanged
        self.n_draws = n_draws
        self.keep_draws = keep_draws
        self.pairs: PairedMoments | None = None
        self.effects: Moments | None = None
        self.positive = torch.zeros((), dtype=torch.float64)
        self.nonfinite = torch.zeros((), dtype=torch.int32)
        self.saturated = torch.zeros((), dtype=torch.int32)
        self.kept: list[Tensor] = []
        self.points: dict[str, Tensor] = {}

    def update(self, block: ReadBlock) -> None:
        """Add the draws of a block; the very first is the point prediction."""
        owner = self.owner.to(block.alt.device)
        ref, alt = block.ref, block.alt
        if self.unchanged.any():  # the same input has the same output, whatever the kernels round
            same = self.unchanged.to(alt.device)
            alt = alt.clone()
            alt[:, same] = ref[:, owner[same]]
        scored = self._scored(ref, alt, owner, block.compared.get(self.score.name))
        if not self.points:
            self.points = {
                "ref_point": scored.ref[0], "alt_point": scored.alt[0], "effect_point": scored.effect[0],
            }  # fmt: skip
            if self.n_draws > 0:
                scored = scored.without_point()
            if len(scored.alt) == 0:
                return
        ref, alt, effect, sign, nonfinite = scored
        invalid = ~torch.isfinite(effect)
        if nonfinite.any() or invalid.any():
            bad = nonfinite | invalid
            self.nonfinite = self.nonfinite + nonfinite.sum(dim=0, dtype=torch.int32)
            self.saturated = self.saturated + (invalid & ~nonfinite).sum(dim=0, dtype=torch.int32)
            effect = effect.masked_fill(bad, math.nan)
            alt = torch.where(torch.isfinite(alt), alt, math.nan)
            ref = torch.where(torch.isfinite(ref), ref, math.nan)
        if self.n_draws == 0:
            return
        # Half for a tie: what is above 0 counts twice a half, what is 0 once.
        self.positive = self.positive + 0.5 * (sign > 0).sum(dim=0).double()
        self.positive += 0.5 * (sign >= 0).sum(dim=0).double()
        pairs, effects = PairedMoments.of(ref, alt, owner), Moments.of(effect)
        self.pairs = pairs if self.pairs is None else self.pairs.merge(pairs)
        self.effects = effects if self.effects is None else self.effects.merge(effects)
        if self.keep_draws:
            self.kept.append(effect)

    def _scored(
        self, ref: Tensor, alt: Tensor, owner: Tensor, compared: Compared | None
    ) -> _ScoredDraws:
        self.eps = max(self.eps, torch.finfo(alt.dtype).eps)
        ref, alt = ref.to(torch.float64), alt.to(torch.float64)
        nonfinite = ~torch.isfinite(alt) | ~torch.isfinite(ref)[:, owner]
        if compared is not None:  # of profiles, before they were reduced
            return _ScoredDraws(ref, alt, *compared, nonfinite)
        rounded = _differ_by_rounding(ref, alt, owner, self.eps)
        if self.score.logit_scale:
            if not (is_probability(ref) and is_probability(alt)):
                raise InputError(
                    f"score {self.score.name!r} needs outputs between 0 and 1; the model's are not "
                    "probabilities. Use the score 'diff'"
                )
            ref, alt = logit(ref), logit(alt)
        own = ref[:, owner]
        effect = sign = self.score.function(own, alt)
        if rounded.any():
            sign = self.score.function(own, torch.where(rounded, own, alt))
        return _ScoredDraws(ref, alt, effect, sign, nonfinite)

    def _counts(self) -> dict[str, Tensor]:
        return {"n_nonfinite": self.nonfinite, "n_saturated": self.saturated}

    def write(self, summary: EffectSummary, rows: slice) -> None:
        """Put the statistics into the rows of a summary."""
        statistics = {name: value for name, value in self.points.items() if name != "ref_point"}
        reference = {"ref_point": self.points["ref_point"]}
        if self.pairs is not None and self.effects is not None:
            pairs, effects = self.pairs, self.effects
            bad = (self.nonfinite + self.saturated) > 0
            statistics |= {
                "alt_mean": pairs.alt.mean,
                "alt_var": pairs.alt.variance(),
                "ref_alt_cov": pairs.covariance(),
                "effect_mean": effects.mean,
                "effect_sd": effects.sd(),
                "effect_mcse": effects.mcse(),
                "prob_positive": (self.positive / effects.n).masked_fill(bad, math.nan),
            }
            reference |= {"ref_mean": pairs.ref.mean, "ref_var": pairs.ref.variance()}
        for target, values in ((summary.mutant, statistics), (summary.counts, self._counts())):
            for name, value in values.items():
                target[name][rows] = _finite(value).cpu().numpy()
        for name, value in reference.items():
            summary.reference[name][:] = _finite(value).cpu().numpy()
        if self.kept:
            kept = torch.cat(self.kept)
            for q, array in summary.quantiles.items():
                array[rows] = np.quantile(kept.cpu().numpy(), q, axis=0)
            if summary.draws is not None:
                summary.draws[:, rows] = kept.cpu().numpy()


def _differ_by_rounding(ref: Tensor, alt: Tensor, owner: Tensor, eps: float) -> Tensor:
    """Whether an output of a mutant is not its reference's, but so near that only rounding differs."""
    distance = (alt - ref[:, owner]).abs_()
    is_rounding: Tensor = (distance <= output_rounding(ref, eps, torch)[:, owner]) & (distance > 0)
    return is_rounding


def _finite(values: Tensor) -> Tensor:
    """The values, NaN where they are infinite."""
    return (
        torch.where(torch.isfinite(values), values, math.nan) if values.is_floating_point() else values
    )
