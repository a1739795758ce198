"""A block of draws on the scale of a score, some mutants at a time.

The statistics need several copies of the outputs in float64. So few mutants are taken at a time that
these copies stay in the cache of the processor: each step then costs a fraction of what it costs in
main memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from kipoi_mcdropout.arrays.moments import Moments
from kipoi_mcdropout.effects.read_blocks import Compared
from kipoi_mcdropout.effects.rounding import output_rounding
from kipoi_mcdropout.effects.scores import Score, is_probability, logit
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.sequence.mutants import chunks

_VALUES = 64_000  # draws x mutants x outputs at a time: 0.5 MB for each copy in float64


class ScoredDraws(NamedTuple):
    """Some mutants of a block, each shape=(draws, mutants, outputs)."""

    alt: Tensor  # float64, on the scale of the score
    effect: Tensor
    sign: Tensor  # the effect without rounding: whose sign counts
    nonfinite: Tensor | None  # outputs of the model that are NaN or infinite; None if there are none

    def begin(self, draw: int) -> ScoredDraws:
        """Without the draws before this one."""
        nonfinite = None if self.nonfinite is None else self.nonfinite[draw:]
        return ScoredDraws(self.alt[draw:], self.effect[draw:], self.sign[draw:], nonfinite)


class ReferenceDraws:
    """The references of a block, made ready once for all mutants.

    Parameters
    ----------
    score : Score
    outputs : Tensor, shape=(draws, references, outputs)
    owner : Tensor of int64, shape=(mutants,)
        On the CPU.
    eps : float
        Relative precision of the model's arithmetic.

    Attributes
    ----------
    values : Tensor of float64
        The outputs on the scale of the score.

    Raises
    ------
    InputError
        If a logit score is asked of outputs that are no probabilities.
    """

    def __init__(self, score: Score, outputs: Tensor, owner: Tensor, eps: float) -> None:
        self.score, self.owner = score, owner
        self.outputs = outputs.to(torch.float64).contiguous()
        self.finite = bool(torch.isfinite(self.outputs).all())
        self.rounding = output_rounding(self.outputs, eps, torch)
        self.values = self._on_scale(self.outputs)
        self._still: Tensor | None = None

    def moments(self, begin: int) -> tuple[Moments, Tensor]:
        """Those of the draws from one on, and their deviations; NaN where a value is not finite."""
        values = self.values[begin:]
        if not (finite := torch.isfinite(values)).all():
            values = torch.where(finite, values, torch.nan)
        return Moments.with_deviations(values)

    def of(self, values: Tensor, rows: slice) -> Tensor:
        """Values of the references at their mutants; with a mutant axis of 1 where all have the same."""
        if values.shape[1] == 1:
            return values
        owner = self.owner[rows]
        first = int(owner[0])
        if bool((owner == first).all()):
            return values[:, first : first + 1]
        return values[:, owner.to(values.device)]

    def scored(self, rows: slice, alt: Tensor, compared: Compared | None) -> ScoredDraws:
        """Some mutants, by their outputs in float64; profiles have their scores already."""
        nonfinite = None
        if not (self.finite and bool(torch.isfinite(alt.sum()))):
            nonfinite = ~torch.isfinite(alt) | ~torch.isfinite(self.of(self.outputs, rows))
        if compared is not None:  # of profiles, before they were reduced
            effect, sign = (x[:, rows] for x in compared)
            return ScoredDraws(alt, effect, sign, nonfinite)
        own = self.of(self.outputs, rows)
        # The same input has the same output, whatever the kernels round.
        only_rounding = (alt - own).abs_() <= self.of(self.rounding, rows)
        # Whole arrays: torch rounds some functions otherwise where a value is repeated by its stride.
        alt, own = self._on_scale(alt), self.of(self.values, rows).expand_as(alt).contiguous()
        effect = sign = self.score.function(own, alt)
        if only_rounding.any():
            if self._still is None:
                self._still = self.score.function(self.values, self.values)
            sign = torch.where(only_rounding, self.of(self._still, rows), effect)
        return ScoredDraws(alt, effect, sign, nonfinite)

    def _on_scale(self, outputs: Tensor) -> Tensor:
        if not self.score.logit_scale:
            return outputs
        if not is_probability(outputs):
            raise InputError(
                f"score {self.score.name!r} needs outputs between 0 and 1; the model's are not "
                "probabilities. Use the score 'diff'"
            )
        return logit(outputs)


def few(n_mutants: int, n_values: int, device: torch.device) -> Iterator[slice]:
    """Mutants at a time, of `n_values` numbers each; all at once but on the CPU."""
    size = max(1, _VALUES // n_values) if device.type == "cpu" else max(1, n_mutants)
    return chunks(n_mutants, size)
