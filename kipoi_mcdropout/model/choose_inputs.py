"""From what a caller gives in Python to the inputs of a model."""

from __future__ import annotations

from pathlib import Path

from kipoi_mcdropout.arrays.nested import Nested
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.model.fasta_sequences import FastaSequences
from kipoi_mcdropout.model.model import Model
from kipoi_mcdropout.model.regions import Regions
from kipoi_mcdropout.model.sequences import AT_ONCE, Sequences

Inputs = Nested | Regions | FastaSequences  # arrays, or the files to read them from


def choose_inputs(
    x: Inputs | None,
    fasta: str | Path | None = None,
    regions: str | Path | None = None,
    sequences: str | Path | None = None,
) -> Inputs:
    """The one of arrays, a genome with regions, and a FASTA of sequences that was given.

    Raises
    ------
    InputError
        If it is none of them, or more than one.
    """
    values = {"x": x, "fasta": fasta, "regions": regions, "sequences": sequences}
    given = [name for name, value in values.items() if value is not None]
    if given == ["x"]:
        return x
    if given == ["fasta", "regions"] and fasta is not None and regions is not None:
        return Regions(fasta, regions)
    if sequences is not None and given == ["sequences"]:
        return FastaSequences(sequences)
    raise InputError(
        "give either x, the inputs of the model, or fasta and regions (a genome and a BED file), or "
        f"sequences (a FASTA file with one for each input); got {', '.join(given) or 'none of them'}"
    )


def open_inputs(model: Model, inputs: Inputs, batch_size: int = AT_ONCE) -> Sequences:
    """What was chosen, in batches.

    Raises
    ------
    InputError
        If the files cannot be read, or do not fit the model.
    """
    return open_files(model, inputs, batch_size) or Sequences.from_arrays(model, inputs)


def open_files(model: Model, inputs: Inputs, batch_size: int = AT_ONCE) -> Sequences | None:
    """The sequences of files in batches; None for arrays."""
    if isinstance(inputs, (Regions, FastaSequences)):
        return inputs.open(model, batch_size)
    return None
