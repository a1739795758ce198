"""Letters of a genome as codes of a layout, the other strand, and alphabets of genomes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.sequence.layout import SequenceLayout

# On the genome and in VCFs there is DNA; models of RNA have U in place of T.
_PAIRS = {"A": "T", "C": "G", "G": "C", "T": "A", "U": "A"}
_PAIRS |= {"R": "Y", "Y": "R", "K": "M", "M": "K", "B": "V", "V": "B", "D": "H", "H": "D"}


def letter_codes(layout: SequenceLayout, unknown: int) -> NDArray[np.uint8]:
    """From ASCII codes to codes of the layout; T is U where the alphabet has U, and U is T.

    All that is no base, and what lies past a contig's end, is `unknown`.
    """
    table = np.full(256, unknown, np.uint8)
    for code, letter in enumerate(layout.letters()[: layout.n_categories]):
        for written in "TU" if letter in "TU" else letter:
            table[ord(written)] = table[ord(written.lower())] = code
    return table


def reverse_complement(codes: NDArray[np.uint8], layout: SequenceLayout) -> NDArray[np.uint8]:
    """Reverse complement of codes, shape=(..., positions); what has no complement stays as it is."""
    table = np.arange(256, dtype=np.uint8)
    letters = layout.letters()
    for code, letter in enumerate(letters):
        other = _PAIRS.get(letter, letter)
        other = "U" if other == "T" and "U" in letters else other
        if letters.count(letter) == 1 and other in letters:
            table[code] = letters.index(other)
    return table[codes[..., ::-1]]


def check_bases(alphabet: str) -> str:
    """The alphabet of a model that is shown a genome.

    Raises
    ------
    InputError
        If it is not A, C, G and T (or U) in some order, with or without N.
    """
    letters = "".join(sorted(alphabet.replace("N", "", 1)))
    if letters in ("ACGT", "ACGU"):
        return alphabet
    raise InputError(
        "alphabet must be A, C, G and T (or U) in some order, with N if it has a channel of its own, "
        f"for a genome or a VCF; got {alphabet!r}"
    )
