"""The table of a run over a VCF: rows go to a hidden Arrow file, which becomes the table in the end.

So q-values of all rows can be computed, and the counts of the whole run recorded, before it is written.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kipoi_mcdropout.effects.columns import P_EMPIRICAL, Q_EMPIRICAL
from kipoi_mcdropout.effects.false_discovery import benjamini_hochberg
from kipoi_mcdropout.effects.streamed_q import StreamedQs
from kipoi_mcdropout.files.table import open_table
from kipoi_mcdropout.significance.ranked_rows import groups_of

Q_VALUE = "q_value"


class TableOutput:
    """Rows that become a table.

    Parameters
    ----------
    name : str
        Of the finished file; its suffix says the format.
    rows : Path
        Where the rows are kept meanwhile.
    target : Path
        Where the table is written by `finish`.
    schema : pyarrow.Schema
    """

    def __init__(self, name: str, rows: Path, target: Path, schema: pa.Schema) -> None:
        self._name, self._path, self._target, self.schema = name, rows, target, schema
        self._file = pa.OSFile(os.fsencode(rows), "wb")  # a text would be taken for UTF-8
        options = pa.ipc.IpcWriteOptions(compression="lz4", emit_dictionary_deltas=False)
        self._stream = pa.ipc.new_stream(self._file, schema, options=options)

    def write(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Append rows."""
        for batch in batches:
            self._stream.write_batch(batch)

    def finish(self, provenance: Mapping[str, Any], q_values: bool, ranked: bool = False) -> None:
        """Write the table.

        Parameters
        ----------
        provenance : mapping
        q_values : bool
            With q-values of Benjamini and Hochberg of `p_value`, over all rows of a score.
        ranked : bool
            With those of `p_empirical`, over all rows of a score and output.
        """
        self.close()
        q = self._q_values() if q_values else None
        empirical = self._empirical() if ranked else None
        table = open_table(self._name, self._target, dict(provenance))
        try:
            empty = pa.RecordBatch.from_pylist([], schema=self.schema)  # no rows make a table too
            for batch in _with_q(itertools.chain([empty], self._read()), q):
                table.write(_plain(batch if empirical is None else _with_empirical(batch, empirical)))
        finally:
            table.close()

    def close(self) -> None:
        """Close the file of rows; does nothing the second time."""
        if not self._file.closed:
            try:
                self._stream.close()
            finally:
                self._file.close()

    def _read(self) -> Iterator[pa.RecordBatch]:
        with pa.OSFile(os.fsencode(self._path), "rb") as file:
            yield from pa.ipc.open_stream(file)

    def _empirical(self) -> StreamedQs:
        """q-values of `p_empirical`, by score and output."""
        found = StreamedQs()
        for batch in self._read():
            p = batch.column(P_EMPIRICAL).to_numpy(zero_copy_only=False)
            for key, rows in _pairs(batch).items():
                found.add(key, p[rows])
        return found

    def _q_values(self) -> dict[str, NDArray[np.float64]]:
        """q-values by score, in the order of the rows; 8 bytes a row are held in memory."""
        found: dict[str, list[NDArray[np.float64]]] = {}
        for batch in self._read():
            if batch.num_rows:
                score = batch.column("score")[0].as_py()
                found.setdefault(score, []).append(batch.column("p_value").to_numpy())
        return {score: benjamini_hochberg(np.concatenate(parts)) for score, parts in found.items()}


def _pairs(batch: pa.RecordBatch) -> dict[tuple[str, str], NDArray[np.int64]]:
    """Rows of each score and output."""
    return groups_of(batch.select(["score", "output"]).to_pandas()) if batch.num_rows else {}


def _with_empirical(batch: pa.RecordBatch, empirical: StreamedQs) -> pa.RecordBatch:
    p = batch.column(P_EMPIRICAL).to_numpy(zero_copy_only=False)
    q = np.full(len(p), np.nan)
    for key, rows in _pairs(batch).items():
        q[rows] = empirical.q(key, p[rows])
    return batch.append_column(Q_EMPIRICAL, pa.array(q))


def _with_q(
    batches: Iterator[pa.RecordBatch], q: dict[str, NDArray[np.float64]] | None
) -> Iterator[pa.RecordBatch]:
    used: dict[str, int] = {}
    for batch in batches:
        if q is None:
            yield batch
        else:
            score = batch.column("score")[0].as_py() if batch.num_rows else ""
            begin = used.get(score, 0)
            used[score] = begin + batch.num_rows
            values = q[score][begin : used[score]] if batch.num_rows else np.empty(0)
            yield batch.append_column(Q_VALUE, pa.array(values))


def _plain(batch: pa.RecordBatch) -> pa.Table:
    """The rows with their texts written out."""
    table = pa.Table.from_batches([batch])
    for i, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(i, field.name, table.column(i).cast(pa.string()))
    return table
