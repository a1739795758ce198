"""How the incremental engine will run a model, and how long it takes: for `kipoi mcdropout audit`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kipoi_mcdropout.arrays.nested import Nested
from kipoi_mcdropout.dropout.locked_model import POINT, LockedModel
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.engine import (
    CaptureError,
    Engines,
    Job,
    PlanReport,
    PlanRow,
    RuleError,
    describe,
)
from kipoi_mcdropout.engine.full import Engine
from kipoi_mcdropout.engine.incremental.example import example_batch
from kipoi_mcdropout.sequence.layout import SequenceLayout
from kipoi_mcdropout.sequence.mutants import MutantBatch

# Mutants and draws that are timed, one after the other while there is time: with many the engine is
# at its best, but a forward pass of a large model takes seconds.
_TRIALS = ((2, 1), (16, 2), (128, 4), (512, 4))
_TRIAL_SECONDS = 10.0
_REPORTED_DRAWS = 30
_HEADER = ("operation", "module", "how", "changed", "MFLOP", "whole", "rule, or why none")


@dataclass(frozen=True)
class EnginePlan:
    """What `--engine auto` does for one sequence.

    `seconds` is the time for all its substitutions and draws, extrapolated from a trial.
    """

    engine: str
    reason: str
    report: PlanReport | None  # None where the model cannot be captured
    bytes_per_mutant: float
    n_mutants: int
    seconds: float
    n_draws: int = _REPORTED_DRAWS  # 0: a model without dropout, in one pass


def engine_plan(
    model: LockedModel,
    reference: Nested,
    input_key: Any,
    layout: SequenceLayout,
    say: Callable[[str], None] = lambda _text: None,
    is_random: bool = True,
) -> EnginePlan:
    """Plan the engine for inputs of this shape, and time it for about ten seconds at most.

    Parameters
    ----------
    model : LockedModel
    reference : nested numpy.ndarray
        All inputs of the model, at least one row, in the types that the model takes.
    input_key
        Of the mutated input (see `MutantBatch`).
    layout : SequenceLayout
        Of the mutated input.
    say : callable
        Called with a sentence before each step that takes time.
    is_random : bool
        Whether the model has dropout; without it, as of a member of an ensemble, one pass is planned.
    """
    n_draws = _REPORTED_DRAWS if is_random else 0
    n_mutants = layout.n_positions * (layout.n_bases - 1)
    engines = Engines(model, MaskBank(0))
    with model.borrow():
        say("choosing the engine: the model is captured and tried on a few mutants")
        choice = engines.choose(reference, input_key, layout, Job(n_mutants, n_draws))
        try:
            example = example_batch(reference, input_key, layout)
            compiled = engines.incremental.planned(example, not is_random)
            report, held = describe(compiled.plan), compiled.bytes_per_mutant()
        except (CaptureError, RuleError):
            report, held = None, 0.0
        say(f"timing the engine {choice.engine}: about {_TRIAL_SECONDS:.0f} s at most")
        batches: list[tuple[MutantBatch, Sequence[int]]] = [
            (example_batch(reference, input_key, layout, n), range(draws) if is_random else [POINT])
            for n, draws in _TRIALS
        ]
        per_pair = seconds_per_pair(engines.get(choice.engine), batches)
    seconds = per_pair * n_mutants * max(1, n_draws)
    return EnginePlan(choice.engine, choice.reason, report, held, n_mutants, seconds, n_draws)


def seconds_per_pair(
    engine: Engine,
    trials: Sequence[tuple[MutantBatch, Sequence[int]]],
    limit: float = _TRIAL_SECONDS,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Time of a mutant in a draw, from the largest of the trials (mutants, draws) that fits the limit.

    The first is always run.
    """
    spent = per_pair = 0.0
    for batch, draws in trials:
        pairs = batch.n_mutants * len(draws)
        if spent + per_pair * pairs > limit:
            break
        begin = clock()
        for _ in engine.run(batch, draws):
            pass
        took = clock() - begin
        spent, per_pair = spent + took, took / pairs
    return per_pair


def format_plan(plan: EnginePlan) -> str:
    """The plan as a table for a terminal."""
    lines = []
    if plan.report is not None:
        cells = [_HEADER, *(_cells(row) for row in plan.report.rows if row.how != "constant")]
        widths = [max(len(line[i]) for line in cells) for i in range(len(_HEADER))]
        lines += [
            "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in cells
        ]
        rows = plan.report.rows
        flops = plan.report.flops if plan.n_draws else sum(row.flops for row in rows)
        lines += [
            "",
            f"per mutant{' and draw' if plan.n_draws else ''}: {flops / 1e6:.3g} MFLOP, whole inputs "
            f"{plan.report.dense_flops / 1e6:.3g}; {plan.bytes_per_mutant / 1e6:.3g} MB held",
        ]
    lines.append(f"engine auto: {plan.engine} ({plan.reason})")
    passes = f"{plan.n_draws} draws" if plan.n_draws else "one pass without dropout"
    lines.append(
        f"a sequence with {plan.n_mutants} substitutions and {passes}: about {plan.seconds:.2g} s here"
    )
    return "\n".join(lines)


def _cells(row: PlanRow) -> tuple[str, ...]:
    changed = "" if row.n_positions is None else f"{row.width_out:.0f} of {row.n_positions}"
    how = f"{row.how}, once" if row.once_for_all_draws else row.how
    flops = (f"{n / 1e6:.3g}" for n in (row.flops, row.dense_flops))
    return (row.operation, row.module, how, changed, *flops, row.rule or row.reason)
