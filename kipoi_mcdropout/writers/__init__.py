"""Writers of ISM results: HDF5, TSV and Parquet, streaming and atomic."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kipoi_mcdropout.writers.atomic import AtomicFile, check_free, check_outputs
from kipoi_mcdropout.writers.record import RecordWriter, SequenceRecord

__all__ = ["SUFFIXES", "AtomicFile", "EffectWriters", "SequenceRecord", "check_free", "check_outputs"]

SUFFIXES = (".h5", ".hdf5", ".tsv", ".tsv.gz", ".parquet", ".pq")


class EffectWriters:
    """Writes every record to several files at once; all appear when all are whole.

    Use as a context: leaving it normally commits, leaving it by an exception removes everything.
    """

    def __init__(
        self, paths: Sequence[str | Path], provenance: dict[str, Any], overwrite: bool = False
    ) -> None:
        checked = check_outputs(paths, SUFFIXES)
        check_free(checked, overwrite)
        self._files: list[AtomicFile] = []
        self._writers: list[RecordWriter] = []
        try:
            for path in checked:
                self._files.append(AtomicFile(path, overwrite))
                self._writers.append(_open(path.name, self._files[-1].temporary, provenance))
        except BaseException:
            self._discard()
            raise

    def __enter__(self) -> EffectWriters:
        return self

    def write(self, record: SequenceRecord) -> None:
        """Append a record to every file."""
        for writer in self._writers:
            writer.write(record)

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._discard()
            return
        try:
            for writer in self._writers:
                writer.close()
        except BaseException:
            self._discard()
            raise
        for file in self._files:
            file.commit()

    def _discard(self) -> None:
        for writer in self._writers:
            try:
                writer.close()
            except OSError:  # the disk may be full; the file goes anyway
                continue
        for file in self._files:
            file.discard()


def _open(name: str, temporary: Path, provenance: dict[str, Any]) -> RecordWriter:
    # Each format's library is loaded only where that format is written.
    if name.endswith((".h5", ".hdf5")):
        from kipoi_mcdropout.writers.hdf5 import Hdf5Writer

        return Hdf5Writer(temporary, provenance)
    if name.endswith((".parquet", ".pq")):
        from kipoi_mcdropout.writers.table import ParquetWriter

        return ParquetWriter(temporary, provenance)
    from kipoi_mcdropout.writers.table import TsvWriter

    return TsvWriter(temporary, provenance, compress=name.endswith(".gz"))
