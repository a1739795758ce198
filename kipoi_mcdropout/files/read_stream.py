"""Effects piece by piece, so that a report of a large result needs little memory."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path

import pandas as pd

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.open_hdf5 import open_hdf5
from kipoi_mcdropout.files.read import sequence_rows
from kipoi_mcdropout.files.read_tables import iter_table, reading

TEXT_COLUMNS = (
    "name", "chrom", "strand", "id", "ref", "alt", "kind", "flags", "output", "score",
)  # fmt: skip
REQUIRED = ("output", "score", "effect_mean", "effect_sd", "effect_mcse", "effect_point", "n_draws")
_CELLS = 1_000_000  # of HDF5 read at once: each block of outputs unpacks the sequence again


def iter_effects(path: Path, outputs: Collection[str] | None = None) -> Iterator[pd.DataFrame]:
    """The rows of `read.read_effects`, some hundred thousand at a time, in the order of the file.

    Texts are str and never missing ("" where the file has none).

    Parameters
    ----------
    path : Path
    outputs : collection of str, optional
        Labels of the outputs to read; all by default.

    Raises
    ------
    InputError
        If columns are missing.
    """
    is_hdf5 = path.name.endswith((".h5", ".hdf5"))
    pieces = _from_hdf5(path, outputs) if is_hdf5 else iter_table(path)
    for piece in pieces:
        missing = [name for name in REQUIRED if name not in piece]
        if missing:
            raise InputError(
                f"{path} lacks the columns {', '.join(missing)}. Write it again with this version"
            )
        piece = with_texts(piece)
        yield piece if outputs is None else piece[piece["output"].isin(outputs)]


def with_texts(piece: pd.DataFrame) -> pd.DataFrame:
    """The rows with texts that are str and never missing."""
    texts = {name: _text(piece[name]) for name in TEXT_COLUMNS if name in piece}
    changed: pd.DataFrame = piece.assign(**texts)
    return changed


def _text(column: pd.Series) -> pd.Series:
    missing = column.isna()
    if missing.any():
        column = column.astype(object).where(~missing, "")
    return column.astype(str)


def _from_hdf5(path: Path, outputs: Collection[str] | None) -> Iterator[pd.DataFrame]:
    with open_hdf5(path) as file, reading(path):
        n_draws = int(json.loads(file.attrs["provenance"])["n_draws"])
        labels = file["output"].asstr()[:]
        columns = [i for i, label in enumerate(labels) if outputs is None or label in outputs]
        mutants = len(file["position"]) * len(file["alt"])
        step = max(1, _CELLS // max(1, mutants))
        for i in range(len(file["reference"])):
            for score in file["scores"]:
                for first in range(0, len(columns), step):
                    yield sequence_rows(file, i, score, columns[first : first + step], n_draws)


def positions_without_base(path: Path) -> int | None:
    """Positions of all sequences that have no mutant since the reference is no base (N); HDF5 only."""
    if not path.name.endswith((".h5", ".hdf5")):
        return None
    total = 0
    with open_hdf5(path) as file, reading(path):
        counts = file[f"scores/{next(iter(file['scores']))}/n_nonfinite"]
        for i in range(len(file["reference"])):
            mutated = ~pd.isna(counts[i][..., 0])
            total += int((~mutated.any(axis=1)).sum())
    return total
