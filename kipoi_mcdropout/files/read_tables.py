"""Reads text tables, Parquet and AnnData. Column types follow from the names.

An incomplete file is an error.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from kipoi_mcdropout.errors import InputError, McDropoutError
from kipoi_mcdropout.files.column_types import to_frame, types_of
from kipoi_mcdropout.files.first_line import ROWS_KEY, parse_first_line
from kipoi_mcdropout.files.h5ad_read import h5ad_tables, is_h5ad

_Rows = TypeVar("_Rows", pa.Table, pa.RecordBatch)
_MISSING = ["", "nan", "NaN", "NA"]  # in columns of numbers
_BLOCK_BYTES = 2**24
_ROWS = 100_000
_DAMAGE = (OSError, EOFError, zlib.error, ValueError, KeyError, RuntimeError, pa.ArrowException)


def is_parquet(path: Path) -> bool:
    """By its name."""
    return path.name.endswith((".parquet", ".pq"))


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Damage that a reader meets becomes an InputError that names the file."""
    try:
        yield
    except McDropoutError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}. Check the path") from error
    except (
        OSError,
        EOFError,
        zlib.error,
        ValueError,
        KeyError,
        RuntimeError,
        pa.ArrowException,
    ) as error:
        raise InputError(
            f"{path} cannot be read: {_one_line(error)}. It is damaged, cut, or of another kind than "
            "its name says. Write or copy it again"
        ) from error


def read_table(path: str | Path) -> pd.DataFrame:
    """A table that one of our commands wrote, .tsv, .tsv.gz, .parquet, .pq or .h5ad.

    Raises
    ------
    InputError
        The file is damaged, or has fewer or more rows than its first line says.
    """
    parts = list(iter_table(Path(path)))
    return pd.concat(parts, ignore_index=True) if len(parts) != 1 else parts[0]


def iter_table(path: Path) -> Iterator[pd.DataFrame]:
    """The rows of `read_table` in pieces of some ten thousand; at least one piece, maybe of no rows."""
    for rows in _tables(path):
        with reading(path):
            frame = to_frame(rows)
        yield frame


def _tables(path: Path) -> Iterator[pa.Table]:
    if is_h5ad(path):
        yield from _guarded(h5ad_tables(path), path)
        return
    for batch in _parquet_batches(path) if is_parquet(path) else _text_batches(path):
        yield pa.Table.from_batches([batch])


@dataclass(frozen=True)
class TextHeader:
    """The beginning of a text table.

    `record` is the JSON of its first line, if there is one; `n_rows` the number of rows it says.
    """

    columns: tuple[str, ...]
    record: dict[str, Any] | None

    @property
    def n_rows(self) -> int | None:
        """Rows that a whole file has; None where that is not known."""
        return None if self.record is None else self.record.get(ROWS_KEY)


def read_header(path: Path) -> TextHeader:
    """The provenance and the columns of a text table.

    Raises
    ------
    InputError
        The file cannot be read.
    """
    with reading(path), open_text(path) as lines:
        line = lines.readline()
        record = parse_first_line(line)
        if record is not None:
            line = lines.readline()
    return TextHeader(tuple(line.rstrip("\r\n").split("\t")), record)


def open_text(path: Path) -> IO[str]:
    """A text file, gzipped or not, as UTF-8."""
    if path.name.endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def _binary(path: Path) -> IO[bytes]:
    """The bytes of a text file, gzipped or not; opened here for the same reason as Parquet."""
    return gzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb")  # type: ignore[return-value]


def _parquet_batches(path: Path) -> Iterator[pa.RecordBatch]:
    with reading(path):
        raw = path.open("rb")  # here, as Arrow takes every name for UTF-8, whatever the locale
    with raw:
        with reading(path):
            file = pa.parquet.ParquetFile(raw, page_checksum_verification=True)
        if file.metadata.num_rows == 0:
            yield pa.RecordBatch.from_pylist([], schema=file.schema_arrow)
        schema = file.schema_arrow  # draws are read by `background.read_background` alone
        names = [field.name for field in schema if not pa.types.is_fixed_size_list(field.type)]
        yield from _guarded(file.iter_batches(_ROWS, columns=names), path)


def _text_batches(path: Path) -> Iterator[pa.RecordBatch]:
    header = read_header(path)
    options = pa.csv.ConvertOptions(
        column_types=types_of(header.columns), null_values=_MISSING, strings_can_be_null=False
    )
    with reading(path):
        _check_last_line(path)
        source = _binary(path)  # Arrow does not close it
    n_rows = 0
    with source:
        with reading(path):
            reader = pa.csv.open_csv(
                source,
                pa.csv.ReadOptions(skip_rows=0 if header.record is None else 1, block_size=_BLOCK_BYTES),
                pa.csv.ParseOptions(delimiter="\t", newlines_in_values=True),
                options,
            )
        with reader:
            for batch in _guarded(reader, path):
                n_rows += batch.num_rows
                yield batch
            if n_rows == 0:
                yield pa.RecordBatch.from_pylist([], schema=reader.schema)
    if header.n_rows is not None and header.n_rows != n_rows:
        raise InputError(
            f"{path} has {n_rows:,} of the {header.n_rows:,} rows that its first line says: it was cut, "
            f'or rows were removed. If you removed them, take ", \\"{ROWS_KEY}\\": {header.n_rows}" '
            "out of the first line too; else write or copy it again"
        )


def _guarded(batches: Iterable[_Rows], path: Path) -> Iterator[_Rows]:
    """The batches; damage met on the way is an InputError."""
    iterator = iter(batches)
    while True:
        with reading(path):
            batch = next(iterator, None)
        if batch is None:
            return
        yield batch


def _check_last_line(path: Path) -> None:
    """Raise InputError where the last line has no end: the file was cut."""
    if path.name.endswith(".gz"):
        return  # a gzipped file that was cut has no end marker, and the reader says so
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            raise InputError(f"{path} is empty. Write or copy it again")
        file.seek(-1, os.SEEK_END)
        if file.read(1) not in b"\r\n":
            raise InputError(f"{path} ends in the middle of a line: it was cut. Write or copy it again")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
