"""HDF5 that grows sequence by sequence, laid out like Kipoi's own files.

    /scores/<score>/<statistic>   (sequence, position, category, output), NaN where nothing is mutated
    /scores/<score>/ref_mean, ... (sequence, output)
    /scores/<score>/effect_draws  (sequence, position, category, output, draw), if kept
    /sequence                     (sequence): number in the order of the dataloader, from 0
    /reference                    (sequence, position): the bases
    /metadata/...                 (sequence): Kipoi's, its ranges among them
    /axes/position, category, output: labels of the axes, attached as HDF5 dimension scales

`position` counts from 0 in the sequence. Provenance is JSON in the root's attribute `provenance`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.saturation import SequenceEffects
from kipoi_mcdropout.writers.record import (
    PREDICTION_STATISTICS,
    PredictionRecord,
    SequenceRecord,
)

FORMAT = "kipoi_mcdropout ism"
PREDICTION_FORMAT = "kipoi_mcdropout predict"
FORMAT_VERSION = 1
_CHUNK_BYTES = 2**20
_AXES = ("position", "category", "output", "draw")


class GrowingHdf5:
    """A file of datasets whose first axis grows by one with each sequence, in compressed chunks."""

    def __init__(self, path: Path, kind: str, provenance: dict[str, Any]) -> None:
        # Nobody else knows the unfinished file, and network file systems often have no locks.
        self.file = h5py.File(path, "w", locking=False)
        self.file.attrs["format"] = kind
        self.file.attrs["format_version"] = FORMAT_VERSION
        self.file.attrs["provenance"] = json.dumps(provenance)
        self.n = 0

    def axis(self, name: str, values: NDArray[Any] | list[str]) -> None:
        """Label an axis: a dimension scale under /axes."""
        dtype = h5py.string_dtype("utf-8") if isinstance(values, list) else np.int64
        self.file.create_dataset(f"axes/{name}", data=np.asarray(values, dtype)).make_scale(name)

    def append(self, path: str, value: NDArray[Any], axes: tuple[str, ...] = ()) -> None:
        """Write the next sequence's value into a dataset, which is made on first use."""
        if path not in self.file:
            self._create(path, value, axes)
        dataset = self.file[path]
        dataset.resize(self.n + 1, axis=0)
        dataset[self.n] = value if value.ndim else value.item()

    def next(self) -> None:
        """The sequence is whole."""
        self.n += 1
        self.file.flush()

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def _create(self, path: str, value: NDArray[Any], axes: tuple[str, ...]) -> None:
        dtype = h5py.string_dtype("utf-8") if value.dtype.kind in "UO" else value.dtype
        chunk = (1, *_chunk(value.shape, value.dtype.itemsize)) if value.ndim else (1024,)
        dataset = self.file.create_dataset(
            path,
            shape=(0, *value.shape),
            maxshape=(None, *value.shape),
            dtype=dtype,
            chunks=chunk,
            compression="gzip",
            compression_opts=1,
            shuffle=value.dtype.kind in "fi",
        )
        dataset.dims[0].label = "sequence"
        for i, axis in enumerate(axes, start=1):
            dataset.dims[i].label = axis
            dataset.dims[i].attach_scale(self.file[f"axes/{axis}"])


class Hdf5Effects:
    """Appends the effects of sequences."""

    def __init__(self, path: Path, provenance: dict[str, Any]) -> None:
        self._file = GrowingHdf5(path, FORMAT, provenance)

    def write(self, record: SequenceRecord) -> None:
        """Append a sequence.

        Raises
        ------
        InputError
            If its length differs from that of the sequences before.
        """
        effects = record.effects
        if self._file.n == 0:
            self._write_axes(effects)
        elif (effects.layout.n_positions, effects.window) != self._shape:
            raise InputError(
                f"HDF5 needs sequences of one length; sequence {record.index} has "
                f"{effects.layout.n_positions} positions, those before have {self._shape[0]}. Write "
                ".tsv or .parquet instead"
            )
        start, end = effects.window
        letters = np.array(effects.layout.letters())
        self._file.append("sequence", np.asarray(record.index, np.int64))
        self._file.append("reference", letters[effects.reference[start:end]].astype("S"), ("position",))
        for key, value in record.metadata.items():
            self._file.append(f"metadata/{key}", np.asarray(value))
        for summary in effects.summaries:
            group = f"scores/{summary.score.name}"
            for name, values in summary.reference.items():
                self._file.append(f"{group}/{name}", values[0].astype(np.float32), ("output",))
            for name, values in summary.per_mutant().items():
                grid = _grid(effects, values.astype(np.float32))
                self._file.append(f"{group}/{name}", grid, _AXES[: grid.ndim])
        self._file.next()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write_axes(self, effects: SequenceEffects) -> None:
        self._shape = (effects.layout.n_positions, effects.window)
        start, end = effects.window
        self._file.axis("position", np.arange(start, end))
        self._file.axis("category", effects.layout.letters()[: effects.layout.n_categories])
        self._file.axis("output", list(effects.targets.labels))
        self._file.axis("draw", np.arange(effects.summaries[0].n_draws))


class Hdf5Predictions:
    """Appends predictions: /preds/mean, var, sd, mcse, point, shape=(sequence, output), and metadata."""

    def __init__(self, path: Path, provenance: dict[str, Any]) -> None:
        self._file = GrowingHdf5(path, PREDICTION_FORMAT, provenance)

    def write(self, record: PredictionRecord) -> None:
        """Append a batch."""
        predictions = record.predictions
        if self._file.n == 0:
            self._file.axis("output", list(predictions.labels))
            self._file.axis("draw", np.arange(predictions.n_draws))
        for i, metadata in enumerate(record.metadata):
            for name in PREDICTION_STATISTICS:
                value = getattr(predictions, name)[i].astype(np.float32)
                self._file.append(f"preds/{name}", value, ("output",))
            self._file.append("preds/n_nonfinite", predictions.n_nonfinite[i], ("output",))
            if predictions.draws is not None:
                self._file.append("preds/draws", predictions.draws[:, i], ("draw", "output"))
            for key, value in metadata.items():
                self._file.append(f"metadata/{key}", np.asarray(value))
            self._file.next()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _grid(effects: SequenceEffects, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values per mutant as (positions of the window, categories, ...), NaN elsewhere."""
    start, end = effects.window
    edits = effects.substitutions
    grid = np.full((end - start, effects.layout.n_categories, *values.shape[1:]), np.nan, values.dtype)
    grid[edits.position - start, edits.alt] = values
    return grid


def _chunk(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Chunk of about a mebibyte: the first axis is cut, the others are whole."""
    row = int(np.prod(shape[1:], dtype=np.int64)) * itemsize
    return (max(1, min(shape[0], _CHUNK_BYTES // max(row, 1))), *shape[1:])
