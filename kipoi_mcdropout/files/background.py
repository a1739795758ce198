"""The file of a background: Parquet, a row per mutant, output and score, with the effect of every draw."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

from kipoi_mcdropout.effects.columns import OUTPUT_EPS
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.effect_rows import effect_tables
from kipoi_mcdropout.files.open_hdf5 import existing
from kipoi_mcdropout.files.provenance import file_checksum
from kipoi_mcdropout.files.read import read_provenance
from kipoi_mcdropout.files.read_tables import is_parquet, reading
from kipoi_mcdropout.files.record import SequenceBlocks
from kipoi_mcdropout.files.table import ParquetTable, RowWriter
from kipoi_mcdropout.significance.background import Background, OutputBackground, rank_floor
from kipoi_mcdropout.significance.same_run import METHOD

SUFFIXES = (".parquet", ".pq")
DRAWS = "effect_draws"
_COLUMNS = ("output", "score", "effect_mean", "effect_point", "ref_point", "alt_point")


def background_writer(path: Path, provenance: dict[str, Any]) -> RowWriter:
    """Writes the effects of sequences, one `SequenceBlocks` at a time, with their draws."""
    return RowWriter(ParquetTable(path, provenance), _tables)


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
    for s in dict.fromkeys(score.tolist()):
        for o in dict.fromkeys(output[score == s].tolist()):
            rows = (score == s) & (output == o)
            own = (*(x[rows] for x in numbers), eps[rows], draws[rows])
            parts.setdefault((s, o), []).append(own)


def _of_output(score: str, parts: list[tuple[NDArray[Any], ...]]) -> OutputBackground:
    effects, ref, alt, eps, draws = (np.concatenate(part) for part in zip(*parts, strict=True))
    floor = rank_floor({"ref_point": ref, "alt_point": alt}, score, float(eps.max(initial=0.0)))
    return OutputBackground.of(effects, draws.T, floor)


def recorded_with(background: Background, record: dict[str, Any]) -> dict[str, Any]:
    """The record of a run with the background against which its effects are ranked."""
    options = {**record["options"], "background": background.provenance["options"]["background_of"]}
    files = {**record["files"], "background": background.provenance["file"]}
    return json.loads(json.dumps({**record, "options": options, "files": files}))
