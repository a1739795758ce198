"""The data that writers receive: results of sequences, with their names and coordinates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.arrays.nested import leaves

if TYPE_CHECKING:  # results are read without torch
    from kipoi_mcdropout.effects.saturation import SequenceEffects
    from kipoi_mcdropout.model.predict import PredictionSummary

PREDICTION_STATISTICS = ("mean", "var", "sd", "mcse", "point")
_RANGE_FIELDS = ("chr", "start", "end", "id", "strand")


@dataclass(frozen=True)
class GenomicRange:
    """Where a sequence lies: 0-based, half-open, as Kipoi's GenomicRanges."""

    chrom: str
    start: int
    end: int
    name: str
    strand: str

    def position_1_based(self, position: NDArray[np.int64]) -> NDArray[np.int64]:
        """Genomic position, 1-based as in a VCF, of positions (from 0) of the sequence."""
        return self.end - position if self.strand == "-" else self.start + 1 + position


@dataclass(frozen=True)
class SequenceRecord:
    """One sequence of a run, or a block of its substitutions."""

    index: int  # in the order of the dataloader, from 0
    effects: SequenceEffects  # of the block
    metadata: dict[str, Any] = field(default_factory=dict)  # Kipoi's, flat: "ranges/chr", ...
    range: GenomicRange | None = None

    @property
    def name(self) -> str:
        """See `sequence_name`."""
        return sequence_name(self.metadata, self.index)


@dataclass(frozen=True)
class SequenceBlocks:
    """One sequence of a run as blocks of consecutive substitutions, read when they are needed.

    `blocks()` gives the blocks in order, any number of times; only one is held at a time.
    """

    blocks: Callable[[], Iterator[SequenceRecord]]

    @classmethod
    def of(cls, record: SequenceRecord) -> SequenceBlocks:
        """A sequence that is a single block."""
        return cls(lambda: iter([record]))


@dataclass(frozen=True)
class PredictionRecord:
    """The predictions of consecutive sequences."""

    first: int  # number of the first, in the order of the dataloader
    predictions: PredictionSummary
    metadata: list[dict[str, Any]]  # Kipoi's, flat, one per sequence

    def names(self) -> list[str]:
        """The names of the sequences."""
        return [sequence_name(row, i) for i, row in enumerate(self.metadata, self.first)]

    @property
    def statistics(self) -> tuple[str, ...]:
        """PREDICTION_STATISTICS, with the parts of the variance where there are several members."""
        several = self.predictions.var_within is not None
        return PREDICTION_STATISTICS + (("var_within", "var_between") if several else ())

    def values(self, statistic: str) -> NDArray[np.float32]:
        """One of `statistics` as it is written: NaN where it is no number of 32 bits."""
        values = getattr(self.predictions, statistic)
        with np.errstate(over="ignore"):
            narrow = values.astype(np.float32)
        stored: NDArray[np.float32] = np.where(np.isfinite(narrow), narrow, np.float32(np.nan))
        return stored

    def not_finite(self) -> NDArray[np.bool_]:
        """Where a statistic is NaN, shape=(n, outputs)."""
        statistics = PREDICTION_STATISTICS if self.predictions.n_draws else ("point",)
        missing: NDArray[np.bool_] = np.any([np.isnan(self.values(name)) for name in statistics], axis=0)
        return missing


def metadata_rows(batch: Mapping[str, Any], n: int) -> list[dict[str, Any]]:
    """Kipoi's metadata of a batch as one flat dict per sequence."""
    flat = dict(leaves(batch.get("metadata") or {}))
    usable = {k: np.asarray(v) for k, v in flat.items() if np.ndim(v) >= 1 and len(v) == n}
    return [{key: values[i] for key, values in usable.items()} for i in range(n)]


def sequence_name(metadata: Mapping[str, Any], index: int) -> str:
    """The name of a sequence: the id of its range, else `name` or `id` in the metadata, else its number.

    `metadata` is flat: "ranges/id", "name".
    """
    where = range_of(metadata)
    for name in (where.name if where else "", metadata.get("name", ""), metadata.get("id", "")):
        text = name.decode() if isinstance(name, bytes) else str(name)
        if text:
            return text
    return str(index)


def range_of(metadata: Mapping[str, Any]) -> GenomicRange | None:
    """The genomic range in a sequence's metadata, None where there is none or more than one."""
    prefixes = [key[: -len("chr")] for key in metadata if key.endswith("chr")]
    found = [p for p in prefixes if all(p + field in metadata for field in _RANGE_FIELDS)]
    if len(found) != 1:
        return None
    chrom, start, end, name, strand = (metadata[found[0] + field] for field in _RANGE_FIELDS)
    return GenomicRange(str(chrom), int(start), int(end), str(name), str(strand))
