"""The part of a plan that is computed on whole rows, once the windows have ended."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from kipoi_mcdropout.engine.incremental.compiled import Compiled
from kipoi_mcdropout.engine.incremental.costs import n_elements
from kipoi_mcdropout.engine.incremental.graph import Affine, Node
from kipoi_mcdropout.engine.incremental.interpret import run_nodes
from kipoi_mcdropout.engine.incremental.layout import from_canonical
from kipoi_mcdropout.engine.incremental.looked_at import whole_row_nodes
from kipoi_mcdropout.engine.incremental.references import References
from kipoi_mcdropout.engine.incremental.rules.base import Key
from kipoi_mcdropout.engine.incremental.windows import BlockContext, Ints, Window

_CHUNK_BYTES = 32 * 2**20


class DenseStage:
    """Runs the dense nodes for some mutants: `load`, `seed` and `materialise`, then `run`."""

    def __init__(self, compiled: Compiled, references: References) -> None:
        self.compiled, self.plan, self.references = compiled, compiled.plan, references
        steps = self.plan.steps
        self.outputs = compiled.graph.output_indices()
        self.nodes, self.taken = whole_row_nodes(self.plan)
        self.still = [n for n in self.nodes if not steps[n.index].drawn]
        self.moving = [n for n in self.nodes if steps[n.index].drawn]
        self.draws: list[int] = []
        self.n = 0
        self._values: list[dict[int, Tensor]] = []

    def rows_at_a_time(self, batch_size: int) -> int:
        """Rows whose largest tensor is of moderate size."""
        steps = self.plan.steps
        largest = max([1.0, *(n_elements(steps[i].node) for i in self.taken)])
        largest = max([largest, *(n_elements(n) for n in self.nodes)])
        return max(min(batch_size, 32), int(_CHUNK_BYTES / 4 / largest))

    def begin(self, draws: list[int]) -> None:
        """The draws that the following rows are for."""
        self.draws = draws

    def load(self, owner: Ints) -> None:
        """Start with rows that belong to these references."""
        self.count = len(owner)
        single = self.count == 1 and not self.compiled.single
        self.owner = np.repeat(owner, 2) if single else owner
        self.n = len(self.owner)
        self._values = [dict(self.plan.fixed) for _ in self.draws]
        rows = torch.from_numpy(self.owner).to(self.references.masking.device)
        for index in self.taken:
            step = self.plan.steps[index]
            if step.kind == "reference":
                assert step.node.shape is not None
                axis = step.node.shape.index(Affine(1, 0))
                for i in range(len(self.draws)):
                    value = self.references.value(index, i)
                    self._values[i][index] = value.index_select(axis, rows)

    def seed(self, index: int, values: Tensor) -> None:
        """Result of a node where windows ended, (draws, lanes, rows, ...)."""
        values = self._padded(values, 2)
        shape = self._shape(self.plan.steps[index].node)
        for i in range(len(self.draws)):
            own = values[min(i, len(values) - 1)]
            self._values[i][index] = own.reshape(shape)

    def materialise(
        self, index: int, part: slice, context: BlockContext, windows: dict[Key, Window]
    ) -> None:
        """Whole rows of a node from its windows."""
        lanes = []
        for key in self.plan.keys(index):
            lanes.append(self._whole_rows(key, part, context, windows[key]))
        layout = self.plan.layouts[index]
        batch = layout.dim_of("batch")
        for i in range(len(self.draws)):
            parts = [from_canonical(x[min(i, len(x) - 1)], layout) for x in lanes]
            self._values[i][index] = parts[0] if len(parts) == 1 else torch.cat(parts, dim=batch)

    def _whole_rows(self, key: Key, part: slice, context: BlockContext, window: Window) -> Tensor:
        place = context.places[key]
        full = self.references.canonical(*key)
        new = context.new(key, window)[:, part]
        owner = torch.from_numpy(context.owner[part]).to(full.device)
        whole = full[:, owner]
        if whole.shape[0] < new.shape[0]:
            whole = whole.repeat(new.shape[0], 1, 1, 1)
        positions = place.positions()[part]
        inside = np.flatnonzero((positions >= 0) & (positions < place.length))
        rows = np.arange(len(positions))[:, None] * place.length + positions
        target = torch.from_numpy(rows.ravel()[inside]).to(full.device)
        picked = new.flatten(1, 2)[:, torch.from_numpy(inside).to(full.device)]
        whole.flatten(1, 2)[:, target] = picked
        return self._padded(whole, 1)

    def _padded(self, values: Tensor, axis: int) -> Tensor:
        return values if values.shape[axis] == self.n else values.repeat_interleave(2, dim=axis)

    def _shape(self, node: Node) -> list[int]:
        assert node.shape is not None
        return [s.at(self.n) if isinstance(s, Affine) else s for s in node.shape]

    def run(self) -> Iterator[list[Tensor]]:
        """The model's outputs, draw by draw; rows beyond those loaded are to be ignored."""
        masking = self.references.masking
        keep = {i for node in self.moving for i in node.inputs()} | set(self.outputs)
        still = run_nodes(self.still, self._values[0], self.n, self.draws[0], masking, keep)
        shared = {node.index: still[node.index] for node in self.still if node.index in still}
        for i, draw in enumerate(self.draws):
            values = {**self._values[i], **shared}
            values = run_nodes(self.moving, values, self.n, draw, masking, set(self.outputs))
            yield [values[index] for index in self.outputs]

    def run_inputs(self, inputs: dict[int, Tensor], n: int) -> Iterator[list[Tensor]]:
        """Outputs of the whole model for given inputs by node."""
        if n == 1 and not self.compiled.single:
            inputs, n = {i: torch.cat([x, x]) for i, x in inputs.items()}, 2
        steps, masking = self.plan.steps, self.references.masking
        nodes = self.compiled.graph.nodes
        first = [node for node in nodes if not steps[node.index].drawn]
        second = [node for node in nodes if steps[node.index].drawn]
        keep = {i for node in second for i in node.inputs()} | set(self.outputs)
        start = {**self.plan.fixed, **inputs}
        still = run_nodes(first, start, n, self.draws[0], masking, keep)
        for draw in self.draws:
            values = run_nodes(second, dict(still), n, draw, masking, set(self.outputs))
            yield [values[index] for index in self.outputs]
