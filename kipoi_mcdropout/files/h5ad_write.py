"""Tables of effects as AnnData (.h5ad), growing piece by piece.

The file is written with h5py, as described in `h5ad_layout`, and not by the package anndata, which
writes only what is whole in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from kipoi_mcdropout.effects.columns import OUTPUT_EPS
from kipoi_mcdropout.effects.z import z_of_piece
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.column_types import to_frame
from kipoi_mcdropout.files.first_line import PROVENANCE_KEY
from kipoi_mcdropout.files.h5ad_layout import (
    ARRAY,
    COLUMNS,
    FRAME,
    INDEX,
    MAPPING,
    NUMBER,
    OF_MUTANT,
    OF_OUTPUT,
    ROOT,
    TEXT,
    TEXT_ARRAY,
    X,
    Z,
    mark,
)
from kipoi_mcdropout.files.h5ad_mutants import Mutants
from kipoi_mcdropout.files.hdf5 import ErrorKeepingFile
from kipoi_mcdropout.files.held_signals import held_signals
from kipoi_mcdropout.files.provenance import has_own_draws

_CHUNK_BYTES = 2**19  # less than what HDF5 keeps of a dataset in memory
_MOST_ROWS = 2**14  # of a chunk
_DRAWS = "n_draws"
_AT_ONCE = 20_000  # rows that are gathered before they are written


class H5adTable:
    """AnnData with a row for each mutant and a column for each output and score.

    Takes the rows of a table in the order in which runs write them: those of a mutant together, its
    outputs in one order, and the mutants of every score in one order. Memory holds some
    thousand rows, the labels, and 8 bytes for each mutant.

    Raises
    ------
    InputError
        In `write` and `close`, if rows are missing or stand in another order, if a column has no place
        in AnnData, or if only some of the mutants have a place on the genome.
    OSError
        If the file cannot be written.
    """

    @held_signals()
    def __init__(self, path: Path, provenance: dict[str, Any]) -> None:
        self._raw = ErrorKeepingFile(path)
        self._file = mark(h5py.File(self._raw, "w"), ROOT)
        for name in ("layers", "obsm", "obsp", "varm", "varp"):
            mark(self._file.create_group(name), MAPPING)
        self._provenance = provenance
        self._mutants = Mutants(self._file.create_group("obs"))
        self._schema: pa.Schema | None = None
        self._waiting: list[pa.Table] = []
        self._outputs: dict[tuple[str, str], int] = {}  # output and score: rows that it has
        self._eps: dict[tuple[str, str], float] = {}
        self._is_whole = True

    @held_signals()
    def write(self, table: pa.Table) -> None:
        """Append rows."""
        self._is_whole = False
        if self._schema is None:
            self._begin(table.schema)
        self._waiting.append(table)
        if sum(map(len, self._waiting)) >= _AT_ONCE:
            self._put_all(is_last=False)
        self._is_whole = True

    @held_signals()
    def close(self) -> None:
        """Write the names, and close the file; after an error in `write` only close it.

        Does nothing the second time.
        """
        if not self._file:
            return
        try:
            if self._is_whole:
                self._finish()
        finally:
            self._file.close()
            self._raw.close()
        self._raw.check()

    def _finish(self) -> None:
        if self._waiting:
            self._put_all(is_last=True)
        self._check_whole()
        if "X" not in self._file:
            self._matrices(1)
        self._mutants.finish()
        self._write_outputs()
        self._write_run()

    def _begin(self, schema: pa.Schema) -> None:
        self._schema = schema
        kept = (*OF_MUTANT, *OF_OUTPUT, *(() if self._has_own_draws else (_DRAWS,)))
        self._statistics = [name for name in schema.names if name not in kept]
        for name in self._statistics:
            kind = schema.field(name).type
            if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
                raise InputError(
                    f"AnnData has no place for the column {name!r} of a table of effects, which is of "
                    f"the type {kind}. Write .parquet or .tsv"
                )

    @property
    def _has_own_draws(self) -> bool:
        return has_own_draws(self._provenance)

    def _matrices(self, n_outputs: int) -> None:
        """Make the matrices, in chunks for blocks of `n_outputs` columns."""
        kinds = {} if self._schema is None else {n: self._schema.field(n).type for n in self._statistics}
        dtypes = {X: np.float32, Z: np.float32} | {n: k.to_pandas_dtype() for n, k in kinds.items()}
        for name, dtype in dtypes.items():
            row_bytes = n_outputs * np.dtype(dtype).itemsize
            chunk = (max(1, min(_MOST_ROWS, _CHUNK_BYTES // row_bytes)), n_outputs)
            dataset = self._file.create_dataset(
                _path(name), (0, 0), dtype, maxshape=(None, None), chunks=chunk, compression="gzip",
                compression_opts=1, shuffle=True,
            )  # fmt: skip
            mark(dataset, ARRAY)

    def _put_all(self, *, is_last: bool) -> None:
        """Write the mutants that are whole, and keep the other rows."""
        table = pa.concat_tables(self._waiting)
        self._waiting = []
        for run, ends_table in _runs_of_a_score(table):
            while len(run):
                n_outputs = _outputs_of_a_mutant(run)
                if n_outputs == 0:
                    if ends_table and not is_last:  # its other outputs may come
                        self._waiting = [run]
                        break
                    n_outputs = len(run)
                n = _alike(run, n_outputs)
                self._put(run.slice(0, n * n_outputs), n_outputs)
                run = run.slice(n * n_outputs)
        self._raw.check()

    def _put(self, rows: pa.Table, n_outputs: int) -> None:
        """Write whole mutants, of one score and with `n_outputs` rows each."""
        score = rows.column("score")[0].as_py()
        keys = [(label, score) for label in rows.column("output").slice(0, n_outputs).to_pylist()]
        n = len(rows) // n_outputs
        first_column, first = self._place(keys)
        of_mutant = rows.select([name for name in rows.column_names if name in OF_MUTANT])
        self._mutants.put(of_mutant.take(np.arange(0, len(rows), n_outputs)), first)
        for key in keys:
            self._outputs[key] += n
        if OUTPUT_EPS in rows.column_names:
            self._eps.update(dict.fromkeys(keys, rows.column(OUTPUT_EPS)[0].as_py()))
        if "X" not in self._file:
            self._matrices(n_outputs)
        frame = to_frame(rows.select([name for name in rows.column_names if name not in OF_MUTANT]))
        columns = {name: frame[name].to_numpy() for name in self._statistics}
        if Z not in columns:
            columns[Z] = z_of_piece(frame)
        for name, values in columns.items():
            dataset = self._file[_path(name)]
            dataset.resize((self._mutants.n, len(self._outputs)))
            cells = values.reshape(n, n_outputs).astype(dataset.dtype)
            dataset[first : first + n, first_column : first_column + n_outputs] = cells

    def _place(self, keys: list[tuple[str, str]]) -> tuple[int, int]:
        """First column and row of a block; new outputs get columns of their own."""
        if keys[0] not in self._outputs:
            if any(key in self._outputs for key in keys) or len(set(keys)) < len(keys):
                raise _disordered("an output stands in other places for other mutants")
            self._outputs.update(dict.fromkeys(keys, 0))
        order = list(self._outputs)
        first = order.index(keys[0])
        counts = {self._outputs.get(key) for key in keys}
        if order[first : first + len(keys)] != keys or len(counts) > 1:
            raise _disordered("the outputs of a mutant stand in another order than those of others")
        return first, self._outputs[keys[0]]

    def _check_whole(self) -> None:
        short = {key for key, n in self._outputs.items() if n < self._mutants.n}
        if short:
            output, score = min(short)
            raise _disordered(
                f"output {output!r} and score {score!r} have {self._outputs[output, score]:,} of "
                f"{self._mutants.n:,} mutants"
            )

    def _write_outputs(self) -> None:
        var = mark(self._file.create_group("var"), FRAME)
        scores = {score for _, score in self._outputs}
        names = [o if len(scores) < 2 else f"{o} {s}" for o, s in self._outputs]
        columns: dict[str, Any] = {
            "output": [output for output, _ in self._outputs],
            "score": [score for _, score in self._outputs],
        }
        _write_texts(var, INDEX, names)
        for name, texts in columns.items():
            _write_texts(var, name, texts)
        if self._eps:
            eps = np.array([self._eps[key] for key in self._outputs], np.float64)
            mark(var.create_dataset(OUTPUT_EPS, data=eps), ARRAY)
        var.attrs["_index"] = INDEX
        order = [*columns, *([OUTPUT_EPS] if self._eps else [])]
        var.attrs["column-order"] = np.array(order, h5py.string_dtype("utf-8"))

    def _write_run(self) -> None:
        record = self._provenance
        uns = mark(self._file.create_group("uns"), MAPPING)
        for name, text in {
            PROVENANCE_KEY: json.dumps(record),
            "X": X,
            "model": str(record.get("model", {}).get("name", "")),
            "coordinates": "pos counts from 1, position from 0",
        }.items():
            mark(uns.create_dataset(name, data=text, dtype=h5py.string_dtype("utf-8")), TEXT)
        for name in ("seed", _DRAWS):
            mark(uns.create_dataset(name, data=int(record[name])), NUMBER)
        _write_texts(uns, COLUMNS, [] if self._schema is None else self._schema.names)


def _path(name: str) -> str:
    return "X" if name == X else f"layers/{name}"


def _write_texts(group: h5py.Group, name: str, texts: list[str]) -> None:
    dtype = h5py.string_dtype("utf-8")
    mark(group.create_dataset(name, data=np.array(texts, object), dtype=dtype), TEXT_ARRAY)


def _runs_of_a_score(table: pa.Table) -> Iterator[tuple[pa.Table, bool]]:
    """Consecutive rows of one score, with whether they end the table."""
    codes = _codes(table, "score")
    ends = [*(np.flatnonzero(codes[1:] != codes[:-1]) + 1).tolist(), len(codes)]
    for first, end in zip([0, *ends], ends, strict=False):
        if end > first:
            yield table.slice(first, end - first), end == len(codes)


def _outputs_of_a_mutant(rows: pa.Table) -> int:
    """After how many rows the first output comes again; 0 where it does not."""
    codes = _codes(rows, "output")
    again = np.flatnonzero(codes[1:] == codes[0])
    return int(again[0]) + 1 if len(again) else 0


def _alike(rows: pa.Table, n_outputs: int) -> int:
    """How many mutants at the beginning have the outputs of the first, in its order."""
    codes = _codes(rows, "output")
    mutants = codes[: len(codes) // n_outputs * n_outputs].reshape(-1, n_outputs)
    other = np.flatnonzero((mutants != mutants[0]).any(axis=1))
    return int(other[0]) if len(other) else len(mutants)


def _codes(table: pa.Table, name: str) -> NDArray[np.int32]:
    """A number for each distinct text of a column."""
    column = pc.dictionary_encode(table.column(name).combine_chunks())
    codes: NDArray[np.int32] = column.indices.to_numpy(zero_copy_only=False)
    return codes


def _disordered(what: str) -> InputError:
    return InputError(
        "AnnData needs every output of every mutant, in the order in which a run writes them; "
        f"{what}. Write .parquet or .tsv, or give the result of the run itself"
    )
