"""Read results back: the tidy table of effects, the effect of every draw, and the provenance."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
import pandas as pd
import pyarrow.parquet
from numpy.typing import NDArray

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.outputs import select_targets
from kipoi_mcdropout.writers.atomic import PROVENANCE_KEY
from kipoi_mcdropout.writers.hdf5 import FORMAT, FORMAT_VERSION
from kipoi_mcdropout.writers.record import GenomicRange, range_of


def read_provenance(path: str | Path) -> dict[str, Any]:
    """What is recorded about the run that wrote a result.

    Raises
    ------
    InputError
        If the file is no result of this package.
    """
    path = _existing(path)
    if _is_hdf5(path):
        with open_hdf5(path) as file:
            return json.loads(file.attrs["provenance"])
    if path.name.endswith((".parquet", ".pq")):
        metadata = pyarrow.parquet.read_schema(path).metadata or {}
        text = metadata.get(PROVENANCE_KEY.encode())
    else:
        with _open_text(path) as lines:
            first = lines.readline()
        text = first[2:].encode() if first.startswith("# {") else None
    if text is None:
        raise InputError(
            f"{path} has no provenance: it was not written by kipoi_mcdropout. Give a file that ism, "
            "predict or score_variants has written"
        )
    record = json.loads(text)
    return record.get(PROVENANCE_KEY, record)


def read_effects(
    path: str | Path,
    outputs: Sequence[str | int] | None = None,
    score: str | None = None,
) -> pd.DataFrame:
    """Effects as a tidy table, a row per substitution, output and score, from any of the formats.

    Parameters
    ----------
    path : str or Path
        .h5, .hdf5, .tsv, .tsv.gz, .parquet or .pq.
    outputs : sequence of str or int, optional
        Outputs to read, by label, index or pattern; all by default.
    score : str, optional
        The score to read; all by default.

    Returns
    -------
    pandas.DataFrame
        Columns of `writers.effect_rows`. `position` counts from 0 in the sequence, `pos` from 1 in the
        genome.

    Raises
    ------
    InputError
        If the file is no result of this package, is of another version, or lacks the score.
    """
    path = _existing(path)
    if _is_hdf5(path):
        return _effects_from_hdf5(path, outputs, score)
    if path.name.endswith((".parquet", ".pq")):
        table = pd.read_parquet(path)
    else:
        read_provenance(path)
        table = pd.read_table(path, skiprows=1)
    if "output" not in table:
        raise InputError(f"{path} must have a column 'output'; it has {', '.join(map(str, table))}")
    if outputs is not None:
        labels = list(dict.fromkeys(table["output"].astype(str)))
        table = table[table["output"].astype(str).isin(select_targets(labels, outputs).labels)]
    if score is not None and "score" in table:
        _check_score(score, sorted(set(table["score"])), path)
        table = table[table["score"] == score]
    return table.reset_index(drop=True)


def read_draws(
    path: str | Path, outputs: Sequence[str | int] | None = None, score: str = "diff"
) -> NDArray[np.float32]:
    """The effect of every draw, in the order of the rows of `read_effects(path, outputs, score)`.

    Returns
    -------
    numpy.ndarray of float32, shape=(draws, rows)

    Raises
    ------
    InputError
        If the result is not HDF5, or was written without --keep_draws.
    """
    path = _existing(path)
    if not _is_hdf5(path):
        raise InputError(f"{path} has no draws: only HDF5 does, where --keep_draws was asked for")
    with open_hdf5(path) as file:
        _check_score(score, list(file["scores"]), path)
        group = file[f"scores/{score}"]
        if "effect_draws" not in group:
            raise InputError(f"{path} was written without --keep_draws; run it again with that flag")
        columns = _columns(file, outputs)
        parts = []
        for i in range(len(file["reference"])):
            mutated = np.argwhere(_mutated(group["n_nonfinite"][i]))
            draws = group["effect_draws"][i][mutated[:, 0], mutated[:, 1]][:, columns]
            parts.append(draws.reshape(-1, draws.shape[-1]))
    return np.concatenate(parts).T


def has_draws(path: str | Path) -> bool:
    """Whether a result holds the effect of every draw."""
    path = _existing(path)
    if not _is_hdf5(path):
        return False
    with open_hdf5(path) as file:
        return all("effect_draws" in group for group in file["scores"].values())


def scores_of(table: pd.DataFrame) -> list[str]:
    """The scores in a table of effects."""
    return sorted(set(table["score"].astype(str)))


def _effects_from_hdf5(
    path: Path, outputs: Sequence[str | int] | None, score: str | None
) -> pd.DataFrame:
    with open_hdf5(path) as file:
        scores = list(file["scores"])
        if score is not None:
            _check_score(score, scores, path)
            scores = [score]
        record = json.loads(file.attrs["provenance"])
        columns = _columns(file, outputs)
        tables = [
            sequence_rows(file, i, name, columns, int(record["n_draws"]))
            for i in range(len(file["reference"]))
            for name in scores
        ]
    return pd.concat(tables, ignore_index=True)


def sequence_rows(
    file: h5py.File, i: int, score: str, columns: list[int], n_draws: int
) -> pd.DataFrame:
    """Rows of `read_effects` for one sequence (by its row) and score of a file of `open_hdf5`."""
    group = file[f"scores/{score}"]
    mutated = np.argwhere(_mutated(group["n_nonfinite"][i]))
    position = file["axes/position"][:][mutated[:, 0]]
    letters, labels = file["axes/category"].asstr()[:], file["axes/output"].asstr()[:][columns]
    where = _range(file, i)
    n_outputs = len(columns)
    number = int(file["sequence"][i]) if "sequence" in file else i
    rows: dict[str, Any] = {
        "sequence": number,
        "name": where.name if where and where.name else str(number),
        "chrom": where.chrom if where else None,
        "pos": np.repeat(where.position_1_based(position), n_outputs) if where else None,
        "strand": where.strand if where else None,
        "position": np.repeat(position, n_outputs),
        "ref": np.repeat(file["reference"][i].astype(str)[mutated[:, 0]], n_outputs),
        "alt": np.repeat(letters[mutated[:, 1]], n_outputs),
        "output": np.tile(labels, len(mutated)),
        "score": score,
    }
    for name, dataset in group.items():
        if name == "effect_draws":
            continue
        values = dataset[i]
        per_mutant = values.ndim == 3
        rows[name] = (
            values[mutated[:, 0], mutated[:, 1]][:, columns].ravel()
            if per_mutant
            else np.tile(values[columns], len(mutated))
        )
    rows["n_draws"] = n_draws
    return pd.DataFrame(rows)


def _mutated(n_nonfinite: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which (position, category) hold a mutant: this count is NaN only where there is none."""
    return np.isfinite(n_nonfinite[..., 0])


def _columns(file: h5py.File, outputs: Sequence[str | int] | None) -> list[int]:
    return list(select_targets(list(file["axes/output"].asstr()[:]), outputs).columns)


def _range(file: h5py.File, i: int) -> GenomicRange | None:
    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim == 1:
            text = h5py.check_string_dtype(item.dtype) is not None
            found[name] = item.asstr()[i] if text else item[i]

    if "metadata" in file:
        file["metadata"].visititems(visit)
    return range_of(found)


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no result file {path}. Check the path")
    return path


def _is_hdf5(path: Path) -> bool:
    return path.name.endswith((".h5", ".hdf5"))


def open_hdf5(path: Path) -> h5py.File:
    """An HDF5 result of this version; else InputError."""
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"{path} cannot be read as HDF5: {error}. Write it again") from error
    kind, version = file.attrs.get("format"), file.attrs.get("format_version")
    if kind != FORMAT or version != FORMAT_VERSION:
        file.close()
        raise InputError(
            f"{path} must be a {FORMAT!r} file of version {FORMAT_VERSION}; got {kind!r}, version "
            f"{version}. Write it again with this version of kipoi_mcdropout"
        )
    return file


def _open_text(path: Path) -> IO[str]:
    return gzip.open(path, "rt") if path.name.endswith(".gz") else path.open()


def _check_score(score: str, known: Sequence[str], path: Path) -> None:
    if score not in known:
        raise InputError(f"score {score!r} is not in {path}; it has {', '.join(known)}")
