"""Which windows a run computes, in which order, and where it may drop what has become zero."""

from __future__ import annotations

from dataclasses import dataclass

from kipoi_mcdropout.engine.incremental.plan import Plan
from kipoi_mcdropout.engine.incremental.rules.base import Key
from kipoi_mcdropout.engine.incremental.rules.convolution import Convolution
from kipoi_mcdropout.engine.incremental.rules.linear import LinearPerPosition
from kipoi_mcdropout.engine.incremental.rules.site import SiteRule


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


def find_route(plan: Plan, targets: set[Key], by_rows: Key | None = None) -> Route:
    """The route to these targets; the only one may be such that takes rows that differ as they are."""
    needed = set(targets)
    for key in reversed(plan.local_order):
        if key in needed:
            needed.update(plan.sources[key])
    order = [key for key in plan.local_order if key in needed]
    last_use = {source: key for key in order for source in plan.sources[key]}
    drawn = {key for key in order if plan.steps[key[0]].drawn}
    border = {s for key in drawn for s in plan.sources[key] if s not in drawn}
    border |= targets - drawn
    return Route(order, targets, last_use, border, find_cuts(plan, order, targets, by_rows))


def find_cuts(plan: Plan, order: list[Key], targets: set[Key], by_rows: Key | None) -> list[Key]:
    """Windows from which alone all that is computed later follows, once differences may be extinguished.

    The first may be the last windows before a mask, which are the same in all draws; all others come
    after a mask, or there is none. They stand before a matrix product, or are the only ones that leave.
    """
    drawn = [plan.steps[key[0]].drawn for key in order]
    products = _before_products(plan, order)
    cuts: list[Key] = []
    extinguished = False
    for i, alone in enumerate(_alone(plan, order)):
        key = order[i]
        if key in targets and key != by_rows:
            break
        extinguished = extinguished or _extinguishes(plan, key, cuts)
        last_still = not drawn[i] and all(drawn[i + 1 :])
        once = drawn[i] or not any(drawn)
        if alone and extinguished and (last_still or (once and (key in products or key in targets))):
            cuts.append(key)
            extinguished = False
    return cuts


def _alone(plan: Plan, order: list[Key]) -> list[bool]:
    """Whether the keys after each take nothing from before it."""
    number = {key: i for i, key in enumerate(order)}
    number[plan.mutated, 0] = -1
    earliest, alone = len(order), []
    for i in range(len(order) - 1, -1, -1):
        alone.append(earliest >= i)
        earliest = min([earliest, *(number[source] for source in plan.sources[order[i]])])
    return alone[::-1]


def _before_products(plan: Plan, order: list[Key]) -> set[Key]:
    products = [k for k in order if isinstance(plan.steps[k[0]].rule, (Convolution, LinearPerPosition))]
    return {source for key in products for source in plan.sources[key]}


def _extinguishes(plan: Plan, key: Key, cuts: list[Key]) -> bool:
    """Whether a step can; a mask right after a cut is not worth another."""
    rule = plan.steps[key[0]].rule
    assert rule is not None
    if isinstance(rule, SiteRule) and cuts and plan.sources[key] == cuts[-1:]:
        return False
    return rule.extinguishes
