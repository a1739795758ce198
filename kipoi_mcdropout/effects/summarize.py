"""From outputs, draw by draw, to the summary of each mutant's effect."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kipoi_mcdropout.dropout.locked_model import POINT
from kipoi_mcdropout.effects.accumulator import Accumulator
from kipoi_mcdropout.effects.columns import COUNTS, MUTANT_STATISTICS, REFERENCE_STATISTICS
from kipoi_mcdropout.effects.read_blocks import ReadBlock, read_blocks
from kipoi_mcdropout.effects.scores import Score
from kipoi_mcdropout.effects.summary import Array, EffectOptions, EffectSummary
from kipoi_mcdropout.engine.full import Engine
from kipoi_mcdropout.errors import NonFiniteOutputError
from kipoi_mcdropout.outputs.targets import Targets
from kipoi_mcdropout.sequence.mutants import MutantBatch

_CELLS = 400_000  # mutants x outputs whose statistics are computed at a time


def summarize_effects(
    engine: Engine,
    batch: MutantBatch,
    targets: Targets,
    options: EffectOptions,
    progress: Callable[[int], None] | None = None,
    draws: Sequence[int] | None = None,
) -> list[EffectSummary]:
    """Run all draws for a batch of mutants and summarise each score.

    `progress` is called with the number of (mutant, draw) pairs just computed; the point prediction
    counts as a draw. `draws` are the numbers of the draws, by default all from 0 to
    `options.n_draws` - 1; of others, such as those of one member, kept draws are float64.

    Raises
    ------
    InputError
        If a logit score is asked of outputs that are no probabilities.
    NonFiniteOutputError
        If all outputs of a reference are NaN or infinite with dropout off.
    """
    n_references, n_outputs = len(batch.reference_codes), len(targets.columns)
    of_all = draws is None
    numbers = range(options.n_draws) if draws is None else draws
    kept = np.float32 if of_all else np.float64
    summaries = [
        empty_summary(score, options, len(numbers), n_references, batch.n_mutants, n_outputs, kept)
        for score in options.scores
    ]
    keep_draws = options.keep_draws or bool(options.quantiles)
    unchanged = torch.from_numpy(batch.unchanged())
    owner = torch.from_numpy(batch.owner)

    def begin(rows: slice) -> list[Accumulator]:
        return [
            Accumulator(score, owner[rows], unchanged[rows], len(numbers), keep_draws, targets.eps)
            for score in options.scores
        ]

    blocks = read_blocks(engine, batch, [POINT, *numbers], targets, options.scores)
    for rows, of_scores in accumulated(blocks, 1 + len(numbers), n_outputs, begin, progress):
        for accumulator, summary in zip(of_scores, summaries, strict=True):
            accumulator.write(summary, rows)
            summary.eps = accumulator.eps
    return summaries


def accumulated(
    blocks: Iterable[ReadBlock],
    n_passes: int,
    n_outputs: int,
    begin: Callable[[slice], list[Accumulator]],
    progress: Callable[[int], None] | None = None,
) -> Iterator[tuple[slice, list[Accumulator]]]:
    """Add up the draws of all mutants, some mutants at a time.

    The statistics need several copies of a block in float64. Each part is yielded when it has all
    passes.

    Parameters
    ----------
    blocks : iterable of ReadBlock
        Of `read_blocks`.
    n_passes, n_outputs : int
        Draws of each mutant, the prediction with dropout off counted as one; and outputs.
    begin : callable
        Gives the accumulators of some mutants, one per score, with the draws that they have already.
    """
    size = max(1, _CELLS // n_outputs)
    accumulators: list[tuple[slice, list[Accumulator]]] = []
    done = 0
    for block in blocks:
        if done == 0:
            accumulators = [(rows, begin(rows)) for rows in _pieces(block.mutants, size)]
            if not accumulators[0][1][0].points:  # the first pass is the one with dropout off
                _check_reference(block.ref[0])
        for rows, of_scores in accumulators:
            part = block.part(rows)
            for accumulator in of_scores:
                accumulator.update(part)
        if progress is not None:
            progress(block.alt.shape[0] * block.alt.shape[1])
        done += block.alt.shape[0]
        if done == n_passes:
            yield from accumulators
            accumulators, done = [], 0


def _pieces(rows: slice, size: int) -> list[slice]:
    """Consecutive slices of at most `size` that cover a slice."""
    return [slice(a, min(a + size, rows.stop)) for a in range(rows.start, rows.stop, size)]


def _check_reference(ref: Tensor) -> None:
    broken = ~torch.isfinite(ref).any(dim=1)
    if broken.any():
        raise NonFiniteOutputError(
            f"the model gives NaN or infinity in all {ref.shape[1]} outputs for the reference sequence "
            f"(sequence {int(broken.nonzero()[0])} of the batch, dropout off). Check the model's "
            "weights and the scale of its inputs"
        )


def empty_summary(
    score: Score,
    options: EffectOptions,
    n_draws: int,
    n_references: int,
    n_mutants: int,
    n_outputs: int,
    kept: type[np.floating[Any]] = np.float32,
) -> EffectSummary:
    """A summary to be filled; `kept` is the type of kept draws."""

    def empty(n: int) -> Array:
        return np.full((n, n_outputs), np.nan)

    return EffectSummary(
        score,
        n_draws,
        {name: empty(n_references) for name in REFERENCE_STATISTICS},
        {name: empty(n_mutants) for name in MUTANT_STATISTICS},
        {name: np.zeros((n_mutants, n_outputs), np.int32) for name in COUNTS},
        {q: empty(n_mutants) for q in options.quantiles},
        np.empty((n_draws, n_mutants, n_outputs), kept) if options.keep_draws else None,
    )
