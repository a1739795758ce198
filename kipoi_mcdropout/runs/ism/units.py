"""The units of a run of ISM: blocks of the substitutions of one sequence."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from kipoi_mcdropout.arrays.nested import Nested, leaves, n_rows, take
from kipoi_mcdropout.effects.saturation import SaturationMutagenesis, SequenceEffects
from kipoi_mcdropout.errors import McDropoutError
from kipoi_mcdropout.files.record import metadata_rows, sequence_name
from kipoi_mcdropout.runs.compute import Unit


@dataclass(frozen=True)
class Block:
    """Which part of which sequence a unit is.

    A sequence is cut into several blocks where the model has many outputs.
    """

    sequence: int  # in the order of the dataloader, from 0
    number: int  # of the block in the sequence, from 0
    of: int  # blocks of the sequence
    metadata: dict[str, Any]  # Kipoi's, flat

    @property
    def name(self) -> str:
        """See `record.sequence_name`."""
        return sequence_name(self.metadata, self.sequence)


@dataclass(frozen=True)
class BlockTask:
    """The work of a unit: some substitutions of a sequence.

    `rows` says which: from the first to the one before the last number, counted from 0. It is None where
    the substitutions could not be listed; `run` then raises the error that said why.
    """

    inputs: Nested  # one row
    rows: tuple[int, int] | None

    def run(self, mutagenesis: SaturationMutagenesis, progress: Any = None) -> SequenceEffects:
        """Compute the substitutions.

        Parameters
        ----------
        mutagenesis : SaturationMutagenesis
        progress : callable, optional
            Called with the number of (mutant, draw) pairs just computed, and with that of the unit.

        Raises
        ------
        Exception
            What the model raises, or McDropoutError where the sequence cannot be mutated.
        """
        (sequence,) = mutagenesis.sequences(self.inputs)
        if self.rows is None:
            mutagenesis.blocks(sequence)
            raise AssertionError("a sequence without blocks has an error that occurs again")
        total = len(sequence.substitutions.position) * mutagenesis.n_passes
        report = None if progress is None else lambda done: progress(done, total)
        return mutagenesis.block(sequence, slice(*self.rows), report)


def ism_units(
    batches: Iterable[dict[str, Any]], mutagenesis: SaturationMutagenesis
) -> Iterator[Unit[Block, BlockTask]]:
    """Yield the blocks of all sequences, in order; `batches` are those of a dataloader."""
    number = index = 0
    for batch in batches:
        n = n_rows(batch["inputs"])
        for i, metadata in enumerate(metadata_rows(batch, n)):
            inputs = take(batch["inputs"], slice(i, i + 1))
            digest, rows = inputs_digest(inputs), _rows(mutagenesis, inputs)
            for block, part in enumerate(rows):
                item, task = Block(index, block, len(rows), metadata), BlockTask(inputs, part)
                yield Unit(number, digest, item, partial(_same, task))
                number += 1
            index += 1


def _same(task: BlockTask) -> BlockTask:
    """The task itself, for `Unit.load`: it is in memory already."""
    return task


def _rows(mutagenesis: SaturationMutagenesis, inputs: Nested) -> list[tuple[int, int] | None]:
    """The blocks of a sequence; one None where they cannot be listed, for a unit that fails."""
    try:
        (sequence,) = mutagenesis.sequences(inputs)
        return [(rows.start, rows.stop) for rows in mutagenesis.blocks(sequence)]
    except McDropoutError as error:
        if error.stops_the_run:
            raise
        return [None]
    except Exception:  # noqa: BLE001 (a user's model can raise anything; it will be said of the unit)
        return [None]


def inputs_digest(inputs: Nested) -> str:
    """SHA-256 of the inputs of a sequence (names, shapes, dtypes and values): 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for path, leaf in leaves(inputs):
        array = np.ascontiguousarray(leaf)
        digest.update(repr((path, array.shape, str(array.dtype))).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
