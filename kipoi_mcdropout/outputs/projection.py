"""A linear projection of tracks onto fewer outputs, such as the sequence classes of Sei."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.errors import InputError


@dataclass(frozen=True, eq=False)
class Projection:
    """Weights of each track in each output of the projection.

    Attributes
    ----------
    labels : tuple of str
        Of the outputs.
    weights : numpy.ndarray of float64, shape=(outputs, tracks)
    tracks : tuple of str, or None
        Labels of the tracks; None where they are those of the model in its order.

    Raises
    ------
    InputError
        If sizes and labels differ, labels are not unique, or a weight is not finite.
    """

    labels: tuple[str, ...]
    weights: NDArray[np.float64]
    tracks: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        shape = self.weights.shape
        if self.weights.ndim != 2 or 0 in shape:
            raise InputError(f"a projection must be a matrix of outputs x tracks; got shape {shape}")
        for name, found, size in (("outputs", self.labels, shape[0]), ("tracks", self.tracks, shape[1])):
            if found is None:
                continue
            if len(found) != size:
                raise InputError(
                    f"a projection must have a label for each of its {size} {name}; got {len(found)}"
                )
            if len(set(found)) < size:
                twice = next(label for label in found if found.count(label) > 1)
                raise InputError(f"labels of a projection must differ; {twice!r} is there twice")
        if not np.isfinite(self.weights).all():
            raise InputError("the weights of a projection must be finite numbers")

    def matrix(self, tracks: Sequence[str]) -> NDArray[np.float64]:
        """The weights for these tracks, in their order, shape=(tracks, outputs).

        Raises
        ------
        InputError
            If the projection is for other tracks, or for more or fewer of them.
        """
        n = self.weights.shape[1]
        if self.tracks is None:
            if n == len(tracks):
                return np.ascontiguousarray(self.weights.T)
        elif set(self.tracks) == set(tracks):
            place = {label: i for i, label in enumerate(self.tracks)}
            return np.ascontiguousarray(self.weights[:, [place[label] for label in tracks]].T)
        elif unknown := [label for label in self.tracks if label not in set(tracks)]:
            raise InputError(
                f"a projection must be of the model's tracks; it has {unknown[0]!r}, which the model "
                f"has not, and {len(unknown) - 1} more such"
            )
        raise InputError(
            f"a projection must have a weight for each of the {len(tracks)} tracks; it is for {n}. "
            "Choose the tracks that it is for with tracks (--tracks)"
        )

    def digest(self) -> str:
        """SHA-256 of labels and weights."""
        digest = hashlib.sha256(repr((self.labels, self.tracks, self.weights.shape)).encode())
        digest.update(np.ascontiguousarray(self.weights).tobytes())
        return digest.hexdigest()


def as_projection(value: Any, labels: Any = None) -> Projection:
    """A projection from a file, or from a table in memory.

    Parameters
    ----------
    value : path, DataFrame, numpy.ndarray, or Projection
        A tab-separated table with a header: a row for each track, its label in the first column, and a
        further column for each output, whose name is the header's. A DataFrame is the same with the
        tracks as index. An array, or a .npy file, has shape=(outputs, tracks), the tracks in the
        model's order.
    labels : sequence of str, or path, optional
        Names of the outputs of an array, or a file with one a line; numbers by default.

    Raises
    ------
    InputError
        If the file cannot be read, or labels are given for a table, which has its own.
    """
    if isinstance(value, Projection):
        return value
    if isinstance(value, (str, Path)):
        path = Path(value)
        value = _load(path) if path.suffix == ".npy" else _read(path)
    elif hasattr(value, "columns") and hasattr(value, "index"):
        numbers = np.asarray(value, np.float64).T
        value = Projection(tuple(map(str, value.columns)), numbers, tuple(map(str, value.index)))
    if isinstance(value, Projection):
        if labels is not None:
            raise InputError("projection_labels are for a .npy file or an array; a table has its own")
        return value
    weights = np.asarray(value, np.float64)
    names = tuple(map(str, range(len(weights)))) if labels is None else _labels(labels)
    return Projection(names, weights)


def _labels(labels: Any) -> tuple[str, ...]:
    one = [labels] if isinstance(labels, (str, Path)) else list(labels)
    if len(one) == 1 and Path(str(one[0])).is_file():
        lines = Path(str(one[0])).read_text(encoding="utf-8").splitlines()
        return tuple(line.strip() for line in lines if line.strip())
    return tuple(map(str, one))


def _load(path: Path) -> NDArray[Any]:
    try:
        loaded: NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"the projection {path} cannot be read: {error}") from error
    if loaded.dtype.kind not in "biuf":
        raise InputError(f"the projection {path} must hold numbers; got {loaded.dtype}")
    return loaded


def _read(path: Path) -> Projection:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = list(csv.reader(file, delimiter="\t"))
        rows = [row for row in rows if row]
        weights = np.array([[float(x) for x in row[1:]] for row in rows], np.float64)
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(
            f"the projection {path} must be tab-separated, with a header and a row of numbers for each "
            f"track behind its label: {error}"
        ) from error
    return Projection(tuple(header[1:]), weights.T, tuple(row[0] for row in rows))
