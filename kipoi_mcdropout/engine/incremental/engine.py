"""The incremental engine: mutants as changes of their reference, exactly."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kipoi_mcdropout.arrays.nested import take
from kipoi_mcdropout.dropout.locked_model import POINT, LockedModel
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.dropout.memory import is_out_of_memory
from kipoi_mcdropout.engine.full import DEFAULT_MEMORY_BYTES, DrawBlock, to_tensors
from kipoi_mcdropout.engine.incremental.capture_error import CaptureError
from kipoi_mcdropout.engine.incremental.compiled import (
    Captured,
    Compiled,
    check_compiled,
    compile_model,
    planned,
    shapes_of,
)
from kipoi_mcdropout.engine.incremental.references import NonFiniteReference, References
from kipoi_mcdropout.engine.incremental.rules import RuleError
from kipoi_mcdropout.engine.incremental.shared_capture import SharedCaptures
from kipoi_mcdropout.engine.incremental.slice_run import SliceRun
from kipoi_mcdropout.sequence.mutants import MutantBatch, chunks

_MOST_DRAWS = 16  # at a time; more gain nothing, see benchmarks/ENGINE.md
_Graphs = list[tuple[Compiled, list[int]]]
_SMALLEST_SHARE = 64  # of the planned sizes, before running out of memory is an error


class IncrementalEngine:
    """Equals `FullEngine`, computing only what a mutation changes.

    Parameters
    ----------
    model : LockedModel
        Within `borrow()` while running.
    masks : MaskBank
    batch_size : int, optional
        Inputs in one forward pass, where whole inputs are computed; by default `LockedModel.fitting`.
    memory_bytes : int
        Approximate memory for activations.
    captures : SharedCaptures, optional
        Of other networks of the same architecture.

    Attributes
    ----------
    paths : Counter
        How often each way to compute was taken (see `SliceRun`), for tests and for `audit`.

    Raises
    ------
    CaptureError
        On running, if the model cannot be turned into a graph.
    """

    def __init__(
        self,
        model: LockedModel,
        masks: MaskBank,
        batch_size: int | None = None,
        memory_bytes: int = DEFAULT_MEMORY_BYTES,
        captures: SharedCaptures | None = None,
    ) -> None:
        self.model, self.masks = model, masks
        self.batch_size, self.memory_bytes = batch_size, memory_bytes
        self._captures = captures
        self.paths: Counter[str] = Counter()
        self._compiled: dict[Any, Compiled] = {}
        self._captured: dict[Any, Captured] = {}

    def planned(self, batch: MutantBatch, point_only: bool = False) -> Compiled:
        """The captured model and its plan for inputs of this shape, perhaps not checked yet."""
        key = (shapes_of(batch), point_only)
        if key not in self._compiled and key in self._captured:
            self._compiled[key] = planned(self._captured[key])
        if key not in self._compiled:
            compiled = compile_model(self.model, self.masks, batch, point_only, self._captures)
            if compiled.own_point:
                self.planned(batch, point_only=True)  # if it cannot be captured, nothing is gained
            self._compiled[key], self._captured[key] = compiled, compiled.captured
        return self._compiled[key]

    def let_go(self) -> None:
        """Let go of the copies of weights in the plans, which are made again where they are needed."""
        self._compiled.clear()

    def compiled(self, batch: MutantBatch, point_only: bool = False) -> Compiled:
        """The captured model and its plan for inputs of this shape, checked against the model."""
        compiled = self.planned(batch, point_only)
        if compiled.captured.checked:
            return compiled
        try:
            check_compiled(compiled, self.model, self.masks, batch)
        except CaptureError:
            if self._captures is None:
                raise
            self._captures = None  # it may be another network's: capture this one by itself
            self._compiled.clear()
            self._captured.clear()
            return self.compiled(batch, point_only)
        return compiled

    def run(
        self, batch: MutantBatch, draws: Sequence[int], selected: Tensor | None = None
    ) -> Iterator[DrawBlock]:
        """See `Engine.run`."""
        try:
            compiled = self.compiled(batch, all(draw == POINT for draw in draws))
            graphs = self._graphs(compiled, batch, draws)
        except CaptureError as error:
            raise CaptureError.with_advice(error) from error
        size = min((self._slice_size(graph, batch) for graph, _ in graphs), default=1)
        slices = list(chunks(batch.n_mutants, size))
        if len(batch.reference_codes) == 1:
            for rows in slices:
                for ref, alt in self._run_graphs(graphs, batch, rows, selected):
                    yield DrawBlock(rows, ref, alt)
        elif slices:
            yield self._gathered(graphs, batch, slices, selected)

    def _graphs(self, compiled: Compiled, batch: MutantBatch, draws: Sequence[int]) -> _Graphs:
        """Consecutive draws, each part with the graph for them."""
        if not compiled.own_point:
            return [(compiled, list(draws))]
        parts = itertools.groupby(draws, key=lambda draw: draw == POINT)
        return [(self.compiled(batch, True) if off else compiled, list(part)) for off, part in parts]

    def _run_graphs(
        self, graphs: _Graphs, batch: MutantBatch, rows: slice, selected: Tensor | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        for compiled, draws in graphs:
            yield from self._run_slice(compiled, batch, rows, draws, selected)

    def _gathered(
        self, graphs: _Graphs, batch: MutantBatch, slices: list[slice], selected: Tensor | None
    ) -> DrawBlock:
        """All mutants and draws at once, so that each slice runs no references but its own."""
        n_references = len(batch.reference_codes)
        alts: list[Tensor] = []
        ref: Tensor | None = None
        for rows in slices:
            parts = list(self._run_graphs(graphs, batch, rows, selected))
            own = torch.cat([part for part, _ in parts])
            alts.append(torch.cat([part for _, part in parts]))
            if ref is None:
                ref = own.new_empty(len(own), n_references, own.shape[2])
            ref[:, torch.from_numpy(np.unique(batch.owner[rows])).to(own.device)] = own
        assert ref is not None
        idle = np.setdiff1d(np.arange(n_references), batch.owner)
        if len(idle):  # references without a mutant
            where = torch.from_numpy(idle).to(ref.device)
            rest = iter(ref)
            for compiled, draws in graphs:
                references = self._reference_rows(compiled, batch, idle, ())
                for draw in draws:
                    references.run([draw])
                    outputs = compiled.flat_outputs(references, 0, selected)
                    next(rest)[where] = outputs[: len(idle)]
        return DrawBlock(slice(0, batch.n_mutants), ref, torch.cat(alts, dim=1))

    def precise_outputs(
        self, batch: MutantBatch, draw: int, selected: Tensor | None = None
    ) -> Tensor | None:
        """Outputs of the mutants by the captured graph in float64; None where it cannot run so."""
        inputs = to_tensors(batch.inputs(slice(0, batch.n_mutants)), self.model.device)
        try:
            compiled = self.compiled(batch, draw == POINT)
            return compiled.precise_outputs(inputs, draw, batch.scope, selected)
        except (CaptureError, RuleError):  # of the model with dropout off, which may be another graph
            return None
        except (RuntimeError, TypeError):  # an operation that has no float64
            return None

    def _slice_size(self, compiled: Compiled, batch: MutantBatch) -> int:
        """Mutants whose results and windows for one draw fit into half of the memory."""
        per_mutant = compiled.bytes_per_mutant()
        n_references = len(batch.reference_codes)
        if n_references > 1:
            per_mutant += compiled.bytes_per_reference() * n_references / max(1, batch.n_mutants)
        return max(1, int(self.memory_bytes / 3 / per_mutant))

    def _run_slice(
        self,
        compiled: Compiled,
        batch: MutantBatch,
        rows: slice,
        draws: list[int],
        selected: Tensor | None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Outputs of a slice and of its own references, all draws, some at a time.

        Fewer at a time once memory has run out.
        """
        n_references = len(np.unique(batch.owner[rows]))
        still = compiled.bytes_per_mutant(0) * (rows.stop - rows.start)
        per_draw = compiled.bytes_per_mutant(1) * (rows.stop - rows.start) - still
        per_draw += compiled.bytes_per_reference() * n_references
        n_draws = int(np.clip((self.memory_bytes / 3 - still) / per_draw, 1, _MOST_DRAWS))
        done, shrink, finite = 0, 1, True
        run: SliceRun | None = None
        while done < len(draws):
            part = draws[done : done + max(1, n_draws // shrink)]
            try:
                if run is None:
                    references = self._references(compiled, batch, rows)
                    whole = self._whole_at_a_time(batch)
                    run = SliceRun(compiled, references, whole, shrink, self.paths)
                    run.prepare(batch, rows, n_draws, as_whole=not finite)
                alt, ref = run.outputs(part, selected)
            except NonFiniteReference:
                run, finite = None, False
                continue
            except (MemoryError, RuntimeError) as error:
                run, shrink = None, 2 * shrink
                if not is_out_of_memory(error) or shrink > _SMALLEST_SHARE:
                    raise
                continue
            yield ref, alt
            done += len(part)
        if run is not None:
            run.close()

    def _whole_at_a_time(self, batch: MutantBatch) -> int:
        if self.batch_size is not None:
            return self.batch_size
        one = to_tensors(take(batch.references, [0]), self.model.device)
        return self.model.fitting(one, self.memory_bytes)

    def _references(self, compiled: Compiled, batch: MutantBatch, rows: slice) -> References:
        owners = np.unique(batch.owner[rows])
        return self._reference_rows(compiled, batch, owners, compiled.looked_at)

    def _reference_rows(
        self, compiled: Compiled, batch: MutantBatch, rows: Any, wanted: Collection[int]
    ) -> References:
        count = len(rows)
        if count == 1 and not compiled.single:
            rows = np.repeat(rows, 2)
        inputs = to_tensors(take(batch.references, rows), self.model.device)
        values = compiled.input_values(inputs)
        masking = compiled.masking.of(batch.scope)
        return References(compiled.plan, values, len(rows), count, masking, wanted, self.paths)
