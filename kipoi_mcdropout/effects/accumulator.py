"""Adds up the draws of one score for some mutants, while they stream by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kipoi_mcdropout.arrays.moments import Moments, PairedMoments, comoment
from kipoi_mcdropout.effects.read_blocks import ReadBlock
from kipoi_mcdropout.effects.scored_draws import ReferenceDraws, ScoredDraws, few
from kipoi_mcdropout.effects.scores import Score
from kipoi_mcdropout.effects.summary import EffectSummary


class _Part(NamedTuple):
    """What a block adds for some mutants."""

    counts: tuple[Tensor, Tensor] | None  # draws that are nonfinite, and saturated ones; None for none
    positive: Tensor  # twice the number of draws with an effect above 0, ties once
    alt: Moments
    effect: Moments
    comoment: Tensor
    kept: Tensor | None  # the effects


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
        self.eps = max(self.eps, torch.finfo(block.alt.dtype).eps)
        references = ReferenceDraws(self.score, block.ref, self.owner, self.eps)
        n_draws, n_mutants, n_outputs = block.alt.shape
        first = not self.points
        points: list[tuple[Tensor, Tensor]] = []
        parts: list[_Part] = []
        from_draw = int(first and self.n_draws > 0)
        of_references = references.moments(from_draw) if n_draws > from_draw else None
        for rows in few(n_mutants, n_draws * n_outputs, block.alt.device):
            alt = self._outputs(references, rows, block.alt)
            scored = references.scored(rows, alt, block.compared.get(self.score.name))
            if first:
                points.append((scored.alt[0].clone(), scored.effect[0].clone()))
            if of_references is not None:
                own = references.of(of_references[1], rows)
                parts.append(self._part(scored.begin(from_draw), own))
        if first:
            alt_point, effect_point = (torch.cat(part) for part in zip(*points, strict=True))
            self.points = {
                "ref_point": references.values[0], "alt_point": alt_point, "effect_point": effect_point,
            }  # fmt: skip
        if of_references is not None:
            self._add(of_references[0], parts)

    def _outputs(self, references: ReferenceDraws, rows: slice, alt: Tensor) -> Tensor:
        """Those of some mutants; those of the reference where the input is the same."""
        own = alt[:, rows].to(torch.float64).contiguous()
        if bool((unchanged := self.unchanged[rows]).any()):  # whatever the kernels round
            ref = references.of(references.outputs, rows)
            own = torch.where(unchanged[None, :, None].to(own.device), ref, own)
        return own

    def _part(self, scored: ScoredDraws, deviations: Tensor) -> _Part:
        """What some mutants add; `deviations` are those of their references."""
        alt, effect, sign, nonfinite = scored
        counts = None
        if nonfinite is not None or not bool(torch.isfinite(alt.sum() + effect.sum())):
            invalid = ~torch.isfinite(effect)
            nonfinite = torch.zeros_like(invalid) if nonfinite is None else nonfinite
            counts = (_count(nonfinite), _count(invalid & ~nonfinite))
            effect = effect.masked_fill(nonfinite | invalid, math.nan)
            alt = torch.where(torch.isfinite(alt), alt, math.nan)
        # Half for a tie: what is above 0 counts twice a half, what is 0 once.
        positive = _count(sign > 0) + _count(sign >= 0)
        of_alt, alt_deviations = Moments.with_deviations(alt)
        together = comoment(alt_deviations, deviations)
        kept = effect if self.keep_draws else None
        return _Part(counts, positive, of_alt, Moments.of(effect), together, kept)

    def _add(self, ref: Moments, parts: Sequence[_Part]) -> None:
        """Add a block, given by its parts."""
        if any(part.counts is not None for part in parts):
            none = [torch.zeros_like(part.positive) for part in parts]
            counts = [part.counts or (zero, zero) for part, zero in zip(parts, none, strict=True)]
            self.nonfinite = self.nonfinite + torch.cat([nonfinite for nonfinite, _ in counts])
            self.saturated = self.saturated + torch.cat([saturated for _, saturated in counts])
        if self.n_draws == 0:
            return
        self.positive = self.positive + 0.5 * torch.cat([part.positive for part in parts]).double()
        together = torch.cat([part.comoment for part in parts])
        alt = Moments.joined([part.alt for part in parts])
        effects = Moments.joined([part.effect for part in parts])
        pairs = PairedMoments(ref, alt, together, self.owner.to(together.device))
        self.pairs = pairs if self.pairs is None else self.pairs.merge(pairs)
        self.effects = effects if self.effects is None else self.effects.merge(effects)
        if self.keep_draws:
            self.kept.append(torch.cat([part.kept for part in parts if part.kept is not None], dim=1))

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


def _count(draws: Tensor) -> Tensor:
    """In how many draws it is so."""
    return draws.sum(dim=0, dtype=torch.int32)


def _finite(values: Tensor) -> Tensor:
    """The values, NaN where they are infinite."""
    if not values.is_floating_point() or bool(torch.isfinite(values.sum())):
        return values
    return torch.where(torch.isfinite(values), values, math.nan)
