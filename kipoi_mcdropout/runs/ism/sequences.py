"""The sequences that are mutated: arrays, or windows of a genome around regions of a BED file."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.arrays.nested import Nested, leaves
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.provenance import input_files
from kipoi_mcdropout.model.model import Model
from kipoi_mcdropout.model.sequence_model import SequenceModel
from kipoi_mcdropout.sequence.bed import read_intervals
from kipoi_mcdropout.sequence.genome import Genome

_AT_ONCE = 64  # windows in a batch


@dataclass(frozen=True)
class Sequences:
    """Sequences in batches, with where they come from.

    Attributes
    ----------
    batches : iterator of dict
        As Kipoi's dataloaders give them: `inputs`, and `metadata` if there is any, batch first.
    arguments : mapping
        Arguments of the dataloader, for the record. Those that are paths of files get a checksum.
    dataloader : str or None
        Name of Kipoi's dataloader, where it is not the model's own.
    """

    batches: Iterator[dict[str, Any]]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    dataloader: str | None = None

    @classmethod
    def from_arrays(cls, model: Model, x: Nested) -> Sequences:
        """All inputs of a model as arrays, batch first; a single batch.

        Raises
        ------
        InputError
            If they are not arrays of two or more axes, or the batch is empty.
        """
        x = model.adapter.arrays(x)
        sizes = [leaf.shape for _, leaf in leaves(x)]
        if not sizes or any(len(shape) < 2 or shape[0] == 0 for shape in sizes):
            raise InputError(
                "x must be an array of one or more inputs with the batch first, such as shape "
                f"(1, 4, 500), or a dict or list of arrays; got {sizes[0] if sizes else 'nothing'}"
            )
        return cls(iter([{"inputs": x}]))

    @classmethod
    def from_regions(cls, model: Model, fasta: str | Path, regions: str | Path) -> Sequences:
        """Windows of a genome, each as long as the model's input, around the middle of a region.

        Parameters
        ----------
        model : Model
        fasta : str or Path
            The genome.
        regions : str or Path
            BED (0-based, half-open), plain or gzipped. A region of another length is resized about its
            middle; the window is read on the forward strand. The fourth column names it.

        Raises
        ------
        InputError
            If a contig is not in the genome, or a window runs over an end of its contig.
        """
        arguments = {"fasta": str(fasta), "regions": str(regions)}
        return cls(_windows(model.sequences, Path(fasta), Path(regions)), arguments)

    def files(self) -> dict[str, dict[str, str]]:
        """Paths and checksums of the files among the arguments."""
        return input_files(self.arguments)

    def peek(self) -> tuple[dict[str, Any], Sequences]:
        """The first batch, and the same sequences with all batches."""
        first = next(self.batches)
        rest = itertools.chain([first], self.batches)
        return first, Sequences(rest, self.arguments, self.dataloader)


def _windows(model: SequenceModel, fasta: Path, regions: Path) -> Iterator[dict[str, Any]]:
    """Yield batches of windows, as a dataloader of Kipoi would; see `Sequences.from_regions`."""
    table = read_intervals(regions)
    with Genome(fasta) as genome:
        for first in range(0, len(table), _AT_ONCE):
            rows = table.iloc[first : first + _AT_ONCE]
            chroms = rows["chrom"].astype(str).tolist()
            middles = ((rows["start"] + rows["end"]) // 2).tolist()
            starts = [middle - model.length // 2 for middle in middles]
            codes = [
                _codes(model, genome, chrom, start)
                for chrom, start in zip(chroms, starts, strict=True)
            ]
            yield {
                "inputs": model.inputs(np.stack(codes)),
                "metadata": {"ranges": _ranges(chroms, starts, model.length, rows)},
            }


def _codes(model: SequenceModel, genome: Genome, chrom: str, start: int) -> NDArray[np.uint8]:
    """The window that begins at `start` (0-based), as numbers of letters, shape=(length,).

    Raises
    ------
    InputError
        If the contig is not in the genome, or the window runs over one of its ends.
    """
    end = start + model.length
    if chrom not in genome.lengths:
        some = ", ".join(list(genome.lengths)[:5])
        raise InputError(f"contig {chrom!r} of the regions is not in {genome.path}, which has {some}")
    if start < 0 or end > genome.lengths[chrom]:
        raise InputError(
            f"the window {chrom}:{start}-{end}, {model.length} bp around the middle of a region, runs "
            f"over an end of the contig, which has {genome.lengths[chrom]} bp. Leave the region out"
        )
    table = np.full(256, model.unknown, np.uint8)
    for code, letter in enumerate(model.layout.alphabet):
        table[ord(letter)] = code
    return table[genome.fetch(chrom, start, end)]


def _ranges(chroms: list[str], starts: list[int], length: int, rows: Any) -> dict[str, NDArray[Any]]:
    """As Kipoi's GenomicRanges: 0-based, half-open."""
    names = [
        name or f"{chrom}:{start}-{start + length}"
        for name, chrom, start in zip(rows["name"].astype(str), chroms, starts, strict=True)
    ]
    return {
        "chr": np.array(chroms), "start": np.array(starts), "end": np.array(starts) + length,
        "id": np.array(names), "strand": np.array(["+"] * len(chroms)),
    }  # fmt: skip
