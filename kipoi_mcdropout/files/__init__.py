"""Writers of results: HDF5, TSV, Parquet and AnnData, streaming and atomic."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kipoi_mcdropout.files.atomic import check_outputs
from kipoi_mcdropout.files.group import OutputGroup, Writers, open_writers

if TYPE_CHECKING:  # it loads torch, which Kipoi's start-up and `--help` must not wait for
    from kipoi_mcdropout.files.record import PredictionRecord, SequenceBlocks

__all__ = [
    "EFFECT_SUFFIXES", "EFFECT_TABLE_SUFFIXES", "SUFFIXES", "TABLE_SUFFIXES",
    "effect_files", "effect_writers", "prediction_files",
]  # fmt: skip

TABLE_SUFFIXES = (".tsv", ".tsv.gz", ".parquet", ".pq")
SUFFIXES = (".h5", ".hdf5", *TABLE_SUFFIXES)
# AnnData has the rows of a table of effects, and no others.
EFFECT_TABLE_SUFFIXES = (*TABLE_SUFFIXES, ".h5ad")
EFFECT_SUFFIXES = (*SUFFIXES, ".h5ad")


def effect_writers(
    group: OutputGroup, paths: Sequence[Path], provenance: dict[str, Any]
) -> contextlib.AbstractContextManager[Writers[SequenceBlocks]]:
    """Writers of the effects of sequences, one `SequenceBlocks` at a time; use as a context."""

    # Each format's library is loaded only where that format is written.
    def open_one(name: str, temporary: Path | None) -> Any:
        if temporary is not None and _is_hdf5(name):
            from kipoi_mcdropout.files.hdf5 import Hdf5Effects

            return Hdf5Effects(temporary, provenance)
        from kipoi_mcdropout.effects.member_names import asked_columns
        from kipoi_mcdropout.files.effect_rows import effect_tables
        from kipoi_mcdropout.files.table import RowWriter, open_table

        rows = partial(effect_tables, member_columns=asked_columns(provenance))
        return RowWriter(open_table(name, temporary, provenance), rows)

    return open_writers(group, paths, open_one)


@contextlib.contextmanager
def effect_files(
    paths: Sequence[str | Path], provenance: dict[str, Any], overwrite: bool = False
) -> Iterator[Writers[SequenceBlocks]]:
    """Files that take the effects of sequences, one `SequenceBlocks` at a time."""
    checked = check_outputs(paths, EFFECT_SUFFIXES)
    with OutputGroup(checked, overwrite) as group:
        with effect_writers(group, checked, provenance) as writers:
            yield writers
        group.commit()


@contextlib.contextmanager
def prediction_files(
    paths: Sequence[str | Path], provenance: dict[str, Any], overwrite: bool = False
) -> Iterator[Writers[PredictionRecord]]:
    """Files that take the predictions of a batch, one `PredictionRecord` at a time."""

    def open_one(name: str, temporary: Path | None) -> Any:
        if temporary is not None and _is_hdf5(name):
            from kipoi_mcdropout.files.hdf5 import Hdf5Predictions

            return Hdf5Predictions(temporary, provenance)
        from kipoi_mcdropout.files.prediction_rows import prediction_tables
        from kipoi_mcdropout.files.table import RowWriter, open_table

        return RowWriter(open_table(name, temporary, provenance), prediction_tables)

    checked = check_outputs(paths, SUFFIXES)
    with OutputGroup(checked, overwrite) as group:
        with open_writers(group, checked, open_one) as writers:
            yield writers
        group.commit()


def _is_hdf5(name: str) -> bool:
    return name.endswith((".h5", ".hdf5"))
