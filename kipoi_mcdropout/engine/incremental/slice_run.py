"""One slice of mutants through the plan: windows block by block, then whole rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from kipoi_mcdropout.engine.full import to_tensors
from kipoi_mcdropout.engine.incremental.blocks import Block, changed_spans, make_blocks
from kipoi_mcdropout.engine.incremental.compiled import Compiled, input_dtype
from kipoi_mcdropout.engine.incremental.dense import DenseStage
from kipoi_mcdropout.engine.incremental.factors import factors
from kipoi_mcdropout.engine.incremental.leaving import Leaving, Windows
from kipoi_mcdropout.engine.incremental.references import References
from kipoi_mcdropout.engine.incremental.route import find_route
from kipoi_mcdropout.engine.incremental.rules.masks import MaskedScale
from kipoi_mcdropout.engine.incremental.rules.site import multipliers
from kipoi_mcdropout.engine.incremental.steps import take_step
from kipoi_mcdropout.engine.incremental.thinning import Thinning
from kipoi_mcdropout.engine.incremental.windows import BlockContext, Ints, Span, Window
from kipoi_mcdropout.outputs.matrix import flatten_outputs
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
            keys = [(self.plan.mutated, 0), *self.plan.local_order]
            self.blocks = make_blocks(self.plan, part, narrow, most, keys)
            self.blocks.sort(key=lambda block: -len(block.mutants))  # the first is counted
        self.most = most * n_draws
        self.leaving = Leaving(self.compiled, self.references, self.blocks, self.owner, self.paths)
        self.dense = DenseStage(self.compiled, self.references)
        self._find_needed()
        self.thinning = self._thinning()

    def close(self) -> None:
        """After the last draws. It ends a cycle, so that the memory is free at once."""
        self.thinning = None

    def _find_needed(self) -> None:
        """Windows that are computed, and those that leave them for whole rows."""
        steps = self.plan.steps
        self.materialised = [i for i in self.dense.taken if steps[i].kind == "windows"]
        targets = self.leaving.targets
        for index in self.materialised:
            targets.update(self.plan.keys(index))
        self.route = find_route(self.plan, targets, self.leaving.by_rows)

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
        settled = self.thinning is not None and self.thinning.settled
        self.leaving.begin(draws, same=self.thinning is not None and settled and not self.thinning.drawn)
        alt = ref.new_empty(len(draws), len(self.owner), ref.shape[2])
        later = []
        if self.thinning is not None:
            self.thinning.begin()
        for number, block in enumerate([] if settled else self.blocks):
            context = self._context(block)
            windows = self._run_block(number, block, context)
            if windows is not None:
                self.leaving.reduce(block, context, windows)
                later += self._end_of_block(alt, block, context, windows, selected)
            block.forget()
        if self.thinning is not None and self.thinning.pays:
            self.thinning.finish()
        self.leaving.multiply()
        for block, context, windows in later:
            self._finish(alt, block.mutants, selected, (context, windows))
        if not self.materialised and self.blocks:
            narrow = np.sort(np.concatenate([block.mutants for block in self.blocks]))
            changed = self.leaving.changed.any(dim=0).cpu().numpy()
            self._finish(alt, narrow[changed[narrow]], selected, None)
        self._run_whole(alt, selected)
        self._copy_unchanged(alt, ref)
        self.leaving.forget()
        return alt, ref

    def _context(self, block: Block) -> BlockContext:
        return BlockContext(
            self.owner[block.mutants], block.places, self.references.canonical, self._multipliers,
            self.plan.shared | self.route.border, self.device, self.paths,
        )  # fmt: skip

    def _multipliers(self, node) -> Tensor:  # type: ignore[no-untyped-def]
        if node.index not in self._masks:
            layout, rule = self.plan.layouts[node.index], self.plan.steps[node.index].rule
            if isinstance(rule, MaskedScale):
                found = factors(self.references, rule, len(self.draws), node.name == "div")
                self._masks[node.index] = found.to(self.compiled.dtype)
            else:
                self._masks[node.index] = multipliers(
                    self.references.masking, node, layout, self.draws, self.compiled.dtype
                )
        return self._masks[node.index]

    def _run_block(self, number: int, block: Block, context: BlockContext) -> Windows | None:
        """Windows of the targets, those to be packed packed; None where `thinning` has taken over."""
        thinning = self.thinning
        windows: Windows = {}
        mutated = (self.plan.mutated, 0)
        fresh = not block.kept
        if fresh:
            windows[mutated] = Window(delta=self._input_delta(block), clean=True)
            if mutated in self.route.border:
                block.kept[mutated] = windows[mutated]
        for key, window in block.kept.items():
            windows[key] = window.copy()
        for key in self.route.order:
            drawn = self.plan.steps[key[0]].drawn
            if not drawn and not fresh:
                continue
            take_step(self.plan, self.route, context, key, windows)
            if key in self.route.border and not drawn:
                block.kept[key] = windows[key].copy()
            if key in self.leaving.packed:
                self.leaving.packed[key].put(number, context.delta(key, windows[key]))
            if thinning is not None and key == thinning.cut and thinning.take(context, block, windows):
                if thinning.still:
                    block.kept.clear()  # not asked for again
                return None
        for key in self.leaving.packed:
            if key in block.kept:
                self.leaving.packed[key].put(number, context.delta(key, windows[key]))
        return windows

    def _input_delta(self, block: Block) -> Tensor:
        place = block.places[self.plan.mutated, 0]
        batch, layout = self.batch, self.batch.layout
        rows = np.arange(self.rows.start, self.rows.stop)[block.mutants]
        inside = place.positions() - layout.offset
        clipped = np.clip(inside, 0, layout.n_positions - 1)
        table = layout.values()
        new = batch.codes[rows[:, None], clipped]
        old = batch.reference_codes[batch.owner[rows][:, None], clipped]
        delta = table[new] - table[old]
        delta[(inside < 0) | (inside >= layout.n_positions)] = 0
        return torch.from_numpy(delta)[None].to(self.device, input_dtype(batch))

    def _thinning(self) -> Thinning | None:
        """What drops differences of zero, where the route has a place for it."""
        if self.materialised or not self.route.cuts:
            return None
        stages = self.compiled.stages
        return Thinning(
            self.route, self.leaving, self._multipliers, self.plan.shared, self.most, stages
        )

    def _end_of_block(
        self, alt: Tensor, block: Block, context: BlockContext, windows: Windows, selected: Tensor | None
    ) -> list[tuple[Block, BlockContext, Windows]]:
        """Note what has changed in windows that leave as they are; finish now, or return for later."""
        mutants = torch.from_numpy(block.mutants).to(self.device)
        for index in self.materialised:
            for key in self.plan.keys(index):
                self.leaving.changed[:, mutants] |= context.differs(key, windows[key])
        if self.materialised and not self.leaving.packed:
            self._finish(alt, block.mutants, selected, (context, windows))
        elif self.materialised:
            return [(block, context, windows)]
        return []

    def _copy_unchanged(self, alt: Tensor, ref: Tensor) -> None:
        """Where nothing that left the windows has changed, the reference's output."""
        self.leaving.changed[:, torch.from_numpy(self.whole).to(self.device)] = True
        draw, mutant = (~self.leaving.changed).nonzero(as_tuple=True)
        if len(draw):
            owner = torch.from_numpy(self.owner).to(self.device)
            alt[draw, mutant] = ref[draw, owner[mutant]]

    def _finish(
        self,
        alt: Tensor,
        mutants: Ints,
        selected: Tensor | None,
        windows: tuple[BlockContext, Windows] | None,
    ) -> None:
        """Whole rows from what left the windows to the outputs."""
        size = self.dense.rows_at_a_time(self.batch_size)
        for begin in range(0, len(mutants), size):
            part = slice(begin, begin + size)
            self.paths["rows"] += 1
            self.dense.load(self.owner[mutants[part]])
            own = _in_order(mutants[part])
            for index, result in self.leaving.results.items():
                self.dense.seed(index, _picked(result, own))
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
        where = _in_order(mutants)
        for d, values in enumerate(results):
            alt[d, where] = flatten_outputs(values, values[0].shape[0], selected)[: len(mutants)]


def _picked(result: Tensor, own: slice | Tensor) -> Tensor:
    """Some mutants of (draws, lanes, mutants, ...)."""
    return result[:, :, own] if isinstance(own, slice) else result.index_select(2, own.to(result.device))


def _in_order(mutants: Ints) -> slice | Tensor:
    """A slice, which needs no copy, where each is one more than the one before it."""
    if (np.diff(mutants) == 1).all():
        return slice(int(mutants[0]), int(mutants[-1]) + 1)
    return torch.from_numpy(mutants)
