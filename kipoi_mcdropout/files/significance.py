"""Compare a result with a background, after the run: piece by piece, from file to file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kipoi_mcdropout.effects.columns import BACKGROUND_STATISTICS, P_EMPIRICAL, Q_EMPIRICAL
from kipoi_mcdropout.effects.streamed_q import StreamedQs
from kipoi_mcdropout.files.atomic import STDOUT, atomic_path
from kipoi_mcdropout.files.background import (
    BackgroundSource,
    as_background,
    read_background,
    recorded_with,
)
from kipoi_mcdropout.files.open_hdf5 import existing, is_hdf5, open_hdf5
from kipoi_mcdropout.files.read import (
    check_effects,
    has_draws,
    read_provenance,
    sequence_draws,
    sequence_rows,
)
from kipoi_mcdropout.files.read_tables import iter_table, reading
from kipoi_mcdropout.files.save import arrow_rows
from kipoi_mcdropout.files.table import open_table
from kipoi_mcdropout.significance.background import Background
from kipoi_mcdropout.significance.ranked_rows import groups_of, ranked_rows
from kipoi_mcdropout.significance.same_run import check_same_run

_CELLS = 2_000_000  # effects and draws that are read at a time


class Ranked(NamedTuple):
    """What was compared."""

    n_rows: int
    with_draws: bool  # so that the table has the sds of the percentiles


class _Comparison:
    """A background that fits a result."""

    def __init__(self, background: Background, record: dict[str, Any]) -> None:
        check_same_run(background.provenance, record)
        self.background = background
        self.n_draws = int(record["n_draws"])
        self.n_members = max(1, len(record.get("members", ())))
        self._q = StreamedQs()
        self._checked: set[tuple[str, str]] = set()

    def add(self, table: pd.DataFrame) -> None:
        """Count the p of some rows, for the q-values."""
        for score, output in groups_of(table).keys() - self._checked:
            self.background.select([output], [score])  # refuses what it has not
            self._checked.add((score, output))
        p = self._ranked(table, None)[P_EMPIRICAL]
        for key, rows in groups_of(table).items():
            self._q.add(key, p[rows])

    def complete(self, table: pd.DataFrame, draws: NDArray[Any] | None) -> pd.DataFrame:
        """The rows with all statistics, once the p of all rows were counted."""
        old = [name for name in (*BACKGROUND_STATISTICS, Q_EMPIRICAL) if name in table]
        found = self._ranked(table, draws)
        p = found[P_EMPIRICAL]
        q = np.full(len(table), np.nan, p.dtype)
        for key, rows in groups_of(table).items():
            q[rows] = self._q.q(key, p[rows])
        completed: pd.DataFrame = table.drop(columns=old).assign(**found, **{Q_EMPIRICAL: q})
        return completed

    def _ranked(
        self, table: pd.DataFrame, draws: NDArray[Any] | None
    ) -> dict[str, NDArray[Any]]:
        return ranked_rows(table, draws, self.background, self.n_draws, self.n_members)


def with_significance(
    pieces: Sequence[tuple[pd.DataFrame, NDArray[Any] | None]],
    record: dict[str, Any],
    background: BackgroundSource,
) -> pd.DataFrame:
    """Effects that are in memory, with their statistics against a background.

    Parameters
    ----------
    pieces : sequence of (DataFrame, numpy.ndarray or None)
        Rows, and their draws, shape=(draws, rows), where these were kept.
    record : dict
        Provenance of the effects.
    background : str, Path or Background

    Raises
    ------
    InputError
        If the background cannot be read or does not fit.
    """
    known = as_background(background)
    comparison = _Comparison(known, record)
    for table, _ in pieces:
        comparison.add(table)
    done = [comparison.complete(table, draws) for table, draws in pieces]
    ranked: pd.DataFrame = pd.concat(done, ignore_index=True)
    return ranked


def write_significance(
    result: str | Path, background: str | Path, output: str | Path, overwrite: bool = False
) -> Ranked:
    """Write the rows of a result with their statistics against a background.

    The result is read twice, piece by piece, as a q-value depends on all p.

    Raises
    ------
    InputError
        If a file cannot be read, or the background does not fit the result.
    OutputError
        If the output cannot be made.
    """
    path = existing(result)
    record = read_provenance(path)
    known = read_background(background)
    comparison = _Comparison(known, record)
    for table, _ in _pieces(path, with_draws=False):
        comparison.add(table)
    made = recorded_with(known, record)
    if str(output) == STDOUT:
        return _write(comparison, path, "-", None, made)
    with atomic_path(output, overwrite) as temporary:
        return _write(comparison, path, Path(output).name, temporary, made)


def _write(
    comparison: _Comparison, path: Path, name: str, target: Path | None, record: dict[str, Any]
) -> Ranked:
    with_draws = has_draws(path)
    table, n = open_table(name, target, record), 0
    try:
        for rows, draws in _pieces(path, with_draws):
            table.write(arrow_rows(comparison.complete(rows, draws)))
            n += len(rows)
    finally:
        table.close()
    return Ranked(n, with_draws)


def _pieces(path: Path, with_draws: bool) -> Iterator[tuple[pd.DataFrame, NDArray[Any] | None]]:
    """Rows of a result, in its order, with their draws, shape=(draws, rows)."""
    if is_hdf5(path):
        yield from _hdf5_pieces(path, with_draws)
        return
    for table in iter_table(path):
        check_effects(path, table.columns)
        yield table, None


def _hdf5_pieces(
    path: Path, with_draws: bool
) -> Iterator[tuple[pd.DataFrame, NDArray[Any] | None]]:
    with open_hdf5(path) as file, reading(path):
        record = json.loads(file.attrs["provenance"])
        n_draws, n_outputs = int(record["n_draws"]), len(file["output"])
        cells = len(file["position"]) * len(file["alt"]) * (1 + n_draws * with_draws)
        step = max(1, _CELLS // max(1, cells))
        for i in range(len(file["reference"])):
            for score in record["options"]["scores"]:
                for first in range(0, n_outputs, step):
                    columns = list(range(first, min(first + step, n_outputs)))
                    rows = sequence_rows(file, i, score, columns, n_draws)
                    yield rows, sequence_draws(file, i, score, columns) if with_draws else None
