"""From finished blocks to the files of effects, one sequence after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from kipoi_mcdropout.files.group import OutputGroup, Writers
from kipoi_mcdropout.files.record import SequenceBlocks, SequenceRecord
from kipoi_mcdropout.runs.ism.codec import decode, failure_row
from kipoi_mcdropout.runs.unit_file import StoredUnit


class EffectsAssembler:
    """Writes a sequence when its last block is there; sequences with a failed block are left out.

    Parameters
    ----------
    writers : Writers or None
        None in a shard, which only counts.
    load : callable
        A stored unit by its number: of a sequence with several blocks only one is held at a time.
    release : callable
        Called with the number of each unit that is written.
    """

    def __init__(
        self,
        writers: Writers[SequenceBlocks] | None,
        load: Callable[[int], StoredUnit],
        release: Callable[[int], None] = lambda _number: None,
    ) -> None:
        self._writers, self._load, self._release = writers, load, release
        self._numbers: list[int] = []
        self.failed: dict[int, dict[str, Any]] = {}  # rows of the table of failures, by sequence
        self.sequences: set[int] = set()

    def add_all(self, units: Iterable[tuple[int, StoredUnit]]) -> None:
        """All units of the run, or of the shard, in order."""
        for number, stored in units:
            self.add(number, stored)
            del stored  # before the next is computed: results can be large

    def add(self, number: int, stored: StoredUnit) -> None:
        """The next unit of the run, or of the shard."""
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
        if len(self._numbers) == 1:
            return SequenceBlocks.of(decode(last))
        numbers = list(self._numbers)

        def blocks() -> Iterator[SequenceRecord]:
            return (decode(self._load(number)) for number in numbers)

        return SequenceBlocks(blocks)

    def write_failures(self, group: OutputGroup, path: Path | None) -> None:
        """Name the sequences that could not be computed in a table, if there are any."""
        if self.failed and path is not None:
            rows = [self.failed[index] for index in sorted(self.failed)]
            pd.DataFrame(rows).to_csv(group.add(path), sep="\t", index=False)
