"""Writes finished blocks to the files of effects, one sequence after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from kipoi_mcdropout.files.group import OutputGroup, Writers
from kipoi_mcdropout.files.record import SequenceBlocks, SequenceRecord
from kipoi_mcdropout.runs.intervals import Complete
from kipoi_mcdropout.runs.ism.codec import decode, failure_row
from kipoi_mcdropout.runs.q_values import UnitQs
from kipoi_mcdropout.runs.unit_file import StoredUnit


class EffectsAssembler:
    """Writes a sequence when its last block is there; sequences with a failed block are left out.

    Parameters
    ----------
    writers : Writers or None
        None in a shard, which only counts.
    load : callable
        Gives the stored unit of a number. The blocks of a sequence are loaded one after the other, so
        that only one is in memory at a time.
    release : callable
        Called with the number of each unit when its sequence is written.
    q_values : UnitQs, optional
        q-values to add, where the effects were compared with a background.
    complete : callable
        Adds to each block what else is not in the store.

    Attributes
    ----------
    failed : dict of int to dict
        Rows of the table of failures, by the number of the sequence.
    sequences : set of int
        Numbers of the sequences that were met.
    """

    def __init__(
        self,
        writers: Writers[SequenceBlocks] | None,
        load: Callable[[int], StoredUnit],
        release: Callable[[int], None] = lambda _number: None,
        q_values: UnitQs | None = None,
        complete: Complete = lambda record: record,
    ) -> None:
        self._q_values, self._complete = q_values, complete
        self._writers, self._load, self._release = writers, load, release
        self._numbers: list[int] = []
        self.failed: dict[int, dict[str, Any]] = {}
        self.sequences: set[int] = set()

    def add_all(self, units: Iterable[tuple[int, StoredUnit]]) -> None:
        """Add all units of the run, or of the shard, in order."""
        for number, stored in units:
            self.add(number, stored)
            del stored  # before the next is computed: results can be large

    def add(self, number: int, stored: StoredUnit) -> None:
        """Add the next unit of the run, or of the shard; with its last block a sequence is written."""
        index = stored.about["sequence"]
        self.sequences.add(index)
        if stored.failed is not None:
            self.failed.setdefault(index, failure_row(stored))
        self._numbers.append(number)
        if self._writers is None or stored.about["block"] + 1 < stored.about["of"]:
            return
        if index not in self.failed:
            self._writers.write(self._blocks(stored))
        for done in self._numbers:
            self._release(done)
        self._numbers.clear()

    def _blocks(self, last: StoredUnit) -> SequenceBlocks:
        """The sequence that ends with this block."""
        if len(self._numbers) == 1:
            return SequenceBlocks.of(self._decode(last))
        numbers = list(self._numbers)

        def blocks() -> Iterator[SequenceRecord]:
            return (self._decode(self._load(number)) for number in numbers)

        return SequenceBlocks(blocks)

    def _decode(self, stored: StoredUnit) -> SequenceRecord:
        record = decode(stored)
        if self._q_values is not None:
            self._q_values.put_into(record.effects.summaries)
        return self._complete(record)

    def write_failures(self, group: OutputGroup, path: Path | None) -> None:
        """Write a table of the sequences that could not be computed, if there are any: TSV at `path`."""
        if self.failed and path is not None:
            rows = [self.failed[index] for index in sorted(self.failed)]
            pd.DataFrame(rows).to_csv(group.add(path), sep="\t", index=False)
