"""One step of a plan on the windows of a block."""

from __future__ import annotations

from kipoi_mcdropout.dropout.memory import is_out_of_memory
from kipoi_mcdropout.engine.incremental.plan import Plan
from kipoi_mcdropout.engine.incremental.references import NonFiniteReference
from kipoi_mcdropout.engine.incremental.route import Route
from kipoi_mcdropout.engine.incremental.rules.base import Key, RuleError
from kipoi_mcdropout.engine.incremental.windows import BlockContext, Window


def take_step(
    plan: Plan, route: Route, context: BlockContext, key: Key, windows: dict[Key, Window]
) -> None:
    """Compute the windows at `key`, and let go of those that no later step takes.

    Raises
    ------
    RuleError
        If the rule fails.
    """
    sources = plan.sources[key]
    windows[key] = _apply(plan, context, key, sources, [windows[s] for s in sources])
    for source in sources:
        if route.last_use[source] == key and source not in route.targets:
            windows.pop(source, None)


def _apply(
    plan: Plan, context: BlockContext, key: Key, sources: list[Key], windows: list[Window]
) -> Window:
    """Result of a step's rule; RuleError where it fails."""
    step = plan.steps[key[0]]
    assert step.rule is not None
    try:
        return step.rule.run(context, key, sources, windows)
    except NonFiniteReference:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise RuleError.of(step.node, error) from error
