"""The rows of a result piece by piece, in the order in which the run wrote them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from kipoi_mcdropout.files.open_hdf5 import check_score, is_hdf5, open_hdf5
from kipoi_mcdropout.files.read import check_effects, choose_rows, sequence_rows
from kipoi_mcdropout.files.read_tables import iter_table, reading
from kipoi_mcdropout.outputs.targets import select_targets

_CELLS = 1_000_000  # effects of HDF5 that are read at once


def effect_pieces(
    path: Path, outputs: Sequence[str | int] | None = None, score: str | None = None
) -> Iterator[pd.DataFrame]:
    """The rows of `read.read_effects`; of a sequence with many outputs, some outputs at a time.

    Raises
    ------
    TargetError, InputError
        See `read.read_effects`.
    """
    if is_hdf5(path):
        yield from _from_hdf5(path, outputs, score)
        return
    for piece in iter_table(path):
        check_effects(path, piece.columns)
        yield choose_rows(piece, outputs, score, path)


def _from_hdf5(
    path: Path, outputs: Sequence[str | int] | None, score: str | None
) -> Iterator[pd.DataFrame]:
    with open_hdf5(path) as file, reading(path):
        record = json.loads(file.attrs["provenance"])
        scores = record["options"]["scores"]
        if score is not None:
            check_score(score, scores, path)
            scores = [score]
        columns = list(select_targets(list(file["output"].asstr()[:]), outputs).columns)
        step = max(1, _CELLS // (len(file["position"]) * len(file["alt"])))
        for i in range(len(file["reference"])):
            for name in scores:
                for first in range(0, len(columns), step):
                    chosen = columns[first : first + step]
                    yield sequence_rows(file, i, name, chosen, int(record["n_draws"]))
