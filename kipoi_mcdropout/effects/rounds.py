"""Draws in rounds: after each, only the mutants that need more go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from kipoi_mcdropout.dropout.locked_model import POINT
from kipoi_mcdropout.effects.accumulator import Accumulator
from kipoi_mcdropout.effects.columns import COUNTS, MUTANT_STATISTICS, REFERENCE_STATISTICS
from kipoi_mcdropout.effects.continued import joined, taken
from kipoi_mcdropout.effects.read_blocks import read_blocks
from kipoi_mcdropout.effects.scores import Score
from kipoi_mcdropout.effects.summarize import accumulated, empty_summary
from kipoi_mcdropout.effects.summary import EffectOptions, EffectSummary
from kipoi_mcdropout.effects.until import Until
from kipoi_mcdropout.engine.full import Engine
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.outputs.targets import Targets
from kipoi_mcdropout.sequence.mutants import MutantBatch

Rows = NDArray[np.int64]


def summarize_in_rounds(
    engine: Engine,
    batch: MutantBatch,
    targets: Targets,
    options: EffectOptions,
    progress: Callable[[int], None] | None = None,
) -> list[EffectSummary]:
    """`summarize_effects` with as many draws of each mutant as `options.until` asks for.

    A mutant has the first n of the same draws, whatever the others have. Whether it goes on depends on
    its own effects alone. `progress` counts the draws that are not needed as done.

    Raises
    ------
    InputError, NonFiniteOutputError
        See `summarize_effects`.
    """
    until = options.until
    if until is None:
        raise InputError("until is required; got None")
    n_outputs = len(targets.columns)
    summaries = [_summary(score, options, batch.n_mutants, n_outputs) for score in options.scores]
    going, part, done = np.arange(batch.n_mutants), batch, 0
    start = _Beginning(batch, options, targets.eps)
    for n in until.checkpoints(options.n_draws):
        passes = [*([POINT] if done == 0 else []), *range(done, n)]
        still: list[Rows] = [going[:0]]  # rows of `part` that go on
        kept: list[list[Accumulator]] = []
        blocks = read_blocks(engine, part, passes, targets, options.scores)
        for rows, of_scores in accumulated(blocks, len(passes), n_outputs, start.of, progress):
            settled = _settled(until, of_scores, n) | (n == options.n_draws)
            here = np.arange(rows.start, rows.stop)
            _write(summaries, of_scores, going[here[settled]], np.flatnonzero(settled), options, n)
            if progress is not None:
                progress(int(settled.sum()) * (options.n_draws - n))
            if not settled.all():
                rest = np.flatnonzero(~settled)
                kept.append([taken(accumulator, rest) for accumulator in of_scores])
                still.append(here[rest])
        rows_on = np.concatenate(still)
        if len(rows_on) == 0:
            break
        whole = [joined(pieces) for pieces in zip(*kept, strict=True)]
        references = np.unique(part.owner[rows_on])
        going, part, done = going[rows_on], part.some(rows_on), n
        start.go_on(whole, references, part.owner)
    return summaries


class _Beginning:
    """The accumulators that a round begins with: empty ones, then those of the mutants that go on."""

    def __init__(self, batch: MutantBatch, options: EffectOptions, eps: float) -> None:
        self._owner = torch.from_numpy(batch.owner)
        self._unchanged = torch.from_numpy(batch.unchanged())
        self._options, self._eps = options, eps
        self._whole: Sequence[Accumulator] = ()

    def go_on(self, whole: Sequence[Accumulator], references: Rows, owner: Rows) -> None:
        """Begin the next round with these, whose references are counted anew."""
        mutants = np.arange(len(owner))
        self._whole = [taken(accumulator, mutants, references, owner) for accumulator in whole]

    def of(self, rows: slice) -> list[Accumulator]:
        """Those of some of the mutants of the round, one per score."""
        if self._whole:
            return [taken(whole, np.arange(rows.start, rows.stop)) for whole in self._whole]
        n = self._options.n_draws
        return [
            Accumulator(score, self._owner[rows], self._unchanged[rows], n, False, self._eps)
            for score in self._options.scores
        ]


def _settled(until: Until, of_scores: Sequence[Accumulator], n: int) -> NDArray[np.bool_]:
    """Which mutants need no more draws for any output and score, shape=(mutants,)."""
    of_all = np.ones(len(of_scores[0].owner), np.bool_)
    for number, accumulator in enumerate(of_scores):
        assert accumulator.effects is not None
        mean, sd = (x.cpu().numpy() for x in (accumulator.effects.mean, accumulator.effects.sd()))
        of_all &= until.settled(mean, sd, n, number).all(axis=1)
    return of_all


def _summary(score: Score, options: EffectOptions, n_mutants: int, n_outputs: int) -> EffectSummary:
    """With the statistics of the reference at each mutant, since they are over its own draws."""

    def empty() -> NDArray[np.float64]:
        return np.full((n_mutants, n_outputs), np.nan)

    return EffectSummary(
        score, options.n_draws, {},
        {name: empty() for name in (*REFERENCE_STATISTICS, *MUTANT_STATISTICS)},
        {name: np.zeros((n_mutants, n_outputs), np.int32) for name in (*COUNTS, "n_draws")},
    )  # fmt: skip


def _write(
    summaries: Sequence[EffectSummary],
    of_scores: Sequence[Accumulator],
    rows: Rows,
    settled: Rows,
    options: EffectOptions,
    n: int,
) -> None:
    """Put the statistics of the settled ones of the accumulators' mutants into rows of the summaries."""
    if len(rows) == 0:
        return
    for summary, accumulator in zip(summaries, of_scores, strict=True):
        own = taken(accumulator, settled)
        n_references, n_outputs = own.points["ref_point"].shape
        found = empty_summary(own.score, options, n, n_references, len(rows), n_outputs)
        own.write(found, slice(0, len(rows)))
        owner = own.owner.numpy()
        for name, values in found.reference.items():
            summary.mutant[name][rows] = values[owner]
        for name, values in found.mutant.items():
            summary.mutant[name][rows] = values
        for name, counts in found.counts.items():
            summary.counts[name][rows] = counts
        summary.counts["n_draws"][rows] = n
        summary.eps = own.eps
