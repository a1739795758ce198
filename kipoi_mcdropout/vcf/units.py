"""The units of a run over a VCF: consecutive records, whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.effects.summary import EffectSummary
from kipoi_mcdropout.runs.compute import Unit
from kipoi_mcdropout.runs.schedule import Failure
from kipoi_mcdropout.runs.store import digest_of_texts
from kipoi_mcdropout.runs.summaries import decode_summaries, encode_summaries
from kipoi_mcdropout.runs.unit_file import StoredUnit
from kipoi_mcdropout.vcf.place.chunks import AlleleWindows, Chunk, owners
from kipoi_mcdropout.vcf.place.placement import Outcome, Placer, Scored
from kipoi_mcdropout.vcf.read.alleles import Skip
from kipoi_mcdropout.vcf.read.record import Record

Summaries = list[EffectSummary]


class RecordGroup:
    """Consecutive records; their alleles are placed when the unit is to be computed."""

    def __init__(self, records: list[Record], placer: Placer | None) -> None:
        self.records = records
        self._placer = placer
        self.chunk: Chunk | None = None

    def load(self) -> AlleleWindows | None:
        """Place the alleles; None if none of them can be scored."""
        assert self._placer is not None, "a merge computes nothing"
        self.chunk = Chunk.of(self.records, self._placer)
        return AlleleWindows.of(self.chunk.scored) if self.chunk.scored else None

    @property
    def place(self) -> str:
        """From where to where, for messages."""
        first, last = self.records[0], self.records[-1]
        return f"{first.contig}:{first.pos} to {last.contig}:{last.pos}"


VariantUnit = Unit[RecordGroup, AlleleWindows]


def variant_units(
    groups: Iterable[list[Record]], placer: Placer | None
) -> Iterator[VariantUnit]:
    """A unit for each group of records; `placer` is None where nothing is to be computed."""
    for number, records in enumerate(groups):
        group = RecordGroup(records, placer)
        yield Unit(number, digest_of_texts(record.key for record in records), group, group.load)


@dataclass(frozen=True)
class VariantResult:
    """What is known about the alleles of a group of records.

    Attributes
    ----------
    outcomes : list of lists of Scored or Skip
        For each record, one per ALT allele.
    owner : numpy.ndarray of int64, shape=(scored alleles,)
        Row of the reference of each scored allele in the summaries.
    summaries : list of EffectSummary
        One per score; empty if no allele was scored.
    """

    outcomes: list[list[Outcome]]
    owner: NDArray[np.int64]
    summaries: Summaries


class VariantCodec:
    """See `compute.Codec`. Numbers are kept in float64, as the outputs are made of them."""

    def name(self, group: RecordGroup) -> str:
        """The place, for messages."""
        return f"the records {group.place}"

    def encode(self, group: RecordGroup, result: Summaries | Failure | None) -> StoredUnit:
        """Outcomes and statistics of the alleles."""
        chunk = group.chunk
        assert chunk is not None, "a unit is kept after it was computed"
        if isinstance(result, Failure):
            failed = chunk.failed(result.reason)
            return StoredUnit({"outcomes": _plain(failed)}, failed=result.reason)
        about: dict[str, Any] = {"outcomes": _plain(chunk)}
        if not result:
            return StoredUnit(about, empty=True)
        summaries, arrays = encode_summaries(result, np.float64)
        return StoredUnit({**about, **summaries}, {**arrays, "owner": owners(chunk.scored)})


def decode(stored: StoredUnit) -> VariantResult:
    """What `VariantCodec` has encoded."""
    outcomes = [[_outcome(words) for words in record] for record in stored.about["outcomes"]]
    if "owner" not in stored.arrays:
        return VariantResult(outcomes, np.empty(0, np.int64), [])
    return VariantResult(
        outcomes, stored.arrays["owner"], decode_summaries(stored.about, stored.arrays)
    )


def _plain(chunk: Chunk) -> list[list[Any]]:
    return [[_words(outcome) for outcome in outcomes] for _, outcomes in chunk.records]


def _words(outcome: Outcome) -> list[Any]:
    if isinstance(outcome, Skip):
        return ["skip", *outcome]
    return ["scored", outcome.kind, list(outcome.flags)]


def _outcome(words: Sequence[Any]) -> Outcome:
    if words[0] == "skip":
        return Skip(words[1], words[2])
    return Scored(words[1], tuple(words[2]))
