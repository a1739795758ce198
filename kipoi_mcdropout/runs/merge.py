"""All shards of a run, checked, as one store to assemble the outputs from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.runs.fingerprint import differences
from kipoi_mcdropout.runs.store import RUN_FILE, RunState, UnitStore
from kipoi_mcdropout.runs.unit_file import StoredUnit

_SHOWN = 5


@dataclass(frozen=True)
class ShardedRun:
    """The complete shards of one run, in order."""

    shards: Sequence[UnitStore]

    @property
    def state(self) -> RunState:
        """What the run is, as its first shard says."""
        return self.shards[0].state

    @property
    def n_units(self) -> int:
        """Of the whole run."""
        n = self.state.n_units
        assert n is not None, "the shards are complete"
        return n

    def load(self, number: int, inputs: str | None = None) -> StoredUnit:
        """A unit, checked; see `UnitStore.load`."""
        return self.shards[number % len(self.shards)].load(number, inputs)

    def take(self, units: Iterable[Any]) -> Iterator[tuple[Any, StoredUnit]]:
        """The stored result of each unit (see `compute.Unit`), in order.

        Raises
        ------
        InputError
            If there are more or fewer units than the shards were made of.
        """
        n = 0
        for unit in units:
            n += 1
            if n <= self.n_units:
                yield unit, self.load(unit.number, unit.inputs)
        if n != self.n_units:
            raise InputError(
                f"the shards were made from {self.n_units} units, but the data now give {n}. Merge with "
                "the same data"
            )


def sharded_run(folder: Path) -> ShardedRun:
    """The shards in a folder, by what their run.json says; the names of their folders do not matter.

    Raises
    ------
    InputError
        If there are none, one is missing, there twice, damaged or unfinished, or they are of different
        runs.
    """
    found = sorted(folder.glob(f"*/{RUN_FILE}"))
    if not found:
        raise InputError(f"{folder} has no shards; give the folder OUTPUT.shards that --shard created")
    stores = [UnitStore.read(path.parent) for path in found]
    by_index: dict[int, UnitStore] = {}
    first = stores[0]
    for store in stores:
        if store.state.shard is None:
            raise InputError(f"{store.folder} is a whole run and not a shard; move it out of {folder}")
        _check_same_run(folder, first, store)
        other = by_index.setdefault(store.state.shard[0], store)
        if other is not store:
            raise InputError(
                f"{other.folder} and {store.folder} both contain shard {_name(store)}; remove one of "
                "them"
            )
    _check_all_there(folder, by_index, _of(first))
    return ShardedRun([by_index[i] for i in sorted(by_index)])


def _check_same_run(folder: Path, first: UnitStore, other: UnitStore) -> None:
    if _of(other) != _of(first):
        raise InputError(
            f"{folder} has shards of {_of(first)} and of {_of(other)}; remove the shards of the run "
            "that you do not want"
        )
    a, b = first.state, other.state
    differing = differences(a.fingerprint, b.fingerprint)
    if a.kind != b.kind or a.outputs != b.outputs or differing:
        what = ", ".join(differing) or ("command" if a.kind != b.kind else "outputs")
        raise InputError(
            f"shards {first.folder.name} and {other.folder.name} are from different runs; they differ "
            f"in: {what}. Run one of them again with the options of the other"
        )


def _check_all_there(folder: Path, by_index: dict[int, UnitStore], of: int) -> None:
    missing = [i for i in range(1, of + 1) if i not in by_index]
    if missing:
        raise InputError(f"{folder} lacks {_named(missing, of)}; run those first")
    unfinished = [i for i, store in sorted(by_index.items()) if not store.state.complete]
    if unfinished:
        raise InputError(f"not finished: {_named(unfinished, of)}; run those again with --resume")
    numbers = sorted({store.state.n_units or 0 for store in by_index.values()})
    if len(numbers) != 1:
        raise InputError(
            f"the shards read different numbers of units: {', '.join(map(str, numbers))}. Run them "
            "again with the same data"
        )


def _of(store: UnitStore) -> int:
    return 0 if store.state.shard is None else store.state.shard[1]


def _name(store: UnitStore) -> str:
    return "" if store.state.shard is None else "/".join(map(str, store.state.shard))


def _named(indices: list[int], of: int) -> str:
    shown = ", ".join(f"{i}/{of}" for i in indices[:_SHOWN])
    more = len(indices) - _SHOWN
    word = "shard" if len(indices) == 1 else "shards"
    return f"{word} {shown}" + (f" and {more} more" if more > 0 else "")
