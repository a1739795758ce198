"""HDF5 that grows sequence by sequence, laid out like Kipoi's own files.

    /scores/<score>/<statistic>   (sequence, position, alt, output), NaN where nothing is mutated
    /scores/<score>/ref_mean, ... (sequence, output); under --until (sequence, position, alt, output),
                                  as n_draws is then
    /scores/<score>/effect_draws  (sequence, position, alt, output, draw), if kept
    /scores/<score>/effect_member_mean  (sequence, position, alt, output, member), if several
    /sequence                     (sequence): number in the order of the dataloader, from 0
    /reference                    (sequence, position): the bases
    /metadata/...                 (sequence): Kipoi's, its ranges among them
    /position, /alt, /output, /draw, /member: labels of the axes

Every axis has its name and its labels as an HDF5 dimension scale, as in netCDF: xarray opens the file
with `xarray.open_datatree(path, engine="h5netcdf")`, and the statistics of a score with
`xarray.open_dataset(path, engine="h5netcdf", group="scores/diff")`.

`position` counts from 0 in the sequence. Provenance is JSON in the root's attribute `provenance`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.effects.columns import OUTPUT_EPS
from kipoi_mcdropout.effects.rounding import FLOAT32_EPS
from kipoi_mcdropout.errors import InputError, ModelError
from kipoi_mcdropout.files.held_signals import held_signals
from kipoi_mcdropout.files.record import (
    PredictionRecord,
    SequenceBlocks,
    SequenceRecord,
)

if TYPE_CHECKING:  # results are read without torch
    from kipoi_mcdropout.effects.saturation import SequenceEffects

FORMAT = "kipoi_mcdropout ism"
PREDICTION_FORMAT = "kipoi_mcdropout predict"
FORMAT_VERSION = 1
_CHUNK_BYTES = 2**20
_SEQUENCE = "sequence"
_AXES = ("position", "alt", "output", "draw")


class GrowingHdf5:
    """A file of datasets whose first axis grows by one with each sequence, in compressed chunks.

    Ctrl-C and other signals wait until a method is done.

    Raises
    ------
    OSError
        In any method, if the file cannot be written, e.g. since the disk is full.
    """

    @held_signals()
    def __init__(self, path: Path, kind: str, provenance: dict[str, Any]) -> None:
        # Its locks are ours: network file systems often have none.
        self._raw = ErrorKeepingFile(path)
        self.file = h5py.File(self._raw, "w")
        self.file.attrs["format"] = kind
        self.file.attrs["format_version"] = FORMAT_VERSION
        self.file.attrs["provenance"] = json.dumps(provenance)
        self.file.create_dataset(
            _SEQUENCE, (0,), np.int64, maxshape=(None,), chunks=(1024,)
        ).make_scale(_SEQUENCE)
        self.n = 0

    @held_signals()
    def axis(self, name: str, values: NDArray[Any] | list[str]) -> None:
        """Label an axis: a dimension scale."""
        dtype = h5py.string_dtype("utf-8") if isinstance(values, list) else np.int64
        self.file.create_dataset(name, data=np.asarray(values, dtype)).make_scale(name)

    @held_signals()
    def append(self, path: str, value: NDArray[Any], axes: tuple[str, ...] = ()) -> None:
        """Write the next sequence's value into a dataset, which is made on first use."""
        dataset = self._grown(path, value.shape, value.dtype, axes)
        dataset[self.n] = value if value.ndim else value.item()

    @held_signals()
    def append_part(
        self, path: str, value: NDArray[np.float32], first: int, length: int, axes: tuple[str, ...]
    ) -> None:
        """Write a part of the next sequence's value, which has `length` rows in all, from row `first`.

        Rows that no part covers are NaN.
        """
        dataset = self._grown(path, (length, *value.shape[1:]), value.dtype, axes)
        dataset[self.n, first : first + len(value)] = value
        self._raw.check()

    @held_signals()
    def next(self) -> None:
        """The sequence is whole."""
        self.n += 1
        self.file.flush()
        self._raw.check()

    @held_signals()
    def close(self) -> None:
        """Close the file."""
        self.file.close()
        self._raw.close()
        self._raw.check()

    def _grown(
        self, path: str, shape: tuple[int, ...], dtype: np.dtype[Any], axes: tuple[str, ...]
    ) -> h5py.Dataset:
        if path not in self.file:
            self._create(path, shape, dtype, axes)
        dataset = self.file[path]
        if len(dataset) <= self.n:
            dataset.resize(self.n + 1, axis=0)
        return dataset

    def _create(
        self, path: str, shape: tuple[int, ...], dtype: np.dtype[Any], axes: tuple[str, ...]
    ) -> None:
        dataset = self.file.create_dataset(
            path,
            shape=(0, *shape),
            maxshape=(None, *shape),
            dtype=h5py.string_dtype("utf-8") if dtype.kind in "UO" else dtype,
            chunks=(1, *_chunk(shape, dtype.itemsize)) if shape else (1024,),
            compression="gzip",
            compression_opts=1,
            shuffle=dtype.kind in "fi",
            fillvalue=np.nan if dtype.kind == "f" else None,
        )
        dataset.dims[0].label = _SEQUENCE
        dataset.dims[0].attach_scale(self.file[_SEQUENCE])
        for i, axis in enumerate(axes, start=1):
            dataset.dims[i].label = axis
            dataset.dims[i].attach_scale(self.file[axis])


class ErrorKeepingFile:
    """The file under an HDF5 file: keeps the first error of the system instead of raising it.

    HDF5 cannot close a file whose writes fail (a full disk), and the process then dies by a signal. So
    what is written after an error is kept in memory, where HDF5 can read it again, and `check` raises
    the error. Call it after every operation: then this is little.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b", buffering=0)
        self._error: OSError | None = None
        self._unwritten: list[tuple[int, bytes]] = []  # place and data, the latest last

    def check(self) -> None:
        """Raise the error that came, if any."""
        if self._error is not None:
            raise OSError(*self._error.args)

    def write(self, data: Any) -> int:
        """Write all of the data."""
        view = memoryview(data).cast("B")
        done = 0
        while self._error is None and done < len(view):
            try:
                done += self._file.write(view[done:])
            except OSError as error:
                self._error = error
        if done < len(view):
            place = self._file.tell()
            self._unwritten.append((place, bytes(view[done:])))
            self._file.seek(place + len(view) - done)
        return len(view)

    def truncate(self, size: int) -> int:
        """Set the size."""
        if self._error is None:
            try:
                self._file.truncate(size)
            except OSError as error:
                self._error = error
        return size

    def read(self, size: int) -> bytes:
        """Bytes from the present place."""
        data = bytearray(size)
        self.readinto(data)
        return bytes(data)

    def readinto(self, data: Any) -> int:
        """Fill a buffer from the present place; with zeros where the file ends."""
        view = memoryview(data).cast("B")
        first = self._file.tell()
        n = self._file.readinto(view) or 0
        view[n:] = bytes(len(view) - n)
        end = first + len(view)
        for place, kept in self._unwritten:
            begin, stop = max(first, place), min(end, place + len(kept))
            if begin < stop:
                view[begin - first : stop - first] = kept[begin - place : stop - place]
        self._file.seek(end)
        return len(view)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The present place."""
        return self._file.tell()

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Hdf5Effects:
    """Appends the effects of sequences."""

    def __init__(self, path: Path, provenance: dict[str, Any]) -> None:
        self._file = GrowingHdf5(path, FORMAT, provenance)

    def write(self, sequence: SequenceBlocks) -> None:
        """Append a sequence, block by block.

        Raises
        ------
        InputError
            If its length differs from that of the sequences before.
        """
        for number, record in enumerate(sequence.blocks()):
            if number == 0:
                self._begin(record)
            self._write_block(record)
        self._file.next()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _begin(self, record: SequenceRecord) -> None:
        effects = record.effects
        if self._file.n == 0:
            self._write_axes(effects)
        elif effects.targets.labels != self._labels:
            raise ModelError(
                "the model must have the same outputs for all sequences; those of sequence "
                f"{record.index} have other names, or another order, than those before it. Does the "
                "model return a dict made from a set?"
            )
        elif (effects.layout.n_positions, effects.window) != self._shape:
            raise InputError(
                f"HDF5 needs sequences of one length; sequence {record.index} has "
                f"{effects.layout.n_positions} positions, the sequences before it have "
                f"{self._shape[0]}. Write .tsv or .parquet instead"
            )
        start, end = effects.window
        letters = np.array(effects.layout.letters())
        self._file.append(_SEQUENCE, np.asarray(record.index, np.int64))
        self._file.append("reference", letters[effects.reference[start:end]].astype("S"), ("position",))
        for key, value in record.metadata.items():
            self._file.append(f"metadata/{key}", np.asarray(value))
        for summary in effects.summaries:
            for name, values in summary.reference.items():
                path = f"scores/{summary.score.name}/{name}"
                self._file.append(path, values[0].astype(np.float32), ("output",))
            if summary.eps > FLOAT32_EPS:
                group = self._file.file.require_group(f"scores/{summary.score.name}")
                group.attrs[OUTPUT_EPS] = summary.eps

    def _write_block(self, record: SequenceRecord) -> None:
        effects = record.effects
        start, end = effects.window
        first = int(effects.substitutions.position[0])
        for summary in effects.summaries:
            for name, values in summary.per_mutant().items():
                grid = _grid(effects, values)
                path = f"scores/{summary.score.name}/{name}"
                axes = (*_AXES[: grid.ndim - 1], "member") if name == "effect_member_mean" else _AXES
                self._file.append_part(path, grid, first - start, end - start, axes[: grid.ndim])

    def _write_axes(self, effects: SequenceEffects) -> None:
        self._shape = (effects.layout.n_positions, effects.window)
        self._labels = effects.targets.labels
        start, end = effects.window
        self._file.axis("position", np.arange(start, end))
        self._file.axis("alt", effects.layout.letters()[: effects.layout.n_categories])
        self._file.axis("output", list(effects.targets.labels))
        self._file.axis("draw", np.arange(effects.summaries[0].n_draws))
        means = effects.summaries[0].member_means
        if means is not None:
            self._file.axis("member", np.arange(len(means)))


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
        statistics = {name: record.values(name) for name in record.statistics}
        for i, metadata in enumerate(record.metadata):
            self._file.append(_SEQUENCE, np.asarray(record.first + i, np.int64))
            for name, values in statistics.items():
                self._file.append(f"preds/{name}", values[i], ("output",))
            self._file.append("preds/n_nonfinite", predictions.n_nonfinite[i], ("output",))
            if predictions.draws is not None:
                self._file.append("preds/draws", predictions.draws[:, i], ("draw", "output"))
            for key, value in metadata.items():
                self._file.append(f"metadata/{key}", np.asarray(value))
            self._file.next()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _grid(effects: SequenceEffects, values: NDArray[Any]) -> NDArray[np.float32]:
    """Values per mutant as an array (position, alt, ...) from the block's first position to its last.

    Float32; NaN where there is no mutant.
    """
    edits = effects.substitutions
    first, last = int(edits.position[0]), int(edits.position[-1])
    shape = (last - first + 1, effects.layout.n_categories, *values.shape[1:])
    grid = np.full(shape, np.nan, np.float32)
    grid[edits.position - first, edits.alt] = values
    return grid


def _chunk(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Chunk of about a mebibyte: the first axis is cut, the others are whole."""
    row = int(np.prod(shape[1:], dtype=np.int64)) * itemsize
    return (max(1, min(shape[0], _CHUNK_BYTES // max(row, 1))), *shape[1:])
