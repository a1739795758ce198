"""Writers of results: HDF5, TSV and Parquet, streaming and atomic."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kipoi_mcdropout.writers.group import FileGroup
from kipoi_mcdropout.writers.record import PredictionRecord, SequenceRecord

__all__ = ["SUFFIXES", "effect_files", "prediction_files"]

SUFFIXES = (".h5", ".hdf5", ".tsv", ".tsv.gz", ".parquet", ".pq")


def effect_files(
    paths: Sequence[str | Path], provenance: dict[str, Any], overwrite: bool = False
) -> FileGroup[SequenceRecord]:
    """Files that take the effects of sequences, one `SequenceRecord` at a time; use as a context."""

    # Each format's library is loaded only where that format is written.
    def open_one(name: str, temporary: Path | None) -> Any:
        if temporary is not None and _is_hdf5(name):
            from kipoi_mcdropout.writers.hdf5 import Hdf5Effects

            return Hdf5Effects(temporary, provenance)
        from kipoi_mcdropout.writers.effect_rows import effect_tables
        from kipoi_mcdropout.writers.table import RowWriter, open_table

        return RowWriter(open_table(name, temporary, provenance), effect_tables)

    return FileGroup(paths, SUFFIXES, open_one, overwrite)


def prediction_files(
    paths: Sequence[str | Path], provenance: dict[str, Any], overwrite: bool = False
) -> FileGroup[PredictionRecord]:
    """Files that take the predictions of a batch, one `PredictionRecord` at a time."""

    def open_one(name: str, temporary: Path | None) -> Any:
        if temporary is not None and _is_hdf5(name):
            from kipoi_mcdropout.writers.hdf5 import Hdf5Predictions

            return Hdf5Predictions(temporary, provenance)
        from kipoi_mcdropout.writers.prediction_rows import prediction_tables
        from kipoi_mcdropout.writers.table import RowWriter, open_table

        return RowWriter(open_table(name, temporary, provenance), prediction_tables)

    return FileGroup(paths, SUFFIXES, open_one, overwrite)


def _is_hdf5(name: str) -> bool:
    return name.endswith((".h5", ".hdf5"))
