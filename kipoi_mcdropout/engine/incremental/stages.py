"""Chains of operations that are done together: mask, convolution, ReLU, max pooling, further masks."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from kipoi_mcdropout.engine.incremental.cells import Cells, Convolved
from kipoi_mcdropout.engine.incremental.plan import Plan
from kipoi_mcdropout.engine.incremental.rules.base import Key, Rule
from kipoi_mcdropout.engine.incremental.rules.convolution import Convolution, Sliding
from kipoi_mcdropout.engine.incremental.rules.pointwise import Affine, Identity, Pointwise
from kipoi_mcdropout.engine.incremental.rules.pooling import MaxPool
from kipoi_mcdropout.engine.incremental.rules.site import SiteRule

LEAST_OUTPUTS = 1000  # taps of the pooling x units; with fewer, windows by blocks are faster


@dataclass(frozen=True)
class Stage:
    """A mask over windows that are the same in all draws, and what follows it.

    Attributes
    ----------
    source : (node, lane)
        Windows before the mask.
    cells : Cells
        Of the convolution, what it is multiplied by, and the pooling.
    last : int
        Node of the values after ReLU and pooling.
    masks : list of SiteRule
        What follows.
    end : int
        Node of the result.
    """

    source: Key
    site: SiteRule
    cells: Cells
    last: int
    masks: list[SiteRule]
    end: int


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
    rules = _following(plan, convolution.node.index)
    convolved = Convolved.of(convolution)
    while rules and type(rules[0]) in (Affine, Identity):
        rule = rules.pop(0)
        found = convolved.then(rule) if isinstance(rule, Affine) else convolved
        if found is None:
            return None
        convolved = found
    last, relu, pool = convolved.node, False, None
    while rules and type(rules[0]) is not SiteRule:
        rule = rules.pop(0)
        if type(rule) is Pointwise and rule.node.name == "relu" and not relu:
            relu = True
        elif type(rule) is MaxPool and pool is None:
            pool = rule.sliding
        elif type(rule) is not Identity:
            break
        last = rule.node.index
    cells = Cells(convolved, pool or Sliding(1), plan.layouts[last].n_positions)
    if not relu or cells.pool.kernel * cells.layout.n_channels < LEAST_OUTPUTS:
        return None
    after = list(itertools.takewhile(lambda rule: type(rule) in (SiteRule, Identity), rules))
    end = after[-1].node.index if after else last
    masks = [rule for rule in after if isinstance(rule, SiteRule)]
    return Stage((site.sources[0], 0), site, cells, last, masks, end)


def _following(plan: Plan, node: int) -> list[Rule]:
    """The rules after a node, as long as each result is taken by one of them alone."""
    rules: list[Rule] = []
    while _single(plan, node):
        step = plan.steps[plan.steps[node].node.users[0]]
        assert step.rule is not None
        rules.append(step.rule)
        node = step.node.index
    return rules


def _single(plan: Plan, node: int) -> bool:
    """Whether one operation on windows alone takes a node."""
    users = plan.steps[node].node.users
    output = node in plan.graph.output_indices()
    return len(users) == 1 and not output and plan.steps[users[0]].kind == "windows"
