"""Consecutive records of a VCF gathered into batches for the engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from kipoi_mcdropout.vcf.placement import Outcome, Placed, Placer
from kipoi_mcdropout.vcf.reader import Record
from kipoi_mcdropout.vcf.sequence_model import SequenceModel
from kipoi_mcdropout.vcf.table import ScoredAllele
from kipoi_mcdropout.vcf.views import ViewedBatch
from kipoi_mcdropout.vcf.windows import Anchor, code_table, reverse_complement

_MAX_RECORDS = 20_000  # in a chunk, however few of their alleles are scored


@dataclass
class Chunk:
    """Some consecutive records, whole, with what becomes of their alleles."""

    records: list[tuple[Record, list[Outcome]]] = field(default_factory=list)
    scored: list[ScoredAllele] = field(default_factory=list)

    def add(self, record: Record, outcomes: list[Outcome]) -> None:
        """Append a record."""
        self.records.append((record, outcomes))
        for number, outcome in enumerate(outcomes, start=1):
            if isinstance(outcome, Placed):
                self.scored.append((record, number, outcome))


def gather(records: Iterable[Record], placer: Placer, n_alleles: int) -> Iterator[Chunk]:
    """Cut a stream of records into chunks of about `n_alleles` scored alleles, in order.

    Where a chunk ends depends on the records alone, so a resumed run has the same chunks.
    """
    chunk = Chunk()
    for record in records:
        chunk.add(record, placer.place(record))
        if len(chunk.scored) >= n_alleles or len(chunk.records) >= _MAX_RECORDS:
            yield chunk
            chunk = Chunk()
    if chunk.records:
        yield chunk


def to_batch(model: SequenceModel, scored: list[ScoredAllele], rc: bool) -> ViewedBatch:
    """The engine's batch: each distinct reference window once, a mutant per allele.

    The views are the shifted windows and, with `rc`, the reverse complement of each.
    """
    rows: dict[Anchor, int] = {}
    first: list[Placed] = []
    owner = np.empty(len(scored), np.int64)
    for i, (_, _, placed) in enumerate(scored):
        if placed.anchor not in rows:
            rows[placed.anchor] = len(first)
            first.append(placed)
        owner[i] = rows[placed.anchor]
    table = code_table(model.unknown)
    views = []
    for shift in range(len(scored[0][2].ref_windows)):
        refs = table[np.stack([placed.ref_windows[shift] for placed in first])]
        alts = table[np.stack([placed.alt_windows[shift] for _, _, placed in scored])]
        views.append((refs, alts))
        if rc:
            views.append((reverse_complement(refs), reverse_complement(alts)))
    batches = tuple(model.batch(refs, owner, alts) for refs, alts in views)
    base = batches[0]
    return ViewedBatch(
        base.references, base.input_key, base.layout, base.reference_codes, owner, base.codes,
        views=batches,
    )  # fmt: skip


def chunk_alleles(n_outputs: int, n_scores: int, n_draws: int, batch_size: int) -> int:
    """Alleles in a chunk: whole mini-batches, within about 64 MB of results and reference outputs."""
    bytes_per_allele = n_outputs * (n_scores * 300 + 4 * (n_draws + 1))
    fitting = int(64e6 // bytes_per_allele) // batch_size * batch_size
    return min(max(fitting, batch_size), max(1024 // batch_size * batch_size, batch_size))
