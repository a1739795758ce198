"""Chains of operations that are done together: mask, convolution, ReLU and max pooling."""

from __future__ import annotations

from dataclasses import dataclass

from kipoi_mcdropout.engine.incremental.plan import Plan
from kipoi_mcdropout.engine.incremental.rules.base import Key
from kipoi_mcdropout.engine.incremental.rules.convolution import Convolution, Sliding
from kipoi_mcdropout.engine.incremental.rules.pointwise import Identity, Pointwise
from kipoi_mcdropout.engine.incremental.rules.pooling import MaxPool
from kipoi_mcdropout.engine.incremental.rules.site import SiteRule


@dataclass(frozen=True)
class Stage:
    """A mask over windows that are the same in all draws, and what follows it.

    Attributes
    ----------
    source : (node, lane)
        Windows before the mask.
    pool : Sliding
        Of one position, where nothing is pooled.
    last : int
        Node of the result.
    n_cells : int
        Positions of the result.
    """

    source: Key
    site: SiteRule
    convolution: Convolution
    pool: Sliding
    last: int
    n_cells: int


def find_stages(plan: Plan) -> dict[Key, Stage]:
    """By their source, the stages of a plan; each operation between its ends has a single user."""
    found = {}
    for step in plan.steps.values():
        if isinstance(step.rule, Convolution) and plan.lanes[step.node.index] == 1:
            stage = _around(plan, step.rule)
            if stage is not None:
                found[stage.source] = stage
    return found


def _around(plan: Plan, convolution: Convolution) -> Stage | None:
    """The stage of a convolution."""
    site = plan.steps[convolution.sources[0]].rule
    if convolution.taps is None:
        return None
    if type(site) is not SiteRule or not _single(plan, site.node.index):
        return None
    if plan.steps[site.sources[0]].drawn or plan.lanes[site.sources[0]] != 1:
        return None
    last, relu, pool = convolution.node.index, False, None
    while _single(plan, last):
        user = plan.steps[plan.steps[last].node.users[0]]
        rule = user.rule
        if type(rule) is Pointwise and rule.node.name == "relu" and not relu:
            relu = True
        elif type(rule) is MaxPool and pool is None:
            pool = rule.sliding
        elif not (type(rule) is Identity and rule.layout.n_channels == convolution.layout.n_channels):
            break
        last = user.node.index
    if not relu:
        return None
    n_cells = plan.layouts[last].n_positions
    return Stage((site.sources[0], 0), site, convolution, pool or Sliding(1), last, n_cells)


def _single(plan: Plan, node: int) -> bool:
    """Whether one operation on windows alone takes a node."""
    users = plan.steps[node].node.users
    output = node in plan.graph.output_indices()
    return len(users) == 1 and not output and plan.steps[users[0]].kind == "windows"
