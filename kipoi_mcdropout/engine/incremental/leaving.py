"""Where windows end in one row per mutant: reductions and linear layers over all positions."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor

from kipoi_mcdropout.engine.incremental.blocks import Block
from kipoi_mcdropout.engine.incremental.compiled import Compiled
from kipoi_mcdropout.engine.incremental.differences import Differences
from kipoi_mcdropout.engine.incremental.entries import Entries
from kipoi_mcdropout.engine.incremental.exits import Exit, FlatLinear, Reduce
from kipoi_mcdropout.engine.incremental.multiplied import Multiplied
from kipoi_mcdropout.engine.incremental.packed import Packed, PackedIndex, pack
from kipoi_mcdropout.engine.incremental.references import References
from kipoi_mcdropout.engine.incremental.rules.base import Key
from kipoi_mcdropout.engine.incremental.rules.site import gain, keep_canonical
from kipoi_mcdropout.engine.incremental.tail import Drawn, Tail
from kipoi_mcdropout.engine.incremental.thinning import PairContext
from kipoi_mcdropout.engine.incremental.windows import BlockContext, Ints, Window
from kipoi_mcdropout.engine.incremental.zeros import any_not_zero

Windows = dict[Key, Window]


class Leaving:
    """Collects the windows of all blocks where they end; `begin`, then blocks, then `multiply`.

    Attributes
    ----------
    packed : dict of (node, lane) to Packed
        Windows that a linear layer takes.
    results : dict of int to Tensor
        By node, (draws, lanes, mutants, ...).
    changed : Tensor of bool, shape=(draws, mutants)
        Whether any result differs from the reference's at all.
    """

    def __init__(
        self, compiled: Compiled, references: References, blocks: list[Block], owner: Ints,
        paths: Counter[str],
    ) -> None:  # fmt: skip
        self.compiled, self.plan, self.references = compiled, compiled.plan, references
        self.blocks, self.owner, self.paths = blocks, owner, paths
        self.device = references.masking.device
        self.exits: dict[int, Exit] = {
            i: s.exit for i, s in self.plan.steps.items() if s.kind == "leaving" and s.exit
        }
        self.packed: dict[Key, Packed] = {}
        # By the node of its linear layer: the tail, and the windows that leave its convolution.
        self.tails: dict[int, tuple[Tail, PackedIndex]] = {}
        if blocks:
            self._choose()
        tailed = {tail.source for tail, _ in self.tails.values()}
        layers = {
            i: e for i, e in self.exits.items() if isinstance(e, FlatLinear) and e.source not in tailed
        }
        self.multiplied = Multiplied(layers, len(owner))
        self.draws: list[int] = []
        self.results: dict[int, Tensor] = {}
        self.entries: dict[Key, list[Entries]] = {}  # of pairs, before a tail
        self.changed = torch.zeros(0, 0, dtype=torch.bool)

    @property
    def targets(self) -> set[Key]:
        """Windows that end here."""
        reductions = [exit_.source for exit_ in self.exits.values() if isinstance(exit_, Reduce)]
        return set(self.packed) | {key for source in reductions for key in self.plan.keys(source)}

    @property
    def by_rows(self) -> Key | None:
        """The only windows that end, if tails alone take them and they differ between draws."""
        sources = {tail.source for tail, _ in self.tails.values()}
        others = {exit_.source for index, exit_ in self.exits.items() if index not in self.tails}
        if len(sources) != 1 or sources & others:
            return None
        key = (sources.pop(), 0)
        return key if self.targets == {key} and self.plan.steps[key[0]].drawn else None

    def _choose(self) -> None:
        """For each linear layer: by a tail or by packing."""
        for index, leaving in self.exits.items():
            if not isinstance(leaving, FlatLinear):
                continue
            tail = self.compiled.tails.get(index)
            length = leaving.layout.n_positions
            if tail is not None:
                outgoing = self._packed_index((tail.last, 0))
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

    def begin(self, draws: list[int], same: bool = False) -> None:
        """Start with these draws; with `same` the windows stay, which differ in no draw."""
        self.draws = draws
        if same:
            self.changed = self.changed[:1].expand(len(draws), -1).clone()
            return
        self.results, self.entries = {}, {}
        self.multiplied.clear()
        self.changed = torch.zeros(len(draws), len(self.owner), dtype=torch.bool, device=self.device)

    def begin_pairs(self) -> None:
        """Start as if nothing changed: what changes is told by `take_pairs` and `take_rows`."""
        self.entries = {} if self.by_rows is None else {self.by_rows: []}
        for key, packed in self.packed.items():
            n_draws = len(self.draws) if self.plan.steps[key[0]].drawn else 1
            channels = self.plan.layouts[key[0]].n_channels
            packed.clear(n_draws, channels, self.compiled.dtype, self.device)
        owner = torch.from_numpy(self.owner).to(self.device)
        for index, leaving in self.exits.items():
            if isinstance(leaving, Reduce):
                own = self._references_of(index)
                self.results[index] = torch.stack([x.flatten(2)[:, owner] for x in own], dim=1)

    def take_pairs(self, context: PairContext, block: Block, windows: Windows) -> None:
        """Windows of pairs of a draw and a mutant."""
        for key in self.packed:
            delta = context.delta(key, windows[key])
            n_draws = len(self.draws) if self.plan.steps[key[0]].drawn else 1
            changed = self.multiplied.take(context, key, delta, block, n_draws)
            if changed is None:
                pairs = block.mutants[None]
                self.take_rows(key, Differences.of(delta, any_not_zero(delta), pairs, block.places[key]))
            else:
                self._note(context, changed, n_draws)
        draw, mutant = (torch.from_numpy(x).to(self.device) for x in (context.draw, context.mutant))
        for index, leaving in self.exits.items():
            if not isinstance(leaving, Reduce):
                continue
            for lane, own in enumerate(self._references_of(index)):
                self.paths["reduce"] += 1
                key = (leaving.source, lane)
                own = own.flatten(0, 1)[None]
                result = leaving.run(context, key, windows[key], own)[0]
                owner = torch.from_numpy(context.owner).to(self.device)
                changed = (result != own[0].flatten(1)[owner]).any(dim=1)
                self._note(context, changed, len(self.results[index]))
                self.results[index][draw, lane, mutant] = result

    def take_rows(self, key: Key, rows: Differences) -> None:
        """What differs, of pairs of a draw and a mutant, where a tail or a linear layer takes it."""
        if key in self.entries and rows.values.device.type == "cpu":
            self.entries[key].append(Entries.of(rows))
        else:
            self.packed[key].put_rows(rows, len(self.owner))

    def take_entries(self, key: Key, entries: Entries) -> None:
        """The same, number by number, at `by_rows`."""
        self.entries[key].append(entries)

    def _note(self, context: PairContext, changed: Tensor, n_draws: int) -> None:
        """That pairs differ; `n_draws` is 1 where they are the same in all draws."""
        mutant = torch.from_numpy(context.mutant).to(self.device)
        if n_draws > 1:
            self.changed[torch.from_numpy(context.draw).to(self.device), mutant] |= changed
        else:
            self.changed[:, mutant] |= changed

    def _references_of(self, index: int) -> list[Tensor]:
        """The references' own results, lane by lane, (draws, references, results)."""
        lanes = self.references.stacked(index).split(self.references.n, dim=1)
        return [lane.reshape(*lane.shape[:2], -1) for lane in lanes]

    def reduce(self, block: Block, context: BlockContext, windows: Windows) -> None:
        """Results of reductions over all positions for the mutants of a block."""
        mutants = torch.from_numpy(block.mutants).to(self.device)
        owner = torch.from_numpy(context.owner).to(self.device)
        for index, leaving in self.exits.items():
            if not isinstance(leaving, Reduce):
                continue
            lanes = self._references_of(index)
            for lane, own in enumerate(lanes):
                self.paths["reduce"] += 1
                key = (leaving.source, lane)
                result = leaving.run(context, key, windows[key], own)
                if index not in self.results:
                    shape = (result.shape[0], len(lanes), len(self.owner), result.shape[2])
                    self.results[index] = result.new_empty(shape)
                self.results[index][:, lane, mutants] = result
                self.changed[:, mutants] |= (result != own.flatten(2)[:, owner]).any(dim=2)

    def multiply(self) -> None:
        """Results of linear layers over all positions."""
        owner = torch.from_numpy(self.owner).to(self.device)
        for index, leaving in self.exits.items():
            if not isinstance(leaving, FlatLinear) or not self.blocks:
                continue
            lanes = []
            for lane, own in enumerate(self._references_of(index)):
                own = own.flatten(2)
                own = own[:, :1] if self.references.count == 1 else own[:, owner]
                if index in self.tails:
                    delta = self._run_tail(*self.tails[index])
                    self.changed |= any_not_zero(delta)
                    lanes.append(delta.add_(own))
                    continue
                product = self._multiply_packed(index, leaving, lane)
                if not self.packed[leaving.source, lane].empty:
                    self.changed |= any_not_zero(product).t()
                lanes.append(product.transpose(0, 1) + own)
            self.results[index] = torch.stack(lanes, dim=1) if len(lanes) > 1 else lanes[0][:, None]

    def forget(self) -> None:
        """Let go of what is computed anew for other draws."""
        self.entries = {}
        for key, packed in self.packed.items():
            if self.plan.steps[key[0]].drawn:
                packed.values = None
        for index, leaving in self.exits.items():
            if isinstance(leaving, FlatLinear):
                self.results.pop(index, None)

    def _multiply_packed(self, index: int, leaving: FlatLinear, lane: int) -> Tensor:
        """Products of the windows that were packed, and of those that were multiplied at once."""
        packed, few = self.packed[leaving.source, lane], self.multiplied.product(index, lane)
        if few is not None and packed.empty:
            return few
        self.paths["packed"] += 1
        product = packed.multiply(leaving.weight, len(self.owner))
        return product if few is None else product + few

    def _run_tail(self, tail: Tail, outgoing: PackedIndex) -> Tensor:
        node, masking, key = tail.site.node, self.references.masking, (tail.source, 0)
        layout = self.plan.layouts[node.index]
        drawn = Drawn(
            self.draws,
            lambda draw: keep_canonical(masking, node, layout, draw),
            self.references.canonical,
            self.owner,
            gain(node),
        )
        if self.entries.get(key):
            entries = Entries.joined(self.entries[key])
            if tail.few_differ(entries):
                self.paths["sparse tail"] += 1
                return tail.run_entries(entries, drawn)
            self.packed[key].put_rows(entries.rows(tail.cells.n_in), len(self.owner))
        self.paths["tail"] += 1
        return tail.run(self.packed[key], outgoing, drawn)
