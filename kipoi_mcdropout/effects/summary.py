"""From outputs, draw by draw, to the summary of each mutant's effect."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kipoi_mcdropout.arrays.moments import Moments, PairedMoments
from kipoi_mcdropout.arrays.outputs import Targets
from kipoi_mcdropout.dropout.locked_model import POINT
from kipoi_mcdropout.dropout.masks import check_n_draws
from kipoi_mcdropout.effects.rounding import output_rounding
from kipoi_mcdropout.effects.scores import Score, is_probability, logit
from kipoi_mcdropout.engine.full import DrawBlock, Engine
from kipoi_mcdropout.errors import InputError, NonFiniteOutputError
from kipoi_mcdropout.sequence.mutants import MutantBatch

Array = NDArray[np.float64]

REFERENCE_STATISTICS = ("ref_mean", "ref_var", "ref_point")
MUTANT_STATISTICS = (
    "alt_mean", "alt_var", "alt_point", "ref_alt_cov",
    "effect_mean", "effect_sd", "effect_mcse", "effect_point", "prob_positive",
)  # fmt: skip
COUNTS = ("n_nonfinite", "n_saturated")
_CELLS = 400_000  # mutants x outputs whose statistics are computed at a time


@dataclass
class EffectSummary:
    """Statistics over the draws for one score (DESIGN: effects are scored within a draw).

    Attributes
    ----------
    reference : dict of numpy.ndarray of float64, each shape=(references, outputs)
        `ref_mean`, `ref_var` (ddof=1), `ref_point` (dropout off).
    mutant : dict of numpy.ndarray of float64, each shape=(mutants, outputs)
        `alt_mean`, `alt_var`, `alt_point`, `ref_alt_cov`, `effect_mean`, `effect_sd` (spread over the
        draws, ddof=1), `effect_mcse` (effect_sd / sqrt(n_draws)), `effect_point` (dropout off) and
        `prob_positive` (share of the draws with effect > 0, ties half; in a draw in which the outputs
        of reference and mutant differ by rounding alone, `rounding.output_rounding`, they are a tie).
        On the logit scale for the logit scores, else on that of the output.
    counts : dict of numpy.ndarray of int32, each shape=(mutants, outputs)
        `n_nonfinite`: draws in which the model gave NaN or infinity; `n_saturated`: draws in which
        the score is infinite or undefined since a probability is 0 or 1. Where one is not 0 the
        statistics are NaN: such draws are not averaged away. With n_draws = 0, where there are
        point effects only, they count the point prediction.
    quantiles : dict of float to numpy.ndarray, shape=(mutants, outputs)
        Of the effect over the draws, as asked for.
    draws : numpy.ndarray of float32, shape=(draws, mutants, outputs), or None
        The effects themselves, as asked for.
    """

    score: Score
    n_draws: int
    reference: dict[str, Array]
    mutant: dict[str, Array]
    counts: dict[str, NDArray[np.int32]]
    quantiles: dict[float, Array] = field(default_factory=dict)
    draws: NDArray[np.float32] | None = None

    def per_mutant(self) -> dict[str, NDArray[Any]]:
        """Everything that has a value per mutant and output, by column name, mutants first."""
        columns: dict[str, NDArray[Any]] = dict(self.mutant)
        columns.update({quantile_name(q): values for q, values in self.quantiles.items()})
        columns.update({name: count.astype(np.float64) for name, count in self.counts.items()})
        if self.draws is not None:
            columns["effect_draws"] = np.moveaxis(self.draws, 0, -1)
        return columns


def quantile_name(q: float) -> str:
    """Column name of a quantile, e.g. effect_q0.05."""
    return f"effect_q{q:g}"


@dataclass(frozen=True)
class EffectOptions:
    """What is computed about each mutant."""

    scores: tuple[Score, ...]
    n_draws: int
    quantiles: tuple[float, ...] = ()
    keep_draws: bool = False

    def __post_init__(self) -> None:
        check_n_draws(self.n_draws)
        if not self.scores:
            raise InputError("at least one score is required; got none")
        names = [score.name for score in self.scores]
        if len(set(names)) < len(names):
            raise InputError(f"each score can be asked for once; got {', '.join(names)}")
        for q in self.quantiles:
            if not 0 <= q <= 1:
                raise InputError(f"quantiles must lie between 0 and 1; got {q}")


def summarize_effects(
    engine: Engine,
    batch: MutantBatch,
    targets: Targets,
    options: EffectOptions,
    progress: Callable[[int], None] | None = None,
) -> list[EffectSummary]:
    """Run all draws for a batch of mutants and summarise each score.

    `progress` is called with the number of (mutant, draw) pairs just computed; the point prediction
    counts as a draw.

    Raises
    ------
    InputError
        If a logit score is asked of outputs that are no probabilities.
    NonFiniteOutputError
        If all outputs of a reference are NaN or infinite with dropout off.
    """
    n_references, n_outputs = len(batch.reference_codes), len(targets.columns)
    summaries = [
        _empty_summary(score, options, n_references, batch.n_mutants, n_outputs)
        for score in options.scores
    ]
    unchanged = torch.from_numpy(batch.unchanged())
    owner = torch.from_numpy(batch.owner)
    draws = [POINT, *range(options.n_draws)]
    # Some mutants at a time, as the statistics need several copies of a block in float64.
    accumulators: list[tuple[slice, list[_Accumulator]]] = []
    done = 0
    for block in engine.run(batch, draws, targets.selected):
        if done == 0:
            accumulators = [
                (rows, [_Accumulator(s, owner[rows], unchanged[rows], options) for s in options.scores])
                for rows in _pieces(block.mutants, max(1, _CELLS // n_outputs))
            ]
            _check_reference(block.ref[0])
        for rows, of_scores in accumulators:
            begin = block.mutants.start
            part = block._replace(alt=block.alt[:, rows.start - begin : rows.stop - begin])
            for accumulator in of_scores:
                accumulator.update(part)
        if progress is not None:
            progress(block.alt.shape[0] * block.alt.shape[1])
        done += block.alt.shape[0]
        if done == len(draws):
            for rows, of_scores in accumulators:
                for accumulator, summary in zip(of_scores, summaries, strict=True):
                    accumulator.write(summary, rows)
            accumulators, done = [], 0
    return summaries


def _pieces(rows: slice, size: int) -> list[slice]:
    """Consecutive slices of at most `size` that cover a slice."""
    return [slice(a, min(a + size, rows.stop)) for a in range(rows.start, rows.stop, size)]


def _check_reference(ref: Tensor) -> None:
    broken = ~torch.isfinite(ref).any(dim=1)
    if broken.any():
        raise NonFiniteOutputError(
            f"the model gives NaN or infinity in all {ref.shape[1]} outputs for the reference itself "
            f"(sequence {int(broken.nonzero()[0])} of the batch, dropout off). Check the model's "
            "weights and the scale of its inputs"
        )


def _empty_summary(
    score: Score, options: EffectOptions, n_references: int, n_mutants: int, n_outputs: int
) -> EffectSummary:
    def empty(n: int) -> Array:
        return np.full((n, n_outputs), np.nan)

    return EffectSummary(
        score,
        options.n_draws,
        {name: empty(n_references) for name in REFERENCE_STATISTICS},
        {name: empty(n_mutants) for name in MUTANT_STATISTICS},
        {name: np.zeros((n_mutants, n_outputs), np.int32) for name in COUNTS},
        {q: empty(n_mutants) for q in options.quantiles},
        np.empty((options.n_draws, n_mutants, n_outputs), np.float32) if options.keep_draws else None,
    )


class _Scored(NamedTuple):
    """Draws of one score. References: shape=(draws, references, outputs), else mutants in the middle."""

    ref: Tensor
    alt: Tensor
    effect: Tensor
    sign: Tensor  # the effect without rounding: whose sign counts
    nonfinite: Tensor

    def without_point(self) -> _Scored:
        """All but the first draw, which is the point prediction."""
        return _Scored(*(values[1:] for values in self))


class _Accumulator:
    """Moments of one score for one slice of mutants, while the draws stream by."""

    def __init__(self, score: Score, owner: Tensor, unchanged: Tensor, options: EffectOptions) -> None:
        self.score = score
        self.owner = owner
        self.unchanged = unchanged
        self.n_draws = options.n_draws
        self.keep_draws = options.keep_draws or bool(options.quantiles)
        self.pairs: PairedMoments | None = None
        self.effects: Moments | None = None
        self.positive = torch.zeros((), dtype=torch.float64)
        self.nonfinite = torch.zeros((), dtype=torch.int32)
        self.saturated = torch.zeros((), dtype=torch.int32)
        self.kept: list[Tensor] = []
        self.points: dict[str, Tensor] = {}

    def update(self, block: DrawBlock) -> None:
        """Add the draws of a block; the very first is the point prediction."""
        owner = self.owner.to(block.alt.device)
        ref, alt = block.ref, block.alt
        if self.unchanged.any():  # the same input has the same output, whatever the kernels round
            same = self.unchanged.to(alt.device)
            alt = alt.clone()
            alt[:, same] = ref[:, owner[same]]
        scored = self._scored(ref, alt, owner)
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

    def _scored(self, ref: Tensor, alt: Tensor, owner: Tensor) -> _Scored:
        eps = torch.finfo(alt.dtype).eps
        ref, alt = ref.to(torch.float64), alt.to(torch.float64)
        nonfinite = ~torch.isfinite(alt) | ~torch.isfinite(ref)[:, owner]
        rounded = _differ_by_rounding(ref, alt, owner, eps)
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
        return _Scored(ref, alt, effect, sign, nonfinite)

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
                summary.draws[:, rows] = kept.to(torch.float32).cpu().numpy()


def _differ_by_rounding(ref: Tensor, alt: Tensor, owner: Tensor, eps: float) -> Tensor:
    """Whether an output of a mutant is not its reference's, but so near that only rounding differs."""
    distance = (alt - ref[:, owner]).abs_()
    return (distance <= output_rounding(ref, eps, torch)[:, owner]) & (distance > 0)


def _finite(values: Tensor) -> Tensor:
    """The values, NaN where they are infinite."""
    return (
        torch.where(torch.isfinite(values), values, math.nan) if values.is_floating_point() else values
    )


def concatenate(parts: Sequence[EffectSummary]) -> EffectSummary:
    """Summaries of consecutive mutants of the same reference as one."""
    first = parts[0]
    if len(parts) == 1:
        return first

    def join(pick: Callable[[EffectSummary], dict[Any, Any]]) -> dict[Any, Any]:
        return {name: np.concatenate([pick(part)[name] for part in parts]) for name in pick(first)}

    draws = [part.draws for part in parts if part.draws is not None]
    return EffectSummary(
        first.score,
        first.n_draws,
        first.reference,
        join(lambda part: part.mutant),
        join(lambda part: part.counts),
        join(lambda part: part.quantiles),
        np.concatenate(draws, axis=1) if draws else None,
    )
