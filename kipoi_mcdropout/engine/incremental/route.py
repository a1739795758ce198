"""Which windows a run computes, in which order, and where it may drop what has become zero."""

from __future__ import annotations

from dataclasses import dataclass

from kipoi_mcdropout.engine.incremental.plan import Plan
from kipoi_mcdropout.engine.incremental.rules.base import Key
from kipoi_mcdropout.engine.incremental.rules.convolution import Convolution
from kipoi_mcdropout.engine.incremental.rules.linear import LinearPerPosition


@dataclass(frozen=True)
class Route:
    """Windows on the way to those that leave for whole rows.

    Attributes
    ----------
    order : list of (node, lane)
        Those that are computed.
    targets : set of (node, lane)
        Those that leave.
    last_use : dict
        The last of the order that takes each.
    border : set of (node, lane)
        Those before the first mask that are needed after it: the same in all draws.
    cuts : list of (node, lane)
        See `find_cuts`.
    """

    order: list[Key]
    targets: set[Key]
    last_use: dict[Key, Key]
    border: set[Key]
    cuts: list[Key]


def find_route(plan: Plan, targets: set[Key]) -> Route:
    """The route to these targets."""
    needed = set(targets)
    for key in reversed(plan.local_order):
        if key in needed:
            needed.update(plan.sources[key])
    order = [key for key in plan.local_order if key in needed]
    last_use = {source: key for key in order for source in plan.sources[key]}
    drawn = {key for key in order if plan.steps[key[0]].drawn}
    border = {s for key in drawn for s in plan.sources[key] if s not in drawn}
    border |= targets - drawn
    return Route(order, targets, last_use, border, find_cuts(plan, order, targets))


def find_cuts(plan: Plan, order: list[Key], targets: set[Key]) -> list[Key]:
    """Windows after a mask from which alone all that is computed later follows.

    They stand before a matrix product, and after an operation that can make differences zero.
    """
    number = {key: i for i, key in enumerate(order)}
    number[plan.mutated, 0] = -1
    earliest = [len(order)] * len(order)  # of what the keys after this one take
    for i in range(len(order) - 1, 0, -1):
        taken = min(number[source] for source in plan.sources[order[i]])
        earliest[i - 1] = min(earliest[i], taken)
    before_product = {
        source
        for key in order
        if isinstance(plan.steps[key[0]].rule, (Convolution, LinearPerPosition))
        for source in plan.sources[key]
    }
    cuts = []
    extinguished = False
    for i, key in enumerate(order):
        step = plan.steps[key[0]]
        if key in targets:
            break
        extinguished = extinguished or (step.rule is not None and step.rule.extinguishes)
        if earliest[i] >= i and extinguished and step.drawn and key in before_product:
            cuts.append(key)
            extinguished = False
    return cuts
