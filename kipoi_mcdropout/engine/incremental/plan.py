"""Which operations of a captured model are propagated as windows, and what that costs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kipoi_mcdropout.engine.incremental.costs import dense_cost
from kipoi_mcdropout.engine.incremental.exits import Exit, exit_for
from kipoi_mcdropout.engine.incremental.graph import Affine, Graph, Node, walk
from kipoi_mcdropout.engine.incremental.interpret import Masking, run_node
from kipoi_mcdropout.engine.incremental.layout import Layout
from kipoi_mcdropout.engine.incremental.rules import RULES, Builder, NoRule, Rule, RuleError
from kipoi_mcdropout.engine.incremental.rules.base import Key
from kipoi_mcdropout.engine.incremental.rules.combine import Lanes
from kipoi_mcdropout.engine.incremental.rules.site import check_site
from kipoi_mcdropout.engine.incremental.rules.slicing import LaneSlice
from kipoi_mcdropout.engine.incremental.windows import Span
from kipoi_mcdropout.sequence.layout import SequenceLayout

# Operations that a rule propagates on whole numbers, such as tokens, as on others.
ON_WHOLE_NUMBERS = frozenset(
    {
        "embedding", "index", "one_hot", "select", "clone", "contiguous", "detach", "alias", "to",
        "_to_copy", "view", "reshape", "flatten", "squeeze", "unsqueeze", "unflatten", "_unsafe_view",
        "flip", "slice", "narrow", "cat", "concat", "concatenate", "pad", "constant_pad_nd",
    }
)  # fmt: skip
_WIDEST = 0.6  # of the positions; beyond, the rest is computed densely


@dataclass
class Step:
    """What is done with one node."""

    node: Node
    kind: str  # "constant", "reference", "windows", "leaving", "dense"
    rule: Rule | None = None
    exit: Exit | None = None
    reason: str = ""  # why there are no windows
    width: float = math.nan  # mean over the substitutions of a sequence, clipped to it
    width_in: float = math.nan
    drawn: bool = False  # differs between draws


@dataclass
class Plan:
    """The whole model, step by step.

    `sources` says for each (node, lane) propagated as windows which windows it takes.
    """

    graph: Graph
    steps: dict[int, Step]
    layouts: dict[int, Layout]
    lanes: dict[int, int]
    sources: dict[Key, list[Key]]
    mutated: int
    fixed: dict[int, Any]
    shared: set[Key] = field(default_factory=set)

    def keys(self, node: int) -> list[Key]:
        """All lanes of a node."""
        return [(node, lane) for lane in range(self.lanes[node])]

    @property
    def local_order(self) -> list[Key]:
        """Windows in the order in which they are computed, the mutated input left out."""
        return [
            key
            for index, step in self.steps.items()
            if step.kind == "windows" and index != self.mutated
            for key in self.keys(index)
        ]

    def spans(self, span: Span, keys: list[Key]) -> dict[Key, Span]:
        """Changed positions, shape=(mutants,), at each of the keys from those at the first of them.

        The others must be in order, and follow from the first alone.
        """
        spans = {keys[0]: span}
        for key in keys[1:]:
            step = self.steps[key[0]]
            assert step.rule is not None
            spans[key] = step_span(step.rule, [spans[source] for source in self.sources[key]])
        return spans


def step_span(rule: Rule, spans: list[Span]) -> Span:
    """Span of a rule's result; never empty."""
    span = rule.span(spans)
    return Span(span.start, np.maximum(span.end, span.start + 1))


def make_plan(graph: Graph, layout: SequenceLayout, path: str, masking: Masking) -> Plan:
    """Plan for mutants of the input at `path` (see nested.leaves)."""
    return _Planner(graph, layout, path, masking).plan()


class _Planner:
    def __init__(self, graph: Graph, layout: SequenceLayout, path: str, masking: Masking) -> None:
        self.graph, self.layout, self.masking = graph, layout, masking
        self.mutated = graph.input_paths[path]
        self.builder = Builder({node.index: node for node in graph.nodes})
        self.steps: dict[int, Step] = {}
        self.sources: dict[Key, list[Key]] = {}
        self.moving: set[int] = set()  # depends on the mutated input
        self.resting: set[int] = set()  # depends on other inputs alone
        self.spans: dict[Key, Span] = {}
        self.users: dict[int, list[int]] = {n.index: n.users for n in graph.nodes}

    def plan(self) -> Plan:
        for node in self.graph.nodes:
            self.steps[node.index] = self._step(node)
        plan = Plan(
            self.graph, self.steps, self.builder.layouts, self.builder.lanes, self.sources,
            self.mutated, self.builder.fixed,
        )  # fmt: skip
        plan.shared = self._shared(plan)
        return plan

    def _step(self, node: Node) -> Step:
        inputs = node.inputs()
        drawn = node.drop is not None or any(self.steps[i].drawn for i in inputs)
        if node.name == "input":
            return self._input(node)
        if any(i in self.moving for i in inputs):
            self.moving.add(node.index)
            step = self._moving(node)
            step.drawn = drawn
            return step
        if any(i in self.resting for i in inputs) and all(
            self.steps[i].kind in ("constant", "reference") for i in inputs
        ):
            self.resting.add(node.index)
            if node.shape is not None and node.shape.count(Affine(1, 0)) == 1:
                return Step(node, "reference", drawn=drawn)
        elif not drawn and self._is_constant(node):
            self.builder.fixed[node.index] = run_node(node, self.builder.fixed, 2, 0, None)
            return Step(node, "constant")
        elif drawn and (
            (node.drop is not None and node.drop.own)
            or all(i in self.builder.fixed or i in self.builder.masked for i in inputs)
        ):
            self.builder.masked.add(node.index)
            return Step(node, "dense", reason="depends on the masks alone", drawn=drawn)
        return Step(node, "dense", reason="depends on the batch alone", drawn=drawn)

    def _is_constant(self, node: Node) -> bool:
        values = list(walk((node.args, node.kwargs, node.shape or ())))
        return all(i in self.builder.fixed for i in node.inputs()) and not any(
            isinstance(value, Affine) for value in values
        )

    def _input(self, node: Node) -> Step:
        if node.index != self.mutated:
            self.resting.add(node.index)
            return Step(node, "reference")
        self.moving.add(node.index)
        shape, category = self.layout.shape, self.layout.category_axis
        others = [i for i, s in enumerate(shape) if i != category and s > 1]
        if len(others) != 1:
            return Step(node, "dense", reason="positions lie along several axes")
        layout = Layout.of((0, *shape), 0, others[0] + 1)
        if category is None:
            self.builder.whole.add(node.index)
        elif len(layout.groups[category + 1]) != 1 or len(layout.channels) != 1:
            return Step(node, "dense", reason="one category only")
        self.builder.layouts[node.index], self.builder.lanes[node.index] = layout, 1
        self.builder.lane_of[node.index] = [(node.index, 0)]
        positions = np.arange(layout.n_positions, dtype=np.int64)
        self.spans[node.index, 0] = Span(positions, positions + 1)
        return Step(node, "windows", width=1.0, width_in=1.0)

    def _moving(self, node: Node) -> Step:
        try:
            return self._windows(node)
        except NoRule as error:
            reason = str(error)
        except Exception as error:  # only NoRule may make a step dense
            raise RuleError.of(node, error) from error
        if self._takes_whole(node):
            return Step(node, "dense", reason=reason)
        try:
            leaving = exit_for(node, self.builder)
        except NoRule as error:
            extra = f"; {error}" if str(error) not in ("", reason) else ""
            return Step(node, "dense", reason=reason + extra)
        except Exception as error:
            raise RuleError.of(node, error) from error
        width = self._mean_width(self.builder.lane_of[leaving.source][0])
        return Step(node, "leaving", exit=leaving, width_in=width)

    def _windows(self, node: Node) -> Step:
        maker = RULES.get(node.name)
        if maker is None:
            raise NoRule(f"no rule for {node.name}")
        if self._takes_whole(node) and node.name not in ON_WHOLE_NUMBERS:
            raise NoRule("no rule for whole numbers such as tokens")
        rule = maker(node, self.builder)
        if rule.layout.n_positions < 2:
            raise NoRule("one position is left")
        if node.drop is not None:
            check_site(self.masking, node, rule.layout)
        sources = self._lane_sources(rule)
        spans = {}
        for lane, keys in enumerate(sources):
            spans[node.index, lane] = step_span(rule, [self.spans[key] for key in keys])
        self.spans.update(spans)
        width = self._mean_width(*spans, layout=rule.layout)
        if width > _WIDEST * rule.layout.n_positions:
            raise NoRule(f"a mutation changes {width:.0f} of {rule.layout.n_positions} positions")
        if self._takes_whole(node) and rule.whole is not False:
            self.builder.whole.add(node.index)
        self.builder.layouts[node.index] = rule.layout
        self.builder.lanes[node.index] = len(sources)
        self.builder.lane_of[node.index] = [(node.index, i) for i in range(len(sources))]
        for lane, keys in enumerate(sources):
            self.sources[node.index, lane] = keys
        width_in = self._mean_width(*sources[0])
        return Step(node, "windows", rule=rule, width=width, width_in=width_in)

    def _takes_whole(self, node: Node) -> bool:
        return any(index in self.builder.whole for index in node.inputs())

    def _lane_sources(self, rule: Rule) -> list[list[Key]]:
        lanes = self.builder.lanes
        if isinstance(rule, LaneSlice):
            return [[(rule.sources[0], lane)] for lane in rule.lanes]
        if isinstance(rule, Lanes):
            return [[(s, lane)] for s in rule.sources for lane in range(lanes[s])]
        return [[(s, lane) for s in rule.sources] for lane in range(lanes[rule.sources[0]])]

    def _mean_width(self, *keys: Key, layout: Layout | None = None) -> float:
        widths = []
        for key in keys:
            length = (layout or self.builder.layouts[key[0]]).n_positions
            span = self.spans[key]
            widths.append((np.clip(span.end, 0, length) - np.clip(span.start, 0, length)).mean())
        return float(np.mean(widths))

    def _shared(self, plan: Plan) -> set[Key]:
        """Windows that must not be overwritten: used twice, or sharing memory with such."""
        count: dict[Key, int] = {}
        for keys in self.sources.values():
            for key in keys:
                count[key] = count.get(key, 0) + 1
        for index, step in self.steps.items():
            if step.kind != "windows":
                continue
            outside = [
                u for u in self.users[index] if u in self.steps and self.steps[u].kind != "windows"
            ]
            is_output = index in plan.graph.output_indices()
            for key in plan.keys(index):
                count[key] = count.get(key, 0) + len(outside) + (2 if is_output else 0)
        shared = {key for key, n in count.items() if n > 1}
        for key, keys in self.sources.items():
            step = self.steps[key[0]]
            assert step.rule is not None
            if not step.drawn or any(not self.steps[k[0]].drawn for k in keys):
                shared |= {k for k in keys if step.drawn and not self.steps[k[0]].drawn}
            if step.rule.aliases and any(k in shared for k in keys):
                shared.add(key)
        return shared


def plan_cost(plan: Plan, n_draws: int) -> tuple[float, float]:
    """Estimated work per mutant and pass of this plan, and of the model for one whole input.

    Both compute what no mask changes once for all passes: the draws, and the point prediction.
    """
    mine = full = 0.0
    for index, step in plan.steps.items():
        if step.kind == "constant":
            continue
        dense = dense_cost(step.node, plan.graph)
        share = 1.0 if step.drawn else 1.0 / (n_draws + 1)
        full += share * dense
        if step.kind == "windows" and step.rule is not None:
            width = max(step.width, 1.0)
            flops = step.rule.flops([step.width_in], max(1, round(width)))
            moved = width * plan.layouts[index].n_channels
            mine += share * (flops + 120 * moved) * plan.lanes[index]
        elif step.kind == "leaving":
            assert step.exit is not None
            mine += share * step.exit.cost(step.width_in)
        elif step.kind == "dense":
            mine += share * dense
    return mine, full
