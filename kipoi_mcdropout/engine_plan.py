"""How the incremental engine will run a model, and how long it takes: for `kipoi mcdropout audit`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from kipoi_mcdropout.encoding import DNA, OneHotLayout
from kipoi_mcdropout.forward import MaskBank
from kipoi_mcdropout.incremental import AutoEngine, CaptureError, PlanReport, describe, make_engine
from kipoi_mcdropout.kipoi_model import KipoiModel
from kipoi_mcdropout.mutants import MutantBatch, all_substitutions, get_input, substituted
from kipoi_mcdropout.nested import Nested, take

_TRIAL_MUTANTS = 512  # timed; the engine is at its best with many
_TRIAL_DRAWS = 4
_REPORTED_DRAWS = 30


@dataclass(frozen=True)
class EnginePlan:
    """What `--engine auto` does for one sequence.

    `seconds` is the time for all its substitutions and 30 draws, extrapolated from a trial.
    """

    engine: str
    reason: str
    report: PlanReport | None  # None where the model cannot be captured
    bytes_per_mutant: float
    n_mutants: int
    seconds: float


def engine_plan(
    model: Any,
    inputs: Nested,
    model_input: Any,
    category_axis: int | None = None,
    alphabet: str = DNA,
) -> EnginePlan:
    """Plan and time the engine on the first input.

    Raises
    ------
    InputError
        If the input is not one-hot along the category axis.
    """
    adapter = model if isinstance(model, KipoiModel) else KipoiModel(model)
    reference = take(adapter.arrays(inputs), slice(0, 1))
    key = adapter.input_key(model_input, reference)
    layout = OneHotLayout.of(get_input(reference, key), category_axis, alphabet)
    codes = layout.codes(get_input(reference, key))
    edits = all_substitutions(codes[0], layout.n_categories, no_base=layout.no_base)
    rows = np.unique(np.linspace(0, len(edits.position) - 1, _TRIAL_MUTANTS).round().astype(np.int64))
    mutants = substituted(codes[0], edits.position[rows], edits.alt[rows])
    batch = MutantBatch(reference, key, layout, codes, np.zeros(len(rows), np.int64), mutants)
    engine = make_engine(adapter.locked, MaskBank(0))
    assert isinstance(engine, AutoEngine)
    draws = list(range(_TRIAL_DRAWS))
    with adapter.locked.borrow():
        choice = engine.choice(batch, draws)
        try:
            compiled = engine.incremental.compiled(batch)
            report, held = describe(compiled.plan), compiled.bytes_per_mutant()
        except CaptureError:
            report, held = None, 0.0
        begin = time.perf_counter()
        for _ in engine.run(batch, draws):
            pass
        per_pair = (time.perf_counter() - begin) / len(rows) / _TRIAL_DRAWS
    seconds = per_pair * len(edits.position) * _REPORTED_DRAWS
    return EnginePlan(choice.engine, choice.reason, report, held, len(edits.position), seconds)


def format_plan(plan: EnginePlan) -> str:
    """The plan as a table for a terminal."""
    lines = []
    if plan.report is not None:
        header = ("operation", "module", "how", "changed", "MFLOP", "whole", "rule, or why none")
        cells = [header]
        for row in plan.report.rows:
            if row.how == "constant":
                continue
            of = "" if row.n_positions is None else f"{row.width_out:.0f} of {row.n_positions}"
            how = f"{row.how}, once" if row.once_for_all_draws else row.how
            cells.append(
                (
                    row.operation,
                    row.module,
                    how,
                    of,
                    f"{row.flops / 1e6:.3g}",
                    f"{row.dense_flops / 1e6:.3g}",
                    row.rule or row.reason,
                )
            )
        widths = [max(len(line[i]) for line in cells) for i in range(len(header))]
        lines += [
            "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in cells
        ]
        lines += [
            "",
            f"per mutant and draw: {plan.report.flops / 1e6:.3g} MFLOP, whole inputs "
            f"{plan.report.dense_flops / 1e6:.3g}; {plan.bytes_per_mutant / 1e6:.3g} MB held",
        ]
    lines.append(f"engine auto: {plan.engine} ({plan.reason})")
    lines.append(
        f"a sequence with {plan.n_mutants} substitutions and {_REPORTED_DRAWS} draws: about "
        f"{plan.seconds:.2g} s here"
    )
    return "\n".join(lines)
