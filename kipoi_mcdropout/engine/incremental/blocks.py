"""Mutants grouped into blocks whose windows lie alike, and where these lie at every node."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from torch import Tensor

from kipoi_mcdropout.engine.incremental.plan import Plan
from kipoi_mcdropout.engine.incremental.rules.base import Key
from kipoi_mcdropout.engine.incremental.windows import Ints, Place, Span, Window
from kipoi_mcdropout.sequence.mutants import MutantBatch


@dataclass
class Block:
    """Mutants (numbers within the slice at hand) and the places of their windows."""

    mutants: Ints
    places: dict[Key, Place]
    kept: dict[Key, Window] = field(default_factory=dict)  # before the first mask: the same in all draws

    def forget(self) -> None:
        """Let go of row numbers.

        They are cheap to make. Kept, these small pieces would lie between the large tensors of the
        blocks and keep the memory of those from being used again: in a deep network, gigabytes of it.
        """
        for place in self.places.values():
            place.forget()

    def repeated(self, n_draws: int, n_mutants: int) -> Block:
        """Pairs (draw * n_mutants + mutant) of all mutants of the block in all draws."""
        pairs = (np.arange(n_draws)[:, None] * n_mutants + self.mutants).ravel()
        caches: dict[int, dict[object, Tensor]] = {}
        places = {
            key: replace(
                place,
                start=np.tile(place.start, n_draws),
                _cache=caches.setdefault(id(place._cache), {}),
            )
            for key, place in self.places.items()
        }
        return Block(pairs, places)


def changed_spans(batch: MutantBatch, rows: slice) -> Span:
    """First to last changed place in the input of each mutant; one place where nothing changes."""
    differs = batch.codes[rows] != batch.reference_codes[batch.owner[rows]]
    n = differs.shape[1]
    any_change = differs.any(axis=1)
    start = np.where(any_change, differs.argmax(axis=1), 0)
    end = np.where(any_change, n - differs[:, ::-1].argmax(axis=1), 1)
    width = rounded(end - start)
    start = start + batch.layout.offset
    return Span(start.astype(np.int64), (start + width).astype(np.int64))


def rounded(width: Ints) -> Ints:
    """Widths of several bases as powers of two, so that there are few different ones."""
    return (2 ** np.ceil(np.log2(width))).astype(np.int64)


def make_blocks(plan: Plan, span: Span, mutants: Ints, most: int, keys: list[Key]) -> list[Block]:
    """Blocks of at most `most` mutants.

    Parameters
    ----------
    span : Span
        Changed positions at the first of the keys.
    mutants : numpy.ndarray
        Number of each.
    keys : list of (node, lane)
        Where the windows are asked for; see `Plan.spans`.
    """
    spans = plan.spans(span, keys)
    columns = [span.end - span.start]
    offsets: dict[Key, list[Ints]] = {keys[0]: []}
    for key in keys[1:]:
        rule = plan.steps[key[0]].rule
        assert rule is not None
        own = spans[key]
        offsets[key] = rule.offsets([spans[source] for source in plan.sources[key]], own)
        columns += [own.end - own.start, *offsets[key]]
    _, first, group = np.unique(_joined(columns), return_index=True, return_inverse=True)
    blocks = []
    for number, example in enumerate(first):
        members = np.flatnonzero(group == number)
        members = members[np.argsort(span.start[members], kind="stable")]
        for part in _parts(members, most):
            places: dict[Key, Place] = {}
            caches: dict[tuple[bytes, int, int], dict[object, Tensor]] = {}
            for key in keys:
                start = spans[key].start[part]
                width = int(spans[key].end[example] - spans[key].start[example])
                length = plan.layouts[key[0]].n_positions
                cache = caches.setdefault((start.tobytes(), width, length), {})
                offset = tuple(int(o[example]) for o in offsets[key])
                places[key] = Place(start, width, length, offset, cache)
            blocks.append(Block(mutants[part], places))
    return blocks


def _joined(columns: list[Ints]) -> Ints:
    """One number for each combination of values, in the order of the combinations."""
    joined = np.zeros(len(columns[0]), dtype=np.int64)
    combinations = 1
    for column in columns:
        low, high = int(column.min()), int(column.max())
        if combinations * (high - low + 1) > 2**62:
            joined = np.unique(joined, return_inverse=True)[1]
            combinations = len(joined)
        joined = joined * (high - low + 1) + (column - low)
        combinations *= high - low + 1
    return joined


def _parts(members: Ints, most: int) -> Iterator[Ints]:
    n = max(1, -(-len(members) // most))
    yield from np.array_split(members, n)
