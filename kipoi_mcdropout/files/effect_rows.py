"""Effects of a sequence as tidy rows: one per substitution, output and score."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kipoi_mcdropout.effects.columns import OF_EACH, OUTPUT_EPS
from kipoi_mcdropout.effects.rounding import FLOAT32_EPS
from kipoi_mcdropout.files.record import SequenceBlocks, SequenceRecord
from kipoi_mcdropout.sequence.mutants import chunks

if TYPE_CHECKING:  # results are read without torch
    from kipoi_mcdropout.effects.summary import EffectSummary

_ROWS = 100_000  # of a table held at a time


def effect_tables(
    sequence: SequenceBlocks,
    member_columns: Mapping[str, int] = MappingProxyType({}),
    with_draws: bool = False,
) -> Iterator[pa.Table]:
    """The rows of one sequence, in pieces: all of the first score, then all of the second, ...

    Columns: `sequence` (number, from 0) and `name`; `chrom`, `pos` (1-based, as in a VCF) and `strand`
    where the dataloader gives ranges, else null; `position` (0-based, in the sequence), `ref` and
    `alt` (on the sequence's own strand), `output`, `score`, then the statistics of
    `effects.EffectSummary` as float32, the counts, and `n_draws`; `output_eps` where the model computes
    less precisely than float32. `member_columns` are those of the mean effects of members, with the
    number of the member (`member_names.asked_columns`). `with_draws` adds `effect_draws`, a list of
    the effects of all draws.
    """
    n_scores = len(next(sequence.blocks()).effects.summaries)
    for score in range(n_scores):
        for record in sequence.blocks():
            n_mutants = len(record.effects.substitutions.position)
            for rows in chunks(n_mutants, max(1, _ROWS // len(record.effects.targets.labels))):
                summary = record.effects.summaries[score]
                table = _rows(record, summary, rows, member_columns)
                if with_draws and summary.draws is not None and len(summary.draws):
                    table = table.append_column("effect_draws", _draws(summary.draws[:, rows]))
                yield table


def _draws(draws: NDArray[Any]) -> pa.Array:
    """A list for each row, of draws of shape=(draws, mutants, outputs)."""
    flat = np.ascontiguousarray(np.moveaxis(draws, 0, -1), np.float32).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), len(draws))


def _rows(
    record: SequenceRecord, summary: EffectSummary, rows: slice, member_columns: Mapping[str, int]
) -> pa.Table:
    effects, edits = record.effects, record.effects.substitutions
    labels, letters = effects.targets.labels, np.array(effects.layout.letters())
    position, n_outputs = edits.position[rows], len(labels)
    n = len(position) * n_outputs

    def per_mutant(values: Any) -> Any:
        return np.repeat(values, n_outputs)

    def constant(value: Any, kind: pa.DataType) -> pa.Array:
        return pa.repeat(pa.scalar(value, kind), n)

    where = record.range
    pos = None if where is None else per_mutant(where.position_1_based(position))
    columns: dict[str, Any] = {
        "sequence": constant(record.index, pa.int64()),
        "name": constant(record.name, pa.string()),
        "chrom": constant(None if where is None else where.chrom, pa.string()),
        "pos": pa.nulls(n, pa.int64()) if pos is None else pa.array(pos, pa.int64()),
        "strand": constant(None if where is None else where.strand, pa.string()),
        "position": pa.array(per_mutant(position), pa.int64()),
        "ref": pa.array(per_mutant(letters[effects.reference[position]])),
        "alt": pa.array(per_mutant(letters[edits.alt[rows]])),
        "output": pa.array(np.tile(np.array(labels, dtype=object), len(position)), pa.string()),
        "score": constant(summary.score.name, pa.string()),
    }
    for name, values in summary.reference.items():
        columns[name] = pa.array(np.tile(values[0].astype(np.float32), len(position)))
    for name, values in summary.per_mutant().items():
        if name not in OF_EACH:
            kind = np.int32 if name in summary.counts else np.float32
            columns[name] = pa.array(values[rows].reshape(-1).astype(kind))
    for name, member in member_columns.items():
        assert summary.member_means is not None, "they are asked for of several members alone"
        columns[name] = pa.array(summary.member_means[member, rows].reshape(-1).astype(np.float32))
    if "n_draws" not in summary.counts:  # the same of all mutants
        columns["n_draws"] = constant(summary.n_draws, pa.int32())
    if summary.eps > FLOAT32_EPS:
        columns[OUTPUT_EPS] = constant(summary.eps, pa.float64())
    return pa.table(columns)
