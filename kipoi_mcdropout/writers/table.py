"""Tidy tables: a row per sequence, substitution, output and score, as TSV or Parquet."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet

from kipoi_mcdropout.effects import EffectSummary
from kipoi_mcdropout.mutants import chunks
from kipoi_mcdropout.writers.record import SequenceRecord

PROVENANCE_KEY = "kipoi_mcdropout"
_ROWS = 100_000  # of a table held at a time
_TSV = pa.csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")


def record_tables(record: SequenceRecord) -> Iterator[pa.Table]:
    """The rows of one sequence, in pieces.

    Columns: `sequence` (number, from 0) and `name`; `chrom`, `pos` (1-based, as in a VCF) and `strand`
    where the dataloader gives ranges, else null; `position` (0-based, in the sequence), `ref` and
    `alt` (on the sequence's own strand), `output`, `score`, then the statistics of
    `effects.EffectSummary` as float32, the counts, and `n_draws`.
    """
    n_outputs = len(record.effects.targets.labels)
    n_mutants = len(record.effects.substitutions.position)
    for summary in record.effects.summaries:
        for rows in chunks(n_mutants, max(1, _ROWS // n_outputs)):
            yield _rows(record, summary, rows)


def _rows(record: SequenceRecord, summary: EffectSummary, rows: slice) -> pa.Table:
    effects, edits = record.effects, record.effects.substitutions
    labels, letters = effects.targets.labels, np.array(effects.layout.letters())
    position, n_outputs = edits.position[rows], len(labels)
    n = len(position) * n_outputs

    def per_mutant(values: Any) -> Any:
        return np.repeat(values, n_outputs)

    def constant(value: Any, kind: pa.DataType) -> pa.Array:
        return pa.repeat(pa.scalar(value, kind), n)

    where = record.range
    pos = None if where is None else per_mutant(where.position_1_based(position))
    columns: dict[str, Any] = {
        "sequence": constant(record.index, pa.int64()),
        "name": constant(record.name, pa.string()),
        "chrom": constant(None if where is None else where.chrom, pa.string()),
        "pos": pa.nulls(n, pa.int64()) if pos is None else pa.array(pos, pa.int64()),
        "strand": constant(None if where is None else where.strand, pa.string()),
        "position": pa.array(per_mutant(position), pa.int64()),
        "ref": pa.array(per_mutant(letters[effects.reference[position]])),
        "alt": pa.array(per_mutant(letters[edits.alt[rows]])),
        "output": pa.array(np.tile(np.array(labels, dtype=object), len(position)), pa.string()),
        "score": constant(summary.score.name, pa.string()),
    }
    for name, values in summary.reference.items():
        columns[name] = pa.array(np.tile(values[0].astype(np.float32), len(position)))
    for name, values in summary.per_mutant().items():
        if name != "effect_draws":  # kept in HDF5 only
            kind = np.int32 if name in summary.counts else np.float32
            columns[name] = pa.array(values[rows].reshape(-1).astype(kind))
    columns["n_draws"] = constant(summary.n_draws, pa.int32())
    return pa.table(columns)


class ParquetWriter:
    """Parquet with the provenance as JSON in the schema's metadata."""

    def __init__(self, path: Path, provenance: dict[str, Any]) -> None:
        self.path = path
        self.metadata = {PROVENANCE_KEY: json.dumps(provenance)}
        self._writer: pa.parquet.ParquetWriter | None = None

    def write(self, record: SequenceRecord) -> None:
        """Append the rows of a sequence."""
        for table in record_tables(record):
            if self._writer is None:
                schema = table.schema.with_metadata(self.metadata)
                self._writer = pa.parquet.ParquetWriter(self.path, schema, compression="zstd")
            self._writer.write_table(table.cast(self._writer.schema))

    def close(self) -> None:
        """Write the footer."""
        if self._writer is not None:
            self._writer.close()


class TsvWriter:
    """Tab-separated text with a header; its first line is a comment with the provenance as JSON.

    Read it with `pandas.read_csv(path, sep="\\t", comment="#")`. Gzipped where the path ends in .gz.
    """

    def __init__(self, path: Path, provenance: dict[str, Any], compress: bool = False) -> None:
        self._file: IO[bytes] = gzip.open(path, "wb", 6) if compress else path.open("wb")
        self._file.write(f"# {json.dumps({PROVENANCE_KEY: provenance})}\n".encode())
        self._header = True

    def write(self, record: SequenceRecord) -> None:
        """Append the rows of a sequence."""
        for table in record_tables(record):
            if self._header:
                self._file.write(("\t".join(table.column_names) + "\n").encode())
                self._header = False
            pa.csv.write_csv(_without_separators(table), self._file, _TSV)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _without_separators(table: pa.Table) -> pa.Table:
    """The table with tabs, line ends and quotes in its texts (labels, names) turned into spaces."""
    for i, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            clean = pa.compute.replace_substring_regex(table.column(i), r'[\t\r\n"]', " ")
            table = table.set_column(i, field, clean)
    return table
