"""Tables as files: Parquet, AnnData, or tab-separated text, growing piece by piece."""

from __future__ import annotations

import contextlib
import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from kipoi_mcdropout.files.first_line import PROVENANCE_KEY, first_line
from kipoi_mcdropout.files.standard_output import results
from kipoi_mcdropout.files.text_fields import NEEDS_QUOTES

_ROWS_DIGITS = 12  # kept free in the first line


class Table(Protocol):
    """A file that takes rows."""

    def write(self, table: pa.Table, /) -> None:
        """Append rows."""
        ...

    def close(self) -> None:
        """Finish the file."""
        ...


class ParquetTable:
    """Parquet with the provenance as JSON in the schema's metadata."""

    def __init__(self, path: Path, provenance: dict[str, Any]) -> None:
        self.path = path
        self.metadata = {PROVENANCE_KEY: json.dumps(provenance)}
        self._writer: pa.parquet.ParquetWriter | None = None
        self._raw: IO[bytes] | None = None

    def write(self, table: pa.Table) -> None:
        """Append rows."""
        if self._writer is None:
            schema = table.schema.with_metadata(self.metadata)
            # Opened here: Arrow takes every name for UTF-8, whatever the locale.
            self._raw = self.path.open("wb")
            self._writer = pa.parquet.ParquetWriter(
                self._raw, schema, compression="zstd", write_page_checksum=True
            )
        self._writer.write_table(table.cast(self._writer.schema))

    def close(self) -> None:
        """Write the footer."""
        if self._writer is not None and self._raw is not None:
            self._writer.close()
            self._raw.close()


class TsvTable:
    r"""Tab-separated text with a header, by the rules of csv (RFC 4180).

    The first line is a comment: JSON with the provenance and the number of rows. Read the rest with
    `pandas.read_table(path, skiprows=1)` or `read.delim(path, skip = 1)`; `read.read_effects` gives
    the columns the right types too.

    A text (a label, a name) that has a tab, a line end, a quote or a ``#`` is put in quotes, with the
    quotes inside doubled; an empty text is ``""``, while a missing one is an empty field. Nothing else
    is changed: a label such as ``=1+1`` is written as it is, so take care with a spreadsheet program.

    The number of rows tells a file that was cut at the end of a line. It is null in standard output,
    whose first line cannot be changed any more, and in gzipped files, which show by themselves whether
    they are whole.

    Parameters
    ----------
    path : Path or None
        None for standard output.
    """

    def __init__(self, path: Path | None, provenance: dict[str, Any], compress: bool = False) -> None:
        self._is_stdout = path is None
        self._raw: IO[bytes] = results().buffer if path is None else path.open("wb")
        # No name and no date inside, so that equal tables are equal files.
        self._file: Any = gzip.GzipFile("", "wb", 6, self._raw, mtime=0) if compress else self._raw
        self._provenance = provenance
        self._counts = not (compress or self._is_stdout)
        self._file.write(self._first_line(None))
        self._n_rows = 0
        self._header = True

    def write(self, table: pa.Table) -> None:
        """Append rows."""
        if self._header:
            self._file.write(_lines([pa.array([name]) for name in table.column_names]))
            self._header = False
        self._file.write(_lines(table.columns))
        self._n_rows += table.num_rows

    def close(self) -> None:
        """Write the number of rows, and close the file."""
        if self._is_stdout:
            self._raw.flush()
            return
        if self._counts and not self._raw.closed:
            self._raw.seek(0)
            self._raw.write(self._first_line(self._n_rows))
        self._file.close()
        self._raw.close()

    def _first_line(self, n_rows: int | None) -> bytes:
        """Of the same length whatever the number."""
        return first_line(self._provenance, n_rows, _ROWS_DIGITS if self._counts else 0).encode()


def _lines(columns: Sequence[Any]) -> memoryview | bytes:
    """Rows as text."""
    if not columns or not len(columns[0]):
        return b""
    fields = [_fields(column) for column in columns]
    lines = _joined(_joined(*fields, between="\t"), pa.scalar("", pa.large_string()), between="\n")
    _, offsets, text = lines.buffers()
    ends = np.frombuffer(offsets, np.int64)[[lines.offset, lines.offset + len(lines)]]
    return memoryview(text)[ends[0] : ends[1]]


def _fields(column: Any) -> pa.Array:
    """A column as text; a missing value is an empty field."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    texts = pc.cast(column, pa.large_string())
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return texts
    quoted = pc.or_(pc.match_substring_regex(texts, NEEDS_QUOTES), pc.equal(texts, ""))
    if not pc.any(quoted).as_py():
        return texts
    quote = pa.scalar('"', pa.large_string())
    doubled = pc.replace_substring(texts, '"', '""')
    return pc.if_else(quoted, _joined(quote, doubled, quote, between=""), texts)


def _joined(*parts: Any, between: str) -> Any:
    separator = pa.scalar(between, pa.large_string())
    return pc.binary_join_element_wise(*parts, separator, null_handling="replace", null_replacement="")


def write_all(table: Table, pieces: Iterable[pa.Table]) -> None:
    """Write rows and close the table; an error stays the one that came, whatever closing then finds."""
    try:
        for rows in pieces:
            table.write(rows)
    except BaseException:
        with contextlib.suppress(OSError, ValueError):
            table.close()
        raise
    table.close()


class RowWriter:
    """Writes items to a table, each turned into rows."""

    def __init__(
        self, table: Table, rows: Callable[[Any], Iterator[pa.Table]]
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


def open_table(name: str, path: Path | None, provenance: dict[str, Any]) -> Table:
    """The writer for the suffix of `name` (.parquet, .pq, .h5ad, .tsv, .tsv.gz), writing to `path`.

    The path None is standard output, for tab-separated text. AnnData (.h5ad) takes effects alone.
    """
    if path is not None and name.endswith(".h5ad"):
        from kipoi_mcdropout.files.h5ad_write import H5adTable

        return H5adTable(path, provenance)
    if path is not None and name.endswith((".parquet", ".pq")):
        return ParquetTable(path, provenance)
    return TsvTable(path, provenance, compress=name.endswith(".gz"))
