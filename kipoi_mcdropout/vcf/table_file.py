"""The table on disk: rows stream into a hidden Arrow file, which becomes Parquet or text at the end.

The hidden file is a sequence of small Arrow streams, one after another, so a run that was killed can go
on after the last whole one; and p-values of all rows can be looked at before the table is written.
"""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kipoi_mcdropout.vcf.parts import PartFile, part_of
from kipoi_mcdropout.writers.table import open_table

TABLE_SUFFIXES = (".parquet", ".pq", ".tsv", ".tsv.gz")
Q_VALUE = "q_value"


class TableFile:
    """Rows that become PATH.parquet, PATH.tsv or PATH.tsv.gz.

    Parameters
    ----------
    path : str or Path
    schema : pyarrow.Schema
    part : Path, optional
        Where the rows are meanwhile; a hidden file beside `path` by default.
    offset : int
        Keep so many bytes of it that an earlier run left.
    """

    def __init__(
        self, path: str | Path, schema: pa.Schema, part: Path | None = None, offset: int = 0
    ) -> None:
        self.path = Path(path)
        self.schema = schema
        self._rows = PartFile(self.path.with_name(self.path.name + ".arrow"), part, offset)

    def write(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Append rows."""
        memory = io.BytesIO()
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with pa.ipc.new_stream(memory, self.schema, options=options) as stream:
            for batch in batches:
                stream.write_batch(batch)
        self.write_bytes(memory.getvalue())

    def write_bytes(self, data: bytes) -> None:
        """Append rows as another part file has them."""
        self._rows.write(data)

    def offset(self) -> int:
        """Bytes in the hidden file by now."""
        return self._rows.offset()

    def finish(self, provenance: Mapping[str, Any], q_values: bool) -> None:
        """Write the table under its name, with q-values of Benjamini and Hochberg if asked for."""
        self._rows.offset()
        q = self._q_values() if q_values else None
        target = part_of(self.path)
        table = open_table(self.path.name, target, dict(provenance))
        empty = pa.RecordBatch.from_pylist([], schema=self.schema)  # so that no rows make a table too
        for batch in _with_q(itertools.chain([empty], self._read()), q):
            table.write(_plain(batch))
        table.close()
        os.replace(target, self.path)
        self._rows.abandon(remove=True)

    def abandon(self, remove: bool) -> None:
        """Close the file, unfinished."""
        self._rows.abandon(remove)
        part_of(self.path).unlink(missing_ok=True)

    def _read(self) -> Iterator[pa.RecordBatch]:
        with self._rows.part.open("rb") as file:
            end = os.fstat(file.fileno()).st_size
            while file.tell() < end:
                yield from pa.ipc.open_stream(file)

    def _q_values(self) -> dict[str, NDArray[np.float64]]:
        """q-values by score, in the order of the rows; 8 bytes a row are held in memory."""
        found: dict[str, list[NDArray[np.float64]]] = {}
        for batch in self._read():
            if batch.num_rows:
                score = batch.column("score")[0].as_py()
                found.setdefault(score, []).append(batch.column("p_value").to_numpy())
        return {score: benjamini_hochberg(np.concatenate(parts)) for score, parts in found.items()}


def benjamini_hochberg(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """q-values that control the false discovery rate; NaN stays NaN and does not count as a test.

    Benjamini and Hochberg, "Controlling the false discovery rate" (1995): the smallest level at which
    each test is rejected by the step-up procedure.

    >>> benjamini_hochberg(np.array([0.01, 0.04, 0.03])).tolist()
    [0.03, 0.04, 0.04]
    """
    q = np.full(len(p), np.nan)
    valid = np.flatnonzero(np.isfinite(p))
    order = valid[np.argsort(p[valid], kind="stable")]
    n = len(order)
    scaled = p[order] * n / np.arange(1, n + 1)
    q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return q


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
