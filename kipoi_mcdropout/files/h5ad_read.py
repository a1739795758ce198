"""Reads AnnData (.h5ad) that `h5ad_write` made, also where its rows or columns were chosen since."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.first_line import PROVENANCE_KEY
from kipoi_mcdropout.files.h5ad_layout import COLUMNS, OF_MUTANT, OF_OUTPUT, X, Z

_CELLS = 200_000  # of a statistic that are read at a time


def is_h5ad(path: Path) -> bool:
    """By its name."""
    return path.name.endswith(".h5ad")


def h5ad_record(path: Path) -> dict[str, Any] | None:
    """The record of the run; None where the file has none.

    Raises
    ------
    OSError
        If it is no HDF5 file.
    """
    with _opened(path) as file:
        text = file.get(f"uns/{PROVENANCE_KEY}")
        record: dict[str, Any] | None = None if text is None else json.loads(text.asstr()[()])
        return record


def h5ad_tables(path: Path) -> Iterator[pa.Table]:
    """The rows of the table that the file was made of, in pieces; at least one, maybe of no rows.

    For each sequence they are in the order of the scores. The alleles of a VCF are in the order of the
    scores as a whole. The columns are those of the table; z, where that had none, is left out.

    Raises
    ------
    InputError
        If the file is no AnnData of this package, or a part of it is of a kind that is not read.
    """
    record = h5ad_record(path)
    if record is None:
        raise InputError(f"{path} has no record of a run: it was not written by kipoi_mcdropout")
    with _opened(path) as file:
        columns = [str(name) for name in file[f"uns/{COLUMNS}"].asstr()[:]]
        labels, scores = (list(_column(file["var"], name)) for name in ("output", "score"))
        eps = {name: _column(file["var"], name) for name in OF_OUTPUT[2:] if name in file["var"]}
        known = {name: _column(file["obs"], name) for name in OF_MUTANT if name in file["obs"]}
        parts = _parts(known.get("sequence"), _matrix(file, X).shape[0])
        if not parts or not labels:
            yield _piece(file, columns, slice(0, 0), known, [], [], eps, record)
            return
        for part in parts:
            for score in dict.fromkeys(scores):
                chosen = [i for i, name in enumerate(scores) if name == score]
                step = max(1, _CELLS // len(chosen))
                for first in range(part.start, part.stop, step):
                    rows = slice(first, min(part.stop, first + step))
                    of = [labels[i] for i in chosen]
                    named = [score] * len(chosen)
                    of_output = {name: values[chosen] for name, values in eps.items()}
                    yield _piece(file, columns, rows, known, chosen, [of, named], of_output, record)


def _piece(
    file: h5py.File, columns: list[str], rows: slice, known: dict[str, Any], chosen: list[int],
    names: list[list[str]], eps: dict[str, Any], record: dict[str, Any],
) -> pa.Table:  # fmt: skip
    n_mutants, n_outputs = rows.stop - rows.start, len(chosen)
    n = n_mutants * n_outputs
    of_output = {**dict(zip(("output", "score"), names or [[], []], strict=True)), **eps}
    table: dict[str, Any] = {}
    for name in [*columns, *(c for c in file["layers"] if c not in columns and c != Z)]:
        if name in of_output:
            table[name] = np.tile(np.asarray(of_output[name]), n_mutants)
        elif name in OF_MUTANT:
            values = known.get(name)
            table[name] = pa.nulls(n) if values is None else np.repeat(values[rows], n_outputs)
        elif name == "n_draws" and name not in file["layers"]:
            table[name] = np.full(n, int(record[name]), np.int32)
        else:
            table[name] = _matrix(file, name)[rows][:, chosen].ravel()
    return pa.table({name: pa.array(values, from_pandas=False) for name, values in table.items()})


def _matrix(file: h5py.File, name: str) -> h5py.Dataset:
    item = file.get("X" if name == X else f"layers/{name}")
    if not isinstance(item, h5py.Dataset):
        what = "is not there" if item is None else "is sparse"
        raise InputError(
            f"{Path(file.filename).name} must have the statistic {name!r} as a plain matrix; it {what}. "
            "Give the file that the run wrote"
        )
    return item


def _column(group: h5py.Group, name: str) -> NDArray[Any]:
    """A column of `obs` or `var`, as written here or by the package anndata."""
    item = group[name]
    kind = _text(item.attrs.get("encoding-type", "array"))
    if kind == "categorical":
        words = np.array([*_column(item, "categories"), None], object)
        chosen: NDArray[Any] = words[item["codes"][:]]  # -1, which is none, is the last
        return chosen
    if kind == "string-array":
        texts: NDArray[Any] = item.asstr()[:]
        return texts
    if kind == "nullable-string-array":
        texts = item["values"].asstr()[:].astype(object)
        texts[item["mask"][:]] = None
        return texts
    if kind == "array":
        numbers: NDArray[Any] = item[:]
        return numbers
    raise InputError(
        f"the column {name!r} of the AnnData file is of the kind {kind!r}, which is not read. Give the "
        "file that the run wrote"
    )


def _parts(sequence: NDArray[np.int64] | None, n: int) -> list[slice]:
    """Consecutive rows of one sequence; all rows where there are no sequences."""
    if n == 0:
        return []
    ends = [n] if sequence is None else [*(np.flatnonzero(np.diff(sequence)) + 1).tolist(), n]
    return [slice(first, end) for first, end in zip([0, *ends], ends, strict=False)]


def _opened(path: Path) -> h5py.File:
    return h5py.File(path, "r", locking=False)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
