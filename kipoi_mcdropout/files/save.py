"""Write effects that are in memory, or in a file, to another file."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files import EFFECT_SUFFIXES, effect_files
from kipoi_mcdropout.files.atomic import STDOUT, atomic_path
from kipoi_mcdropout.files.h5ad_read import is_h5ad
from kipoi_mcdropout.files.record import SequenceBlocks
from kipoi_mcdropout.files.table import open_table, write_all

if TYPE_CHECKING:
    from kipoi_mcdropout.files.effects import Effects

__all__ = ["EFFECT_SUFFIXES", "arrow_rows", "save_records", "save_table"]
_HDF5 = (".h5", ".hdf5")
_INT32 = ("allele", "n_draws", "n_nonfinite", "n_saturated", "n_alleles", "n_carriers")


def save_records(
    sequences: Iterable[SequenceBlocks], provenance: dict[str, Any], path: Path, overwrite: bool
) -> None:
    """Write effects of sequences."""
    with effect_files([path], provenance, overwrite) as files:
        for sequence in sequences:
            files.write(sequence)


def save_table(
    effects: Effects, pieces: Iterable[pd.DataFrame], path: Path, overwrite: bool
) -> None:
    """Write effects that are in a file as another; `pieces` are its rows, which AnnData takes.

    Raises
    ------
    InputError
        If HDF5 is to be made of a table, which does not say all that is in it.
    """
    source = effects.path
    if path.name.endswith(_HDF5):
        if source is None or not source.name.endswith(_HDF5):
            raise InputError(
                f"HDF5 is made of effects in memory or in HDF5; these are in {source}. Write .parquet "
                "or .tsv"
            )
        with atomic_path(path, overwrite) as temporary:
            shutil.copyfile(source, temporary)
        return
    if is_h5ad(path):
        with atomic_path(path, overwrite) as temporary:
            _write(map(arrow_rows, pieces), path.name, temporary, effects.provenance)
        return
    write_effects(effects.table(), path, effects.provenance, overwrite)


def write_effects(
    frame: pd.DataFrame, path: Path, provenance: dict[str, Any], overwrite: bool = False
) -> None:
    """Write rows of effects as .parquet, .pq, .h5ad, .tsv or .tsv.gz, or as text to standard output
    ("-").

    Columns of `effect_rows` get the types that the commands write; others keep their own.
    """
    rows = [arrow_rows(frame)]
    if str(path) == STDOUT:
        _write(rows, path.name, None, provenance)
        return
    with atomic_path(path, overwrite) as temporary:
        _write(rows, path.name, temporary, provenance)


def _write(
    pieces: Iterable[pa.Table], name: str, path: Path | None, provenance: dict[str, Any]
) -> None:
    write_all(open_table(name, path, provenance), pieces)


def arrow_rows(frame: pd.DataFrame) -> pa.Table:
    """The rows with the types that the commands write."""
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    for i, name in enumerate(table.column_names):
        kind = table.column(i).type
        if name in _INT32:
            kind = pa.int32()
        elif pa.types.is_large_string(kind):
            kind = pa.string()
        elif name == "pos":  # floating where the places of sequences are not known
            kind = pa.int64()
        elif name in ("chrom", "strand") and pa.types.is_null(kind):
            kind = pa.string()
        if kind != table.column(i).type:
            table = table.set_column(i, name, table.column(i).cast(kind))
    return table
