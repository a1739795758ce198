"""A captured model with its plan, checked against the model itself."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kipoi_mcdropout.arrays.nested import Nested, leaves, map_nested, n_rows
from kipoi_mcdropout.dropout.input_types import weights_dtype
from kipoi_mcdropout.dropout.locked_model import POINT, LockedModel
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.dropout.sites import NO_SITES
from kipoi_mcdropout.engine.full import to_tensors
from kipoi_mcdropout.engine.incremental.capture import capture
from kipoi_mcdropout.engine.incremental.capture_error import CaptureError
from kipoi_mcdropout.engine.incremental.costs import n_elements
from kipoi_mcdropout.engine.incremental.exits import FlatLinear
from kipoi_mcdropout.engine.incremental.graph import Graph, Ref, map_leaves
from kipoi_mcdropout.engine.incremental.interpret import Masking, run_nodes
from kipoi_mcdropout.engine.incremental.looked_at import looked_at
from kipoi_mcdropout.engine.incremental.plan import Plan, make_plan
from kipoi_mcdropout.engine.incremental.references import References
from kipoi_mcdropout.engine.incremental.rules.base import Key
from kipoi_mcdropout.engine.incremental.shared_capture import SharedCaptures
from kipoi_mcdropout.engine.incremental.stages import Stage, find_stages
from kipoi_mcdropout.engine.incremental.tail import Tail, find_tail
from kipoi_mcdropout.outputs.matrix import flatten_outputs
from kipoi_mcdropout.sequence.layout import SequenceLayout
from kipoi_mcdropout.sequence.mutants import MutantBatch, get_input, set_input

_CHECK_ROWS = 4  # more than the three that were recorded


@dataclass
class Captured:
    """A captured model, for inputs of one shape; the graph holds the weights themselves, and no copy."""

    graph: Graph
    layout: SequenceLayout
    masking: Masking
    path: str  # of the mutated input
    dtype: torch.dtype  # of activations
    single: bool = False  # whether a batch of one gives what a batch of two does
    checked: bool = False  # against the model itself


@dataclass
class Compiled:
    """What is known of a model for inputs of one shape; nothing in it depends on what was run."""

    captured: Captured
    plan: Plan
    tails: dict[int, Tail]  # by the node of their linear layer
    stages: dict[Key, Stage]  # by what enters them
    looked_at: frozenset[int]  # nodes whose reference activations are kept

    @property
    def masking(self) -> Masking:
        """The masks of a run."""
        return self.captured.masking

    @property
    def dtype(self) -> torch.dtype:
        """Of activations."""
        return self.captured.dtype

    @property
    def single(self) -> bool:
        """Whether a batch of one gives what a batch of two does."""
        return self.captured.single

    @property
    def own_point(self) -> bool:
        """Whether the prediction with dropout off is another graph: random numbers have no "off"."""
        return any(node.drop is not None and node.drop.own for node in self.graph.nodes)

    @property
    def graph(self) -> Graph:
        """The captured model."""
        return self.plan.graph

    def input_values(self, inputs: Nested) -> dict[int, Tensor]:
        """Inputs by node."""
        return {self.graph.input_paths[path]: x for path, x in leaves(inputs)}

    def flat_outputs(self, references: References, i: int, selected: Tensor | None) -> Tensor:
        """Outputs of the references for the i-th draw, (references, outputs)."""
        values = [references.value(ref.index, i) for ref in self.graph.output]
        return flatten_outputs(values, references.n, selected)[: references.count]

    def precise_outputs(self, inputs: Nested, draw: int, scope: int, selected: Tensor | None) -> Tensor:
        """Outputs for whole inputs by the graph in float64, (inputs, outputs)."""

        def precise(value: Any) -> Any:
            if isinstance(value, Tensor):
                return value.double() if value.is_floating_point() else value
            return torch.float64 if value is torch.float32 else value

        nodes = [
            replace(
                node,
                args=map_leaves(precise, node.args),
                kwargs=map_leaves(precise, node.kwargs),
            )
            for node in self.graph.nodes
        ]
        values = {i: precise(x) for i, x in self.input_values(inputs).items()}
        keep = set(self.graph.output_indices())
        masking = self.masking.of(scope)
        values = run_nodes(nodes, values, n_rows(inputs), draw, masking, keep)
        outputs = [values[ref.index] for ref in self.graph.output]
        return flatten_outputs(outputs, n_rows(inputs), selected)

    def bytes_per_reference(self) -> float:
        """Activations of a reference that are held for one draw."""
        steps = [self.plan.steps[index] for index in self.looked_at]
        kept = [step.node for step in steps if step.kind == "windows" and step.drawn]
        return 8.0 * sum(n_elements(node) for node in kept) + 1.0

    def bytes_per_mutant(self, n_draws: int = 1) -> float:
        """Windows and results of a mutant that are held for so many draws at a time."""
        plan = self.plan
        drawn = 2.0 * sum(n_elements(plan.steps[i].node) for i in self.graph.output_indices())
        for index, step in plan.steps.items():
            if step.kind == "leaving" and step.exit is not None:
                tail = self.tails.get(index)
                packed = tail.source if tail is not None and tail.large else step.exit.source
                drawn += plan.steps[packed].width * plan.layouts[packed].n_channels
                drawn += 2.0 * n_elements(step.node)
        still = [i for i, s in plan.steps.items() if s.kind == "windows" and not s.drawn]
        border = [i for i in still if any(plan.steps[u].drawn for u in plan.steps[i].node.users)]
        held = sum(plan.steps[i].width * plan.layouts[i].n_channels for i in border)
        return 4.0 * (held + n_draws * drawn) * (2 if self.dtype == torch.float64 else 1) + 1.0

    def widest(self) -> float:
        """Numbers in the largest window of a mutant."""
        plan = self.plan
        sizes = [plan.steps[i].width * plan.layouts[i].n_channels for i in plan.layouts]
        return max([1.0, *(s for s in sizes if math.isfinite(s))])


def compile_model(
    model: LockedModel,
    masks: MaskBank,
    batch: MutantBatch,
    point_only: bool = False,
    captures: SharedCaptures | None = None,
) -> Compiled:
    """Capture the model and plan; nothing is checked yet.

    With `point_only` the dropout calls are left out, and need not be such as can be locked. Of the
    batch only the shapes are used, and what its first reference has beside the sequence. `captures` are
    those of other networks of the same architecture.

    Raises
    ------
    CaptureError
        If the model cannot be captured.
    RuleError
        If a rule for an operation fails.
    """
    if model.dtype != "float32":
        raise CaptureError(f"{model.dtype} is computed on whole inputs")
    probe = _probe_inputs(batch, model.device)
    site_plan = NO_SITES if point_only else model.plan(probe)
    if captures is None:
        graph = capture(model, probe, site_plan)
    else:
        graph = captures.graph((shapes_of(batch), point_only), model, probe, site_plan)
    masking = Masking(site_plan, masks, batch.scope, model.device)
    dtype = input_dtype(batch)
    dtype = dtype if dtype.is_floating_point else weights_dtype(model.module)
    return planned(Captured(graph, batch.layout, masking, _path(batch), dtype))


def planned(captured: Captured) -> Compiled:
    """A captured model with its plan, whose rules hold weights in the layout that they need.

    Raises
    ------
    RuleError
        If a rule for an operation fails.
    """
    plan = make_plan(captured.graph, captured.layout, captured.path, captured.masking)
    tails, stages = _tails(plan), find_stages(plan)
    return Compiled(captured, plan, tails, stages, looked_at(plan, tails.values(), stages.values()))


def check_compiled(compiled: Compiled, model: LockedModel, masks: MaskBank, batch: MutantBatch) -> None:
    """Compare the graph with the model itself, on a few inputs.

    Raises
    ------
    CaptureError
        If the graph does not do what the model does.
    """
    probe = _probe_inputs(batch, model.device)
    _check(compiled, model, masks, probe)
    compiled.captured.single = _single_works(compiled, probe)
    compiled.captured.checked = True


def shapes_of(batch: MutantBatch) -> tuple[Any, ...]:
    """What a compiled model depends on of a batch, to be compared."""
    shapes = tuple((path, x.shape[1:], str(x.dtype)) for path, x in leaves(batch.references))
    return shapes, batch.input_key, batch.layout.category_axis


def input_dtype(batch: MutantBatch) -> torch.dtype:
    """Type of the mutated input; of tokens it is one of whole numbers."""
    x = get_input(batch.references, batch.input_key)
    return torch.from_numpy(np.empty(0, x.dtype)).dtype


def _path(batch: MutantBatch) -> str:
    marks = map_nested(lambda _: 0, batch.references)
    marked = set_input(marks, batch.input_key, np.ones(1))
    return next(path for path, x in leaves(marked) if isinstance(x, np.ndarray))


def _probe_inputs(batch: MutantBatch, device: torch.device) -> Nested:
    """Different inputs of random bases; the rest is of the first reference, shuffled in all but one.

    The sequences are always the same, so that what is found does not depend on the data.
    """
    order = np.random.Generator(np.random.Philox(1))

    def several(x: Any) -> Any:
        return np.stack([x[0] if i == 0 else _shuffled(x[0], order) for i in range(_CHECK_ROWS)])

    inputs = map_nested(several, batch.references)
    codes = order.integers(0, batch.layout.n_categories, (_CHECK_ROWS, batch.layout.n_positions))
    dtype = get_input(batch.references, batch.input_key).dtype
    encoded = batch.layout.encode(codes.astype(np.uint8), dtype)
    return to_tensors(set_input(inputs, batch.input_key, encoded), device)


def _shuffled(x: Any, order: np.random.Generator) -> Any:
    x = np.asarray(x)
    return x.ravel()[order.permutation(x.size)].reshape(x.shape)


def _check(compiled: Compiled, model: LockedModel, masks: MaskBank, probe: Nested) -> None:
    """Raise CaptureError unless the graph equals the model with masks on, and with dropout off."""
    n, scope = n_rows(probe), compiled.masking.scope
    draws = (0,) if compiled.own_point else (POINT, 0)
    for draw in draws if compiled.masking.plan.sites else (POINT,):
        expected = model.outputs(probe, draw, masks, scope)
        got = _graph_outputs(compiled, probe, n, draw)
        scale = expected.abs().max().clamp(min=1e-30)
        error = ((got - expected).abs().max() / scale).item()
        both = torch.isfinite(expected) == torch.isfinite(got)
        limit = 1e-10 if max(model.eps, torch.finfo(expected.dtype).eps) < 1e-12 else 1e-5
        if not both.all() or (torch.isfinite(expected).all() and not error <= limit):
            raise CaptureError(
                f"the captured operations give another result than the model (difference {error:.2g} of "
                "the output's scale)"
            )


def _graph_outputs(compiled: Compiled, inputs: Nested, n: int, draw: int) -> Tensor:
    graph = compiled.graph
    values = {**compiled.plan.fixed, **compiled.input_values(inputs)}
    keep = set(graph.output_indices())
    values = run_nodes(graph.nodes, values, n, draw, compiled.masking, keep)
    return flatten_outputs([values[ref.index] for ref in graph.output if isinstance(ref, Ref)], n)


def _single_works(compiled: Compiled, probe: Nested) -> bool:
    one = map_nested(lambda x: x[:1], probe)
    two = map_nested(lambda x: x[:2], probe)
    draw = 0 if compiled.own_point else POINT
    try:
        alone = _graph_outputs(compiled, one, 1, draw)
    except (RuntimeError, IndexError, ValueError):  # e.g. a squeeze that takes the batch away
        return False
    beside = _graph_outputs(compiled, two, 2, draw)[:1]
    return alone.shape == beside.shape and torch.allclose(
        alone, beside, rtol=1e-5, atol=1e-6, equal_nan=True
    )


def _tails(plan: Plan) -> dict[int, Tail]:
    tails = {}
    for index, step in plan.steps.items():
        if step.kind == "leaving" and isinstance(step.exit, FlatLinear):
            if plan.lanes[step.exit.source] != 1:
                continue
            tail = find_tail(plan.steps, step.exit, lambda i: len(plan.steps[i].node.users))
            if tail is not None:
                tails[index] = tail
    return tails
