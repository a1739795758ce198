"""The rows of AnnData: where each mutant is, its alleles, and a name that no other has."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from kipoi_mcdropout.effects.row_identity import genomic_variants
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.column_types import to_frame
from kipoi_mcdropout.files.h5ad_layout import (
    ARRAY,
    CATEGORICAL,
    CATEGORIES,
    FRAME,
    INDEX,
    OF_MUTANT,
    TEXT_ARRAY,
    TEXTS,
    WHOLE_NUMBERS,
    mark,
)

_TEXT = h5py.string_dtype("utf-8")
_CHUNK, _TEXT_CHUNK = (2**14,), (2**10,)  # texts are not compressed
_MAY_LACK = tuple(name for name in CATEGORIES if name != "chrom")  # a category has a code for "none"


class Mutants:
    """`obs`, which grows with each score's first rows; the same mutants of other scores must fit to it.

    A column that has no value for any mutant is left out.

    Names are ``chrom:pos:ref:alt`` on the forward strand, with `pos` from 1, or where the place on the
    genome is not known ``NAME at POSITION ref>alt``, with the position from 0 in the sequence. Where
    several mutants have one name, as in windows that overlap, `` (sequence N)`` or `` (line N, allele
    N)`` is added.

    Parameters
    ----------
    group : h5py.Group
        An empty one.
    """

    def __init__(self, group: h5py.Group) -> None:
        self._group = mark(group, FRAME)
        self.n = 0
        self._columns: list[str] | None = None  # those that are kept
        self._words: dict[str, dict[str, int]] = {}  # categories with their codes
        self._hashes: list[NDArray[np.uint64]] = []  # of the names
        self._grow(INDEX, _TEXT, TEXT_ARRAY)

    def put(self, rows: pa.Table, first: int) -> None:
        """Rows of mutants, the first of which is number `first`."""
        if self._columns is None:
            self._begin(rows)
        self._check_places(rows)
        values = {name: self._values(rows, name) for name in self._columns or ()}
        if first < self.n:
            self._check_same(values, first, len(rows))
            return
        names = _names(to_frame(rows.select([c for c in OF_MUTANT if c in rows.column_names])))
        self._hashes.append(pd.util.hash_array(names))
        for name, column in {INDEX: names, **values}.items():
            dataset = self._dataset(name)
            dataset.resize((self.n + len(rows),))
            dataset[self.n :] = column
        self.n += len(rows)

    def finish(self) -> None:
        """Make the names unique, and write what is known only now."""
        self._make_unique()
        for name, words in self._words.items():
            categories = self._group[name].create_dataset(
                "categories", data=np.array(list(words), object), dtype=_TEXT
            )
            mark(categories, TEXT_ARRAY)
        self._group.attrs["_index"] = INDEX
        self._group.attrs["column-order"] = np.array(self._columns or [], _TEXT)

    def _begin(self, rows: pa.Table) -> None:
        names = [name for name in rows.column_names if name in OF_MUTANT]
        self._columns = [n for n in names if rows.column(n).null_count < len(rows)]
        for name in self._columns:
            if name in CATEGORIES:
                mark(self._group.create_group(name), CATEGORICAL)
                self._words[name] = {}
                self._grow(f"{name}/codes", np.int32, ARRAY)
            elif name in TEXTS:
                self._grow(name, _TEXT, TEXT_ARRAY)
            else:
                self._grow(name, np.int64, ARRAY)

    def _grow(self, path: str, dtype: Any, encoding: tuple[str, str]) -> None:
        is_text = dtype is _TEXT
        dataset = self._group.create_dataset(
            path, (0,), dtype, maxshape=(None,), chunks=_TEXT_CHUNK if is_text else _CHUNK,
            compression=None if is_text else "gzip", shuffle=not is_text,
        )  # fmt: skip
        mark(dataset, encoding)

    def _dataset(self, name: str) -> h5py.Dataset:
        return self._group[f"{name}/codes" if name in self._words else name]

    def _check_places(self, rows: pa.Table) -> None:
        """The place of all mutants on the genome is known, or of none."""
        kept = self._columns or []
        for name in OF_MUTANT:
            if name not in rows.column_names or (name in kept and name in _MAY_LACK):
                continue
            missing = rows.column(name).null_count
            if missing != (0 if name in kept else len(rows)):
                raise InputError(
                    f"AnnData needs {name!r} of all mutants or of none; {missing:,} of {len(rows):,} "
                    "lack it. Write .parquet or .tsv, or run the sequences with and without a range "
                    "apart"
                )

    def _values(self, rows: pa.Table, name: str) -> NDArray[Any]:
        column = rows.column(name).combine_chunks()
        if name in WHOLE_NUMBERS:
            numbers: NDArray[np.int64] = pc.cast(column, pa.int64()).to_numpy(zero_copy_only=False)
            return numbers
        if name in TEXTS:
            texts: NDArray[np.object_] = column.to_numpy(zero_copy_only=False).astype(object)
            return texts
        known = self._words[name]
        encoded = pc.dictionary_encode(column)
        codes = [known.setdefault(word, len(known)) for word in encoded.dictionary.to_pylist()]
        places = encoded.indices.to_numpy(zero_copy_only=False)  # floating where one is missing
        missing = np.isnan(places)
        found: NDArray[np.int32] = np.full(len(places), -1, np.int32)
        found[~missing] = np.array(codes, np.int32)[places[~missing].astype(np.int64)]
        return found

    def _check_same(self, values: dict[str, NDArray[Any]], first: int, n: int) -> None:
        """Other scores, or other outputs, have the same mutants in the same order."""
        for name, column in values.items():
            dataset = self._dataset(name)
            there = dataset.asstr()[first : first + n] if name in TEXTS else dataset[first : first + n]
            if len(there) < n or not np.array_equal(there, column):
                raise InputError(
                    "AnnData needs the same mutants in the same order for every output and score; "
                    f"their column {name!r} differs. Write .parquet or .tsv, or give the result of the "
                    "run itself"
                )

    def _make_unique(self) -> None:
        if not self._hashes:
            return
        hashes = np.concatenate(self._hashes)
        _, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
        for row in np.flatnonzero(counts[inverse] > 1).tolist():
            where = [
                f"{name} {self._group[name][row]}"
                for name in ("sequence", "line", "allele")
                if name in (self._columns or ())
            ]
            old = self._group[INDEX].asstr()[row]
            self._group[INDEX][row] = f"{old} ({', '.join(where)})"


def _names(mutants: pd.DataFrame) -> NDArray[np.object_]:
    """A name of each, shape=(n,)."""
    variants = genomic_variants(mutants)
    if variants is not None:
        parts = [variants["chrom"], variants["pos"].astype(str), variants["ref"], variants["alt"]]
        return _joined(*parts, between=":")
    alleles = _joined(mutants["ref"], mutants["alt"], between=">")
    position = mutants["position"].astype(str)
    at = pd.Series("at", mutants.index)
    return _joined(mutants["name"], at, position, pd.Series(alleles), between=" ")


def _joined(*columns: pd.Series, between: str) -> NDArray[np.object_]:
    arrays = [pa.array(column.astype(object), pa.string()) for column in columns]
    joined = pc.binary_join_element_wise(*arrays, between)
    texts: NDArray[np.object_] = joined.to_numpy(zero_copy_only=False).astype(object)
    return texts
