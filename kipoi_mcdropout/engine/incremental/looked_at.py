"""The activations of the references that a run needs, determined from the plan.

The sizes of the blocks depend on them. If they were learned during the run, a sequence could be divided
differently after other sequences, and its results would differ in the last digits.
"""

from __future__ import annotations

from collections.abc import Iterable

from kipoi_mcdropout.engine.incremental.exits import Reduce
from kipoi_mcdropout.engine.incremental.graph import Node
from kipoi_mcdropout.engine.incremental.plan import Plan, Step
from kipoi_mcdropout.engine.incremental.stages import Stage
from kipoi_mcdropout.engine.incremental.tail import Tail


def whole_row_nodes(plan: Plan) -> tuple[list[Node], set[int]]:
    """Nodes that are computed on whole rows after the windows, and those that they take."""
    outputs = set(plan.graph.output_indices())
    wanted = set(outputs)
    kept = []
    for step in reversed(plan.steps.values()):
        if step.kind == "dense" and step.node.index in wanted:
            kept.append(step.node)
            wanted.update(step.node.inputs())
    kept.reverse()
    return kept, {i for node in kept for i in node.inputs()} | outputs


def looked_at(plan: Plan, tails: Iterable[Tail], stages: Iterable[Stage]) -> frozenset[int]:
    """Nodes whose activations of the references are asked for, or may be."""
    as_values: dict[int, bool] = {}  # whether a node's windows hold values, not differences
    found: set[int] = set()

    def take(source: int, values: bool) -> None:
        if as_values[source] != values:  # one is made of the other and the reference
            found.add(source)

    for index, step in plan.steps.items():
        if step.kind == "windows":
            as_values[index] = _windows(step, as_values, take, found)
        elif step.kind == "leaving" and step.exit is not None:
            found.add(index)
            on_values = isinstance(step.exit, Reduce) and step.exit.on_values
            take(step.exit.source, on_values)
            if on_values:
                found.add(step.exit.source)
    for index in whole_row_nodes(plan)[1]:
        if plan.steps[index].kind in ("windows", "reference"):
            found.add(index)
    for tail in tails:
        found |= {tail.cells.convolved.node, tail.last}
    for stage in stages:
        found |= {stage.cells.convolved.node, stage.last}
    return frozenset(found)


def _windows(step: Step, as_values: dict[int, bool], take, found: set[int]) -> bool:  # type: ignore
    """Note what a step looks at; whether its result is values."""
    rule = step.rule
    if rule is None:  # the mutated input
        return False
    if rule.factor is not None:
        found.add(rule.factor)
    if rule.passes_on:
        forms = {as_values[source] for source in rule.sources}
        if len(forms) > 1:  # strands made in different ways
            found.add(step.node.index)
        return forms.pop()
    for source in rule.sources:
        take(source, rule.on_values)
        if rule.looks_around:
            found.add(source)
    return rule.on_values
