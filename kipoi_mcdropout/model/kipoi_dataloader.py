"""The dataloader of a Kipoi folder that `kipoi mcdropout init --kipoi` writes: code and description."""

from __future__ import annotations

from typing import Any

import numpy as np

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.model.sequence_model import SequenceModel
from kipoi_mcdropout.sequence.one_hot import OneHotLayout

_CODE = '''"""Windows of a genome around the regions of a BED file, written by `kipoi mcdropout init`."""

import os

import numpy as np
import pyfaidx
from kipoi.data import Dataset
from kipoi.metadata import GenomicRanges

LENGTH_BP = {length}
SHAPE = {shape}  # of one input
CATEGORY_AXIS = {axis}  # axis of the bases
ALPHABET = "{alphabet}"
KEY = {key!r}  # of the input; None if the model takes one array

TABLE = np.tile(np.array({unknown}, np.float32), (256, 1))  # a base that is not known
for _place, _letter in enumerate(ALPHABET):
    for _text in {{_letter, _letter.lower()}}:
        TABLE[ord(_text)] = np.arange(len(ALPHABET)) == _place


class Windows(Dataset):
    """Windows around the middle of each region, on the forward strand; bases off a contig are N."""

    def __init__(self, fasta_file, intervals_file):
        self.alphabet = ALPHABET
        self.fasta_file = os.path.abspath(fasta_file)
        pyfaidx.Faidx(self.fasta_file).close()  # makes the index once, before any worker
        self.process = None
        with open(intervals_file) as lines:
            rows = [line.rstrip("\\n").split("\\t") for line in lines if line.strip()]
        self.rows = [row for row in rows if not row[0].startswith(("#", "track", "browser"))]

    def genome(self):
        if self.process != os.getpid():  # the first window of this process: open the file here
            self._genome = pyfaidx.Fasta(self.fasta_file, as_raw=True)
            self.process = os.getpid()
        return self._genome

    def sequence(self, chrom, start, end):
        contig = self.genome()[chrom]
        inside = str(contig[max(start, 0) : min(end, len(contig))]) if end > 0 else ""
        before = "N" * max(-start, 0)
        return (before + inside).ljust(LENGTH_BP, "N")

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        chrom, first, last, *rest = self.rows[index]
        start = (int(first) + int(last)) // 2 - LENGTH_BP // 2
        end = start + LENGTH_BP
        letters = np.frombuffer(self.sequence(chrom, start, end).encode("latin-1"), np.uint8)
        others = [size for axis, size in enumerate(SHAPE) if axis != CATEGORY_AXIS]
        x = TABLE[letters].reshape(*others, len(ALPHABET))
        x = np.ascontiguousarray(np.moveaxis(x, -1, CATEGORY_AXIS)).astype({dtype!r})
        name = rest[0] if rest and rest[0] else f"{{chrom}}:{{first}}-{{last}}"
        ranges = GenomicRanges(chrom, start, end, name, "*")
        return {{"inputs": x if KEY is None else {{KEY: x}}, "metadata": {{"ranges": ranges}}}}
'''


def input_name(sequences: SequenceModel) -> str | None:
    """Name by which the network takes its input; None for one array without a name.

    Raises
    ------
    InputError
        If the inputs are more than one one-hot array.
    """
    inputs = sequences.example()
    if not isinstance(sequences.layout, OneHotLayout):
        raise InputError("a Kipoi folder is made of one-hot inputs, and this model takes tokens")
    if isinstance(inputs, np.ndarray):
        return None
    if isinstance(inputs, dict) and len(inputs) == 1:
        return str(next(iter(inputs)))
    raise InputError(
        f"a Kipoi folder is made of a model with one input; this one has {len(inputs)}. Write a "
        "mcdropout.yaml, without --kipoi"
    )


def dataloader_code(sequences: SequenceModel) -> str:
    """The text of dataloader.py: the encoding is that of the model's settings."""
    layout = sequences.layout
    k = layout.n_categories
    row = layout.encode(np.array([[sequences.unknown] * layout.n_positions], np.uint8), np.dtype("f4"))
    unknown = np.moveaxis(row, layout.category_axis + 1, -1).reshape(-1, k)[0].tolist()
    return _CODE.format(
        length=sequences.length, shape=tuple(layout.shape), axis=layout.category_axis,
        alphabet=layout.alphabet, key=input_name(sequences),
        unknown=unknown, dtype=str(sequences.dtype),
    )  # fmt: skip


def dataloader_yaml(inputs: Any, length: int) -> dict[str, Any]:
    """What dataloader.yaml says; `inputs` is the schema of the model's input."""
    return {
        "type": "Dataset",
        "defined_as": "dataloader.Windows",
        "args": {
            "fasta_file": {
                "doc": "The genome, plain FASTA in either case",
                "example": "example_files/sequences.fa",
            },
            "intervals_file": {
                "doc": f"BED (0-based, half-open); windows of {length} bp around the middle of each "
                "region are read, and the fourth column is its name",
                "example": "example_files/intervals.bed",
            },
        },
        "info": {"authors": [{"name": "unknown"}], "doc": "Windows of a genome, one-hot"},
        "dependencies": {"pip": ["pyfaidx"]},
        "output_schema": {
            "inputs": inputs,
            "metadata": {
                "ranges": {
                    "type": "GenomicRanges",
                    "doc": "Where each window lies, 0-based and half-open",
                }
            },
        },
    }
