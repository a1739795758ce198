"""The file of a background: Parquet, a row per mutant, output and score, with all draws in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.effects.columns import OUTPUT_EPS
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.effect_rows import effect_tables
from kipoi_mcdropout.files.group import OutputGroup, Writers, open_writers
from kipoi_mcdropout.files.open_hdf5 import existing
from kipoi_mcdropout.files.provenance import file_checksum
from kipoi_mcdropout.files.read import read_provenance
from kipoi_mcdropout.files.read_tables import is_parquet, reading
from kipoi_mcdropout.files.record import SequenceBlocks
from kipoi_mcdropout.files.table import ParquetTable, RowWriter
from kipoi_mcdropout.significance.background import Background, OutputBackground, rank_floor
from kipoi_mcdropout.significance.same_run import METHOD, check_same_run

if TYPE_CHECKING:
    from kipoi_mcdropout.effects.summary import EffectSummary, Ranking

SUFFIXES = (".parquet", ".pq")
BackgroundSource = str | Path | Background
DRAWS = "effect_draws"
_COLUMNS = ("output", "score", "effect_mean", "effect_point", "ref_point", "alt_point")


def background_writers(
    group: OutputGroup, paths: Sequence[Path], provenance: dict[str, Any]
) -> AbstractContextManager[Writers[SequenceBlocks]]:
    """A writer of the effects of sequences with their draws; use as a context."""

    def open_one(_name: str, temporary: Path | None) -> RowWriter:
        assert temporary is not None, "a background is written to a file"
        return RowWriter(ParquetTable(temporary, provenance), _tables)

    return open_writers(group, paths, open_one)


def _tables(sequence: SequenceBlocks) -> Iterator[pa.Table]:
    """The rows of `effect_rows`, with a list of the draws in each."""
    return effect_tables(sequence, with_draws=True)


def read_background(path: str | Path) -> Background:
    """A background from its file; its numbers are held in memory.

    Raises
    ------
    InputError
        If the file is not there, is damaged, or is no background.
    """
    path = existing(path)
    record = read_provenance(path) if is_parquet(path) else {"options": {}}
    if record["options"].get("method") != METHOD:
        raise InputError(
            f"{path} is no background. Give a Parquet file that `kipoi mcdropout background` has written"
        )
    parts: dict[tuple[str, str], list[tuple[NDArray[Any], ...]]] = {}
    n_draws = int(record["n_draws"])
    with reading(path), path.open("rb") as raw:
        file = pyarrow.parquet.ParquetFile(raw, page_checksum_verification=True)
        names = [name for name in (*_COLUMNS, OUTPUT_EPS, DRAWS) if name in file.schema_arrow.names]
        for batch in file.iter_batches(columns=names):
            _sort_rows(batch, n_draws, parts)
    labels = tuple(dict.fromkeys(output for _, output in parts))
    scores = tuple(dict.fromkeys(score for score, _ in parts))
    return Background(
        labels,
        {s: tuple(_of_output(s, parts.pop((s, label))) for label in labels) for s in scores},
        {**record, "file": {"path": str(path), "sha256": file_checksum(path)}},
    )


def _sort_rows(
    batch: pa.RecordBatch, n_draws: int, parts: dict[tuple[str, str], list[tuple[NDArray[Any], ...]]]
) -> None:
    """Add the rows of a batch to those of their score and output."""
    score, output = (np.asarray(batch.column(name).to_pylist()) for name in ("score", "output"))
    effect = "effect_mean" if n_draws else "effect_point"
    numbers = [batch.column(name).to_numpy() for name in (effect, "ref_point", "alt_point")]
    eps = np.zeros(len(score))
    if OUTPUT_EPS in batch.schema.names:
        eps = batch.column(OUTPUT_EPS).to_numpy()
    draws = np.empty((len(score), 0), np.float32)
    if n_draws:
        flat = batch.column(DRAWS).flatten().to_numpy()
        draws = flat.reshape(len(score), n_draws)
    keys, first, group = _groups(score, output)
    order = np.argsort(group, kind="stable")
    for key, rows in zip(keys, np.split(order, first[1:]), strict=True):
        parts.setdefault(key, []).append((*(x[rows] for x in numbers), eps[rows], draws[rows]))


def _groups(
    score: NDArray[Any], output: NDArray[Any]
) -> tuple[list[tuple[str, str]], NDArray[np.int64], NDArray[np.int64]]:
    """The distinct pairs, in the order of their first row; where each begins once sorted; and the
    number of the pair of each row.
    """
    pairs = pd.MultiIndex.from_arrays([score, output])
    group, found = pd.factorize(pairs)
    counts = np.bincount(group, minlength=len(found))
    return [(str(s), str(o)) for s, o in found], np.cumsum(counts) - counts, group


def _of_output(score: str, parts: list[tuple[NDArray[Any], ...]]) -> OutputBackground:
    effects, ref, alt, eps, draws = (np.concatenate(part) for part in zip(*parts, strict=True))
    floor = rank_floor({"ref_point": ref, "alt_point": alt}, score, float(eps.max(initial=0.0)))
    return OutputBackground.of(effects, draws.T, floor)


@dataclass(frozen=True)
class FileRanking:
    """Compares effects with a background from a file.

    Pickled it is only the path: other processes read the file themselves, as it can be large.
    """

    path: Path
    sha256: str
    background: Background

    def statistics(
        self, summary: EffectSummary, owner: NDArray[np.int64]
    ) -> dict[str, FloatArray]:
        """See `Background.statistics`."""
        return self.background.statistics(summary, owner)

    def __reduce__(self) -> tuple[Any, ...]:
        chosen = (self.background.labels, tuple(self.background.scores))
        return _read_again, (self.path, self.sha256, *chosen)


def _read_again(
    path: Path, sha256: str, labels: Sequence[str], scores: Sequence[str]
) -> FileRanking:
    """The same in another process.

    Raises
    ------
    InputError
        If the file has changed.
    """
    background = read_background(path)
    if background.provenance["file"]["sha256"] != sha256:
        raise InputError(
            f"the background {path} has changed since the run began. Put the file back, or run again"
        )
    return FileRanking(path, sha256, background.select(labels, scores))


def background_for(
    source: BackgroundSource, record: dict[str, Any], labels: Sequence[str], scores: Sequence[str]
) -> tuple[Ranking, dict[str, Any]]:
    """The comparison with a background for a run, and the record of the run with it.

    Parameters
    ----------
    source : str, Path or Background
        The file, or what is in memory.
    record : dict
        Of the run.
    labels, scores : sequence of str
        Of the run's outputs and scores.

    Raises
    ------
    InputError
        If the file cannot be read, or does not fit the run.
    """
    background = as_background(source)
    check_same_run(background.provenance, record)
    chosen, made = background.select(labels, scores), recorded_with(background, record)
    if isinstance(source, Background):
        return chosen, made
    return FileRanking(Path(source).absolute(), made["files"]["background"]["sha256"], chosen), made


def as_background(source: BackgroundSource) -> Background:
    """The background itself, or that of a file."""
    return source if isinstance(source, Background) else read_background(source)


def recorded_with(background: Background, record: dict[str, Any]) -> dict[str, Any]:
    """The record of a run with the background against which its effects are ranked."""
    options = {**record["options"], "background": background.provenance["options"]["background_of"]}
    files = {**record["files"], "background": background.provenance["file"]}
    plain: dict[str, Any] = json.loads(json.dumps({**record, "options": options, "files": files}))
    return plain
