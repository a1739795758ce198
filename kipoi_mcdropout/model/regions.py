"""Windows of a genome around the regions of a BED file, as inputs of a model."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.errors import InputError, InputWarning
from kipoi_mcdropout.model.find_shape import OpenLengthError
from kipoi_mcdropout.model.model import Model
from kipoi_mcdropout.model.sequence_model import SequenceModel
from kipoi_mcdropout.model.sequences import AT_ONCE, Sequences
from kipoi_mcdropout.sequence.bed import Interval, read_rows
from kipoi_mcdropout.sequence.contig_names import ContigMap, contig_map_of
from kipoi_mcdropout.sequence.genome import Genome
from kipoi_mcdropout.sequence.letters import letter_codes, reverse_complement
from kipoi_mcdropout.sequence.region_windows import (
    Edge,
    Window,
    WindowOptions,
    length_range,
    region_windows,
)


@dataclass(frozen=True)
class Regions:
    """Windows of a genome around the regions of a BED file.

    Windows have the length of the model's input. Where the model takes any length, it is that of the
    `Model`, else that of all regions. A region of another length is resized about its centre: the window
    of L bases begins at (start + end) // 2 - L // 2, as kipoiseq has it.

    Parameters
    ----------
    fasta : str or Path
        The genome, plain or bgzipped.
    regions : str or Path
        BED or narrowPeak (0-based, half-open), plain or gzipped. The fourth column names a region; one
        without a name is called CONTIG:START-END, as it is in the file.
    edge : "pad" or "skip"
        What is done with a window that runs over an end of its contig: pad it with N, or leave it out.
        Both are warned of by name.
    use_strand : bool
        Read the reverse complement where the sixth column is "-". By default the forward strand is
        read for all, as kipoiseq's SeqIntervalDl does; the strand in the results is "*" then.
    contig_map : mapping or path, optional
        From contigs of the BED to those of the FASTA; a path is that of a file of two columns.

    Examples
    --------
    >>> mcd.ism(model, mcd.Regions("genome.fa", "peaks.bed", edge="skip"))  # doctest: +SKIP
    """

    fasta: str | Path
    regions: str | Path
    edge: Edge = "pad"
    use_strand: bool = False
    contig_map: ContigMap | None = None

    def __post_init__(self) -> None:
        WindowOptions(self.edge)  # checks it

    def open(self, model: Model, batch_size: int = AT_ONCE) -> Sequences:
        """The windows as inputs of a model.

        Raises
        ------
        InputError
            If a file cannot be read, a contig is not in the genome, a region lies outside its contig, or
            the model's input is no window of DNA.

        Warns
        -----
        InputWarning
            If windows run over an end of their contig.
        """
        rows = read_rows(self.regions, with_summits=False)
        reader = _sequence_model(model, rows)
        contigs = contig_map_of(self.contig_map)
        genome = Genome(self.fasta)
        try:
            options = WindowOptions(self.edge, self.use_strand, contigs)
            found = region_windows(rows, reader.length, genome.lengths, genome.path, options)
        except BaseException:
            genome.close()
            raise
        for warning in found.warnings():
            warnings.warn(warning, InputWarning, stacklevel=3)
        arguments = {"fasta_file": str(self.fasta), "regions": str(self.regions)}
        done = {**found.to_dict(), **vars(options), **reader.recorded()}
        return Sequences(
            _batches(reader, genome, found.windows, batch_size), arguments, n=len(found.windows),
            notes=tuple(found.notes()), windows=done,
        )  # fmt: skip


def _sequence_model(model: Model, rows: Sequence[Interval]) -> SequenceModel:
    low, high = length_range(rows)
    try:
        return model.sequences_of(low if low == high else None)
    except OpenLengthError as error:
        raise InputError(f"{error}: the regions have {low} to {high} bp") from error


def _batches(
    model: SequenceModel, genome: Genome, windows: Sequence[Window], batch_size: int
) -> Iterator[dict[str, Any]]:
    table = letter_codes(model.unknown, model.layout.alphabet)
    with genome:
        for first in range(0, len(windows), batch_size):
            some = windows[first : first + batch_size]
            codes = [_codes(genome, window, table, model.layout.alphabet) for window in some]
            yield {"inputs": model.inputs(np.stack(codes)), "metadata": {"ranges": _ranges(some)}}


def _codes(
    genome: Genome, window: Window, table: NDArray[np.uint8], alphabet: str
) -> NDArray[np.uint8]:
    codes = table[genome.fetch(window.target, window.start, window.end)]
    return reverse_complement(codes, alphabet) if window.strand == "-" else codes


def _ranges(windows: Sequence[Window]) -> dict[str, NDArray[Any]]:
    """As Kipoi's GenomicRanges: 0-based, half-open."""
    columns = {
        "chr": [window.contig for window in windows], "start": [window.start for window in windows],
        "end": [window.end for window in windows], "id": [window.name for window in windows],
        "strand": [window.strand for window in windows],
    }  # fmt: skip
    return {name: np.array(values) for name, values in columns.items()}
