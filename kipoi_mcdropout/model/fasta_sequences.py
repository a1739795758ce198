"""The sequences of a FASTA file as inputs of a model."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kipoi_mcdropout.errors import InputError, InputWarning
from kipoi_mcdropout.model.find_shape import OpenLengthError
from kipoi_mcdropout.model.model import Model
from kipoi_mcdropout.model.sequence_model import SequenceModel
from kipoi_mcdropout.model.sequences import AT_ONCE, Sequences
from kipoi_mcdropout.sequence.fasta import FastaSurvey, check_length, read_fasta
from kipoi_mcdropout.sequence.letters import letter_codes

_WHY = "the length of the model's input"


@dataclass(frozen=True)
class FastaSequences:
    """The sequences of a FASTA file, one for each input.

    Each must have the length of the model's input. Where the model takes any length, it is that of the
    `Model`, else that of all sequences. Letters are A, C, G, T or U, and N, in either case. The codes of
    IUPAC for several bases are read as N, which is warned of.

    Parameters
    ----------
    path : str or Path
        Plain, or compressed by gzip or bgzip. The first word after ">" names a sequence; one without a
        name is called by its number, from 0.
    """

    path: str | Path

    def open(self, model: Model, batch_size: int = AT_ONCE) -> Sequences:
        """The sequences as inputs of a model.

        Raises
        ------
        InputError
            If the file cannot be read, a sequence has another length or letters that are no bases, or
            the model's input is no window of DNA.

        Warns
        -----
        InputWarning
            If codes for several bases are read as N.
        """
        survey = FastaSurvey(self.path)
        reader = _sequence_model(model, survey)
        if survey.common_length != reader.length:
            for sequence in read_fasta(self.path):
                check_length(sequence, reader.length, survey.path, _WHY)
        for warning in survey.warnings():
            warnings.warn(warning, InputWarning, stacklevel=3)
        return Sequences(
            _batches(reader, survey.path, batch_size), {"sequences": str(self.path)}, n=survey.n,
            notes=tuple(survey.notes(reader.layout.alphabet)),
            windows={"n": survey.n, "ambiguous": survey.ambiguous, **reader.recorded()},
        )  # fmt: skip


def _sequence_model(model: Model, survey: FastaSurvey) -> SequenceModel:
    try:
        return model.sequences_of(survey.common_length)
    except OpenLengthError as error:
        low, high = survey.lengths
        raise InputError(
            f"{error}: the sequences of {survey.path} have {low} to {high} bp, and all must have one "
            "length"
        ) from error


def _batches(model: SequenceModel, path: Path, batch_size: int) -> Iterator[dict[str, Any]]:
    table = letter_codes(model.unknown, model.layout.alphabet)
    sequences = read_fasta(path)
    while some := list(itertools.islice(sequences, batch_size)):
        for sequence in some:  # again: the file may have been changed since it was looked through
            check_length(sequence, model.length, path, _WHY)
        codes = np.stack([sequence.codes(table) for sequence in some])
        names = np.array([sequence.name for sequence in some])
        yield {"inputs": model.inputs(codes), "metadata": {"name": names}}
