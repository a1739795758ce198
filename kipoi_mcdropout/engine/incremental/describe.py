"""The plan as data, for `kipoi mcdropout audit`."""

from __future__ import annotations

from dataclasses import dataclass

from kipoi_mcdropout.engine.incremental.costs import dense_flops
from kipoi_mcdropout.engine.incremental.plan import Plan


@dataclass(frozen=True)
class PlanRow:
    """One operation of the model.

    Widths are changed positions, the mean over all substitutions of a sequence; `flops` and
    `dense_flops` are floating point operations per mutant and draw, as planned and on whole inputs.
    """

    index: int
    operation: str
    module: str
    how: str  # "constant", "reference", "windows", "leaving", "dense"
    rule: str
    reason: str  # why it is computed densely
    width_in: float
    width_out: float
    n_positions: int | None
    flops: float
    dense_flops: float
    once_for_all_draws: bool


@dataclass(frozen=True)
class PlanReport:
    """All operations, and the operations of floating-point numbers that they need."""

    rows: tuple[PlanRow, ...]
    flops: float  # per mutant and draw
    dense_flops: float


def describe(plan: Plan) -> PlanReport:
    """What is done with each operation of the model, and why."""
    rows = []
    for index, step in plan.steps.items():
        dense = dense_flops(step.node, plan.graph)
        flops, rule, positions = dense, "", None
        if step.kind == "windows":
            positions = plan.layouts[index].n_positions
            rule, flops = "mutated input", 0.0
            if step.rule is not None:
                rule = step.rule.label
                width = max(1, round(step.width))
                flops = step.rule.flops([step.width_in], width) * plan.lanes[index]
        elif step.kind == "leaving" and step.exit is not None:
            rule = step.exit.label
            flops = step.exit.cost(step.width_in)
        elif step.kind in ("constant", "reference"):
            flops = 0.0
        rows.append(
            PlanRow(
                index,
                step.node.name,
                step.node.module,
                step.kind,
                rule,
                step.reason,
                step.width_in,
                step.width,
                positions,
                flops,
                dense,
                not step.drawn,
            )
        )
    return PlanReport(
        tuple(rows),
        sum(r.flops for r in rows if not r.once_for_all_draws),
        sum(r.dense_flops for r in rows),
    )
