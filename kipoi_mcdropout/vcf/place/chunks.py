"""Consecutive records of a VCF gathered into batches for the engine."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.model.sequence_model import SequenceModel
from kipoi_mcdropout.sequence.letters import reverse_complement
from kipoi_mcdropout.sequence.mutants import MutantBatch
from kipoi_mcdropout.vcf.place.placement import Outcome, Placed, Placer
from kipoi_mcdropout.vcf.place.views import ViewedBatch
from kipoi_mcdropout.vcf.place.windows import Anchor
from kipoi_mcdropout.vcf.read.alleles import Skip
from kipoi_mcdropout.vcf.read.record import Record

_LETTERS = ("references", "alleles", "behind")  # arrays of windows

PlacedAllele = tuple[Record, int, Placed]  # record, number of the ALT from 1, its windows


@dataclass
class Chunk:
    """Some consecutive records, whole, with what becomes of their alleles."""

    records: list[tuple[Record, list[Outcome]]] = field(default_factory=list)
    scored: list[PlacedAllele] = field(default_factory=list)

    @classmethod
    def of(cls, records: Iterable[Record], placer: Placer) -> Chunk:
        """Place the alleles of some records."""
        chunk = cls()
        for record in records:
            outcomes = placer.place(record)
            chunk.records.append((record, outcomes))
            for number, outcome in enumerate(outcomes, start=1):
                if isinstance(outcome, Placed):
                    chunk.scored.append((record, number, outcome))
        return chunk

    def failed(self, reason: str) -> Chunk:
        """The chunk with every allele that was to be scored skipped as `failed`."""
        skip = Skip("failed", reason)
        return Chunk([(r, [skip if isinstance(o, Placed) else o for o in os]) for r, os in self.records])


def gather(records: Iterable[Record], n_alleles: int) -> Iterator[list[Record]]:
    """Cut a stream of records into groups of about `n_alleles` ALT alleles, in order.

    Where a group ends depends on the records alone, not on what becomes of them: a resumed run, and
    every shard of a run, has the same groups.
    """
    group: list[Record] = []
    n = 0
    for record in records:
        group.append(record)
        n += record.n_mutants
        if n >= n_alleles:
            yield group
            group, n = [], 0
    if group:
        yield group


@dataclass(frozen=True)
class AlleleWindows:
    """What the model is shown of the alleles of a chunk: letters, not yet encoded.

    Small when pickled, as neighbouring windows have much in common.

    Attributes
    ----------
    references : numpy.ndarray of uint8 (ASCII), shape=(shifts, references, length)
        Each distinct one once.
    alleles : numpy.ndarray of uint8 (ASCII), shape=(shifts, alleles, length)
    owner : numpy.ndarray of int64, shape=(alleles,)
        Row of the reference of each allele.
    indels : numpy.ndarray of int64, shape=(alleles, 2)
        See `windows.Indel`; zeros where nothing is stitched.
    behind : numpy.ndarray of uint8 (ASCII), shape=(shifts, alleles with an indel, length)
        The windows that end with the reference.
    """

    references: NDArray[np.uint8]
    alleles: NDArray[np.uint8]
    owner: NDArray[np.int64]
    indels: NDArray[np.int64]
    behind: NDArray[np.uint8]

    @classmethod
    def of(cls, scored: list[PlacedAllele]) -> AlleleWindows:
        """The windows of placed alleles, in order."""
        owner = owners(scored)
        first = np.unique(owner, return_index=True)[1]
        alleles = np.stack([placed.alt_windows for _, _, placed in scored], axis=1)
        behind = [placed.behind_windows for _, _, placed in scored if placed.behind_windows]
        return cls(
            np.stack([scored[i][2].ref_windows for i in first], axis=1),
            alleles,
            owner,
            np.array([placed.indel for _, _, placed in scored], np.int64),
            np.stack(behind, axis=1) if behind else alleles[:, :0],
        )

    def __getstate__(self) -> dict[str, Any]:
        letters = {name: getattr(self, name) for name in _LETTERS}
        packed = {name: (x.shape, zlib.compress(x.tobytes(), level=1)) for name, x in letters.items()}
        return {"owner": self.owner, "indels": self.indels, **packed}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name in _LETTERS:
            shape, data = state[name]
            x = np.frombuffer(zlib.decompress(data), np.uint8).reshape(shape)
            object.__setattr__(self, name, x)
        for name in ("owner", "indels"):
            object.__setattr__(self, name, state[name])


def owners(scored: list[PlacedAllele]) -> NDArray[np.int64]:
    """Number of the reference of each allele; alleles with the same anchor share one."""
    rows: dict[Anchor, int] = {}
    return np.array([rows.setdefault(placed.anchor, len(rows)) for _, _, placed in scored], np.int64)


def to_batch(model: SequenceModel, windows: AlleleWindows, rc: bool) -> ViewedBatch:
    """The engine's batch: each distinct reference window once, a mutant per allele.

    The views are the shifted windows and, with `rc`, the reverse complement of each.
    """
    table, layout = model.table, model.layout
    has_indel = windows.indels[:, 1] != 0

    def batches(alleles: NDArray[np.uint8]) -> tuple[MutantBatch, ...]:
        views = []
        for refs, alts in zip(table[windows.references], table[alleles], strict=True):
            views.append((refs, alts))
            if rc:
                views.append((reverse_complement(refs, layout), reverse_complement(alts, layout)))
        return tuple(model.batch(refs, windows.owner, alts) for refs, alts in views)

    views = batches(windows.alleles)
    behind: tuple[MutantBatch, ...] = ()
    if has_indel.any():
        alleles = windows.alleles.copy()
        alleles[:, has_indel] = windows.behind
        behind = batches(alleles)
    base = views[0]
    return ViewedBatch(
        base.references, base.input_key, base.layout, base.reference_codes, base.owner, base.codes,
        views=views, behind=behind, indels=windows.indels,
    )  # fmt: skip


def chunk_alleles(
    n_outputs: int, n_scores: int, n_draws: int, batch_size: int, profile_size: int = 0
) -> int:
    """Alleles in a chunk: whole mini-batches, within about 64 MB of results and reference outputs.

    `profile_size` are the numbers of a profile that is compared with its reference: then the profiles
    of both in all draws count too, and a chunk may have fewer alleles than a mini-batch.
    """
    bytes_per_allele = n_outputs * (n_scores * 300 + 4 * (n_draws + 1))
    if profile_size:
        bytes_per_allele += 8 * profile_size * (n_draws + 1)
        batch_size = max(1, min(batch_size, int(64e6 // bytes_per_allele)))
    fitting = int(64e6 // bytes_per_allele) // batch_size * batch_size
    return min(max(fitting, batch_size), max(1024 // batch_size * batch_size, batch_size))
