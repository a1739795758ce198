"""One slice of mutants through the plan: windows block by block, then whole rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from kipoi_mcdropout.arrays.outputs import flatten_outputs
from kipoi_mcdropout.dropout.memory import is_out_of_memory
from kipoi_mcdropout.engine.full import to_tensors
from kipoi_mcdropout.engine.incremental.blocks import Block, changed_spans, make_blocks
from kipoi_mcdropout.engine.incremental.compiled import Compiled
from kipoi_mcdropout.engine.incremental.dense import DenseStage
from kipoi_mcdropout.engine.incremental.exits import FlatLinear, Reduce
from kipoi_mcdropout.engine.incremental.packed import Packed, PackedIndex, pack
from kipoi_mcdropout.engine.incremental.plan import Step
from kipoi_mcdropout.engine.incremental.references import NonFiniteReference, References
from kipoi_mcdropout.engine.incremental.rules.base import Key, RuleError
from kipoi_mcdropout.engine.incremental.rules.site import gain, keep_canonical, multipliers
from kipoi_mcdropout.engine.incremental.tail import Tail
from kipoi_mcdropout.engine.incremental.windows import BlockContext, Ints, Span, Window
from kipoi_mcdropout.sequence.mutants import MutantBatch

_BLOCK_BYTES = 20 * 2**20  # largest window tensor; about what stays in the last cache
_WIDE_SHARE = 4  # a mutant that changes more than 1 / 4 of the positions goes through whole


class SliceRun:
    """See `IncrementalEngine`; `prepare` once, then `outputs` for draw after draw.

    `paths` counts how often each way to compute was taken: "slices" (calls of `outputs`), "tail",
    "packed", "reduce", "materialise" (the ways in which windows end), "rows" (what comes after the
    windows) and "whole" (mutants that change too much).
    """

    def __init__(
        self,
        compiled: Compiled,
        references: References,
        batch_size: int,
        shrink: int = 1,
        paths: Counter[str] | None = None,
    ) -> None:
        self.shrink = shrink  # divides the size of what is computed at a time
        self.paths: Counter[str] = Counter() if paths is None else paths
        self.compiled, self.plan, self.references = compiled, compiled.plan, references
        self.batch_size = batch_size
        self.device = references.masking.device
        self.draws: list[int] = []
        self._masks: dict[int, Tensor] = {}

    def prepare(self, batch: MutantBatch, rows: slice, n_draws: int, as_whole: bool = False) -> None:
        """Blocks, and what leaves the windows where.

        Parameters
        ----------
        rows : slice
            Mutants; `references` are those that they belong to, in order.
        n_draws : int
            At most as many draws will be asked for at a time.
        as_whole : bool
            Compute all mutants on whole inputs.
        """
        self.batch, self.rows = batch, rows
        owner = np.unique(batch.owner[rows], return_inverse=True)[1].ravel()
        self.owner = owner.astype(np.int64)
        span = changed_spans(batch, rows)
        if as_whole or self.plan.steps[self.plan.mutated].kind != "windows":
            wide = np.ones(len(owner), dtype=bool)
        else:
            wide = (span.end - span.start) * _WIDE_SHARE > batch.codes.shape[1]
        self.whole = np.flatnonzero(wide)
        narrow = np.flatnonzero(~wide)
        numbers = _BLOCK_BYTES / 4 / self.shrink / n_draws
        most = max(1, int(numbers / self.compiled.widest()))
        self.blocks: list[Block] = []
        if len(narrow):
            part = Span(span.start[narrow], span.end[narrow])
            self.blocks = make_blocks(self.plan, part, narrow, most)
        self._choose_leaving()
        self.dense = DenseStage(self.compiled, self.references)
        self._find_needed()

    def _choose_leaving(self) -> None:
        """For each place where windows end, how: by packing, by a tail, or block by block."""
        self.leaving = {i: s.exit for i, s in self.plan.steps.items() if s.kind == "leaving" and s.exit}
        self.packed: dict[Key, Packed] = {}
        # By the node of its linear layer: the tail, and the windows that leave its convolution.
        self.tails: dict[int, tuple[Tail, PackedIndex]] = {}
        for index, leaving in self.leaving.items():
            if not isinstance(leaving, FlatLinear) or not self.blocks:
                continue
            tail = self.compiled.tails.get(index)
            length = leaving.layout.n_positions
            if tail is not None:
                outgoing = self._packed_index((tail.convolution.node.index, 0))
                if tail.pays(outgoing.n_entries, length):
                    self.tails[index] = (tail, outgoing)
                    self._pack((tail.source, 0))
                    continue
            for key in self.plan.keys(leaving.source):
                self._pack(key)

    def _pack(self, key: Key) -> None:
        if key not in self.packed:
            self.packed[key] = Packed(self._packed_index(key))

    def _packed_index(self, key: Key) -> PackedIndex:
        length = self.plan.layouts[key[0]].n_positions
        blocks = [(block.mutants, block.places[key]) for block in self.blocks]
        return pack(blocks, length, self.device)

    def _find_needed(self) -> None:
        """Windows that are computed, and those that leave them for whole rows."""
        steps = self.plan.steps
        self.materialised = [i for i in self.dense.taken if steps[i].kind == "windows"]
        self.targets: set[Key] = set(self.packed)
        for index in self.materialised:
            self.targets.update(self.plan.keys(index))
        for leaving in self.leaving.values():
            if isinstance(leaving, Reduce):
                self.targets.update(self.plan.keys(leaving.source))
        needed = set(self.targets)
        for key in reversed(self.plan.local_order):
            if key in needed:
                needed.update(self.plan.sources[key])
        self.order = [key for key in self.plan.local_order if key in needed]
        self.last_use: dict[Key, Key] = {}
        for key in self.order:
            for source in self.plan.sources[key]:
                self.last_use[source] = key
        drawn = {key for key in self.order if steps[key[0]].drawn}
        border = {s for key in drawn for s in self.plan.sources[key] if s not in drawn}
        self.border = border | (self.targets - drawn)

    def outputs(self, draws: list[int], selected: Tensor | None) -> tuple[Tensor, Tensor]:
        """Outputs of the mutants and of the references, (draws, rows, outputs)."""
        self.draws = draws
        self.paths["slices"] += 1
        self.references.run(draws)
        self._masks.clear()
        self.dense.begin(draws)
        ref = torch.stack(
            [self.compiled.flat_outputs(self.references, i, selected) for i in range(len(draws))]
        )
        alt = ref.new_empty(len(draws), len(self.owner), ref.shape[2])
        seeds: dict[int, Tensor] = {}
        later = []
        for number, block in enumerate(self.blocks):
            context = self._context(block)
            windows = self._run_block(number, block, context)
            self._reduce(block, context, windows, seeds)
            if self.materialised and not self.packed:
                self._finish(alt, block.mutants, seeds, selected, (context, windows))
            elif self.materialised:
                later.append((block, context, windows))
            block.forget()
        self._multiply(seeds)
        for block, context, windows in later:
            self._finish(alt, block.mutants, seeds, selected, (context, windows))
        if not self.materialised and self.blocks:
            narrow = np.sort(np.concatenate([block.mutants for block in self.blocks]))
            self._finish(alt, narrow, seeds, selected, None)
        self._run_whole(alt, selected)
        return alt, ref

    def _context(self, block: Block) -> BlockContext:
        return BlockContext(
            self.owner[block.mutants], block.places, self.references.canonical, self._multipliers,
            self.plan.shared | self.border, self.device,
        )  # fmt: skip

    def _multipliers(self, node) -> Tensor:  # type: ignore[no-untyped-def]
        if node.index not in self._masks:
            layout = self.plan.layouts[node.index]
            self._masks[node.index] = multipliers(
                self.references.masking, node, layout, self.draws, self.compiled.dtype
            )
        return self._masks[node.index]

    def _run_block(self, number: int, block: Block, context: BlockContext) -> dict[Key, Window]:
        """Windows of the targets; those to be packed are packed."""
        windows: dict[Key, Window] = {}
        mutated = (self.plan.mutated, 0)
        fresh = not block.kept
        if fresh:
            windows[mutated] = Window(delta=self._input_delta(block), clean=True)
            if mutated in self.border:
                block.kept[mutated] = windows[mutated]
        for key, window in block.kept.items():
            windows[key] = Window(window.delta, window.new, window.clean)
        for key in self.order:
            step = self.plan.steps[key[0]]
            if not step.drawn and not fresh:
                continue
            sources = self.plan.sources[key]
            windows[key] = _apply(step, context, key, sources, [windows[s] for s in sources])
            if key in self.border and not step.drawn:
                block.kept[key] = Window(windows[key].delta, windows[key].new, windows[key].clean)
            for source in sources:
                if self.last_use[source] == key and source not in self.targets:
                    windows.pop(source, None)
            if key in self.packed:
                self.packed[key].put(number, context.delta(key, windows[key]))
        for key in self.packed:
            if key in block.kept:
                self.packed[key].put(number, context.delta(key, windows[key]))
        return windows

    def _input_delta(self, block: Block) -> Tensor:
        place = block.places[self.plan.mutated, 0]
        batch, layout = self.batch, self.batch.layout
        rows = np.arange(self.rows.start, self.rows.stop)[block.mutants]
        inside = place.positions()
        clipped = np.clip(inside, 0, place.length - 1)
        k = layout.n_categories
        table = np.concatenate([np.eye(k), np.zeros((1, k)), np.full((1, k), 1 / k)])
        new = batch.codes[rows[:, None], clipped]
        old = batch.reference_codes[batch.owner[rows][:, None], clipped]
        delta = table[new] - table[old]
        delta[(inside < 0) | (inside >= place.length)] = 0
        return torch.from_numpy(delta)[None].to(self.device, self.compiled.dtype)

    def _reduce(
        self, block: Block, context: BlockContext, windows: dict[Key, Window], seeds: dict[int, Tensor]
    ) -> None:
        """Results of reductions over all positions for the mutants of a block."""
        for index, leaving in self.leaving.items():
            if not isinstance(leaving, Reduce):
                continue
            keys = self.plan.keys(leaving.source)
            reference = self.references.stacked(index)
            n = self.references.n
            for lane, key in enumerate(keys):
                own = reference[:, lane * n : (lane + 1) * n]
                self.paths["reduce"] += 1
                result = leaving.run(context, key, windows[key], own)
                if index not in seeds:
                    shape = (result.shape[0], len(keys), len(self.owner), result.shape[2])
                    seeds[index] = result.new_empty(shape)
                seeds[index][:, lane, torch.from_numpy(block.mutants)] = result

    def _multiply(self, seeds: dict[int, Tensor]) -> None:
        """Results of linear layers over all positions, (draws, lanes, mutants, outputs)."""
        n = self.references.n
        for index, leaving in self.leaving.items():
            if not isinstance(leaving, FlatLinear) or not self.blocks:
                continue
            reference = self.references.stacked(index).flatten(2)
            owner = torch.from_numpy(self.owner).to(self.device)
            lanes = []
            for lane, key in enumerate(self.plan.keys(leaving.source)):
                if index in self.tails:
                    delta = self._run_tail(*self.tails[index])
                else:
                    self.paths["packed"] += 1
                    delta = self.packed[key].multiply(leaving.weight, len(self.owner))
                own = reference[:, lane * n : (lane + 1) * n]
                lanes.append(delta.transpose(0, 1) + own[:, owner])
            seeds[index] = torch.stack(lanes, dim=1)

    def _run_tail(self, tail: Tail, outgoing: PackedIndex) -> Tensor:
        self.paths["tail"] += 1
        node, masking = tail.site.node, self.references.masking
        layout = self.plan.layouts[node.index]
        return tail.run(
            self.packed[tail.source, 0],
            outgoing,
            self.draws,
            lambda draw: keep_canonical(masking, node, layout, draw),
            self.references.canonical,
            self.owner,
            gain(node),
        )

    def _finish(
        self,
        alt: Tensor,
        mutants: Ints,
        seeds: dict[int, Tensor],
        selected: Tensor | None,
        windows: tuple[BlockContext, dict[Key, Window]] | None,
    ) -> None:
        """Whole rows from what left the windows to the outputs."""
        size = self.dense.rows_at_a_time(self.batch_size)
        for begin in range(0, len(mutants), size):
            part = slice(begin, begin + size)
            self.paths["rows"] += 1
            self.dense.load(self.owner[mutants[part]])
            for index in self.leaving:
                if index in seeds:
                    chosen = seeds[index][:, :, torch.from_numpy(mutants[part])]
                    self.dense.seed(index, chosen)
            if windows is not None:
                for index in self.materialised:
                    self.paths["materialise"] += 1
                    self.dense.materialise(index, part, *windows)
            self._write(alt, mutants[part], self.dense.run(), selected)

    def _run_whole(self, alt: Tensor, selected: Tensor | None) -> None:
        """Mutants that change too much: all of the model, the part before the masks once."""
        for begin in range(0, len(self.whole), self.batch_size):
            self.paths["whole"] += 1
            mutants = self.whole[begin : begin + self.batch_size]
            rows = np.arange(self.rows.start, self.rows.stop)[mutants]
            picked = MutantBatch(
                self.batch.references, self.batch.input_key, self.batch.layout,
                self.batch.reference_codes, self.batch.owner[rows], self.batch.codes[rows],
            )  # fmt: skip
            inputs = to_tensors(picked.inputs(slice(0, len(rows))), self.device)
            results = self.dense.run_inputs(self.compiled.input_values(inputs), len(rows))
            self._write(alt, mutants, results, selected)

    def _write(
        self,
        alt: Tensor,
        mutants: Ints,
        results: Iterable[list[Tensor]],
        selected: Tensor | None,
    ) -> None:
        where = torch.from_numpy(mutants).to(alt.device)
        consecutive = bool((np.diff(mutants) == 1).all())
        for d, values in enumerate(results):
            matrix = flatten_outputs(values, values[0].shape[0], selected)[: len(mutants)]
            if consecutive:
                alt[d, int(mutants[0]) : int(mutants[-1]) + 1] = matrix
            else:
                alt[d, where] = matrix


def _apply(
    step: Step, context: BlockContext, key: Key, sources: list[Key], windows: list[Window]
) -> Window:
    """Result of a step's rule; RuleError where it fails."""
    assert step.rule is not None
    try:
        return step.rule.run(context, key, sources, windows)
    except NonFiniteReference:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise RuleError.of(step.node, error) from error
