"""Predictions as tidy rows: one per sequence and output."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from kipoi_mcdropout.files.record import PredictionRecord, range_of


def prediction_tables(record: PredictionRecord) -> Iterator[pa.Table]:
    """The rows of a batch.

    Columns: `sequence` (number, from 0), `name`, `chrom`, `start`, `end` (0-based, half-open),
    `strand`, `output`, `mean`, `var`, `sd`, `mcse`, `point` (float32), `var_within` and `var_between`
    where the model has several members, `n_nonfinite`, `n_draws`.
    """
    predictions, n_outputs = record.predictions, len(record.predictions.labels)
    ranges = [range_of(row) for row in record.metadata]
    n = len(ranges)

    def per_sequence(values: list[Any], kind: pa.DataType) -> pa.Array:
        return pa.array([v for v in values for _ in range(n_outputs)], kind)

    numbers = range(record.first, record.first + n)
    columns: dict[str, Any] = {
        "sequence": per_sequence(list(numbers), pa.int64()),
        "name": per_sequence(record.names(), pa.string()),
        "chrom": per_sequence([r and r.chrom for r in ranges], pa.string()),
        "start": per_sequence([r and r.start for r in ranges], pa.int64()),
        "end": per_sequence([r and r.end for r in ranges], pa.int64()),
        "strand": per_sequence([r and r.strand for r in ranges], pa.string()),
        "output": pa.array(list(predictions.labels) * n, pa.string()),
    }
    for name in record.statistics:
        columns[name] = pa.array(record.values(name).reshape(-1))
    columns["n_nonfinite"] = pa.array(predictions.n_nonfinite.reshape(-1).astype(np.int32))
    columns["n_draws"] = pa.repeat(pa.scalar(predictions.n_draws, pa.int32()), n * n_outputs)
    yield pa.table(columns)
