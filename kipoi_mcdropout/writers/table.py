"""Tables as files: Parquet, or tab-separated text, growing piece by piece."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet

from kipoi_mcdropout.standard_output import results
from kipoi_mcdropout.writers.atomic import PROVENANCE_KEY

_TSV = pa.csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")


class ParquetTable:
    """Parquet with the provenance as JSON in the schema's metadata."""

    def __init__(self, path: Path, provenance: dict[str, Any]) -> None:
        self.path = path
        self.metadata = {PROVENANCE_KEY: json.dumps(provenance)}
        self._writer: pa.parquet.ParquetWriter | None = None

    def write(self, table: pa.Table) -> None:
        """Append rows."""
        if self._writer is None:
            schema = table.schema.with_metadata(self.metadata)
            self._writer = pa.parquet.ParquetWriter(self.path, schema, compression="zstd")
        self._writer.write_table(table.cast(self._writer.schema))

    def close(self) -> None:
        """Write the footer."""
        if self._writer is not None:
            self._writer.close()


class TsvTable:
    """Tab-separated text with a header; its first line is a comment with the provenance as JSON.

    Read it with `pandas.read_table(path, skiprows=1)`. Gzipped if asked for. Without a path it goes to
    standard output.
    """

    def __init__(self, path: Path | None, provenance: dict[str, Any], compress: bool = False) -> None:
        self._is_stdout = path is None
        self._raw: IO[bytes] = results().buffer if path is None else path.open("wb")
        # No name and no date inside, so that equal tables are equal files.
        self._file: Any = gzip.GzipFile("", "wb", 6, self._raw, mtime=0) if compress else self._raw
        self._file.write(f"# {json.dumps({PROVENANCE_KEY: provenance})}\n".encode())
        self._header = True

    def write(self, table: pa.Table) -> None:
        """Append rows."""
        if self._header:
            self._file.write(("\t".join(table.column_names) + "\n").encode())
            self._header = False
        pa.csv.write_csv(_without_separators(table), self._file, _TSV)

    def close(self) -> None:
        """Close the file."""
        if self._is_stdout:
            self._raw.flush()
            return
        self._file.close()
        self._raw.close()


def _without_separators(table: pa.Table) -> pa.Table:
    """The table with tabs, line ends and quotes in its texts (labels, names) turned into spaces."""
    for i, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            clean = pa.compute.replace_substring_regex(table.column(i), r'[\t\r\n"]', " ")
            table = table.set_column(i, field, clean)
    return table


class RowWriter:
    """Writes items to a table, each turned into rows."""

    def __init__(
        self, table: ParquetTable | TsvTable, rows: Callable[[Any], Iterator[pa.Table]]
    ) -> None:
        self._table = table
        self._rows = rows

    def write(self, item: Any) -> None:
        """Append the rows of an item."""
        for table in self._rows(item):
            self._table.write(table)

    def close(self) -> None:
        """Finish the file."""
        self._table.close()


def open_table(name: str, path: Path | None, provenance: dict[str, Any]) -> ParquetTable | TsvTable:
    """The writer for the suffix of `name` (.parquet, .pq, .tsv, .tsv.gz), writing to `path`.

    The path None is standard output, for tab-separated text.
    """
    if path is not None and name.endswith((".parquet", ".pq")):
        return ParquetTable(path, provenance)
    return TsvTable(path, provenance, compress=name.endswith(".gz"))
