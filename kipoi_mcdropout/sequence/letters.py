"""Letters of a sequence as codes of a model's alphabet, and the other strand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.sequence.one_hot import DNA

_PAIRS = (("A", "T"), ("A", "U"), ("C", "G"))
_SAME_BASE = {"T": "U", "U": "T"}  # of DNA and RNA


def letter_codes(unknown: int, alphabet: str = DNA) -> NDArray[np.uint8]:
    """From ASCII codes, of either case, to codes of an alphabet; what it does not have is `unknown`.

    T and U are the same base, in an alphabet that has one of them.
    """
    table = np.full(256, unknown, np.uint8)
    for code, letter in enumerate(alphabet):
        same = _SAME_BASE.get(letter, letter)
        for text in letter if same in alphabet else letter + same:
            table[[ord(text), ord(text.lower())]] = code
    return table


def reverse_complement(codes: NDArray[np.uint8], alphabet: str = DNA) -> NDArray[np.uint8]:
    """Reverse complement of codes, shape=(..., length); codes of what is no base stay what they are."""
    table = np.arange(256, dtype=np.uint8)
    for one, other in _PAIRS:
        if one in alphabet and other in alphabet:
            table[alphabet.index(one)] = alphabet.index(other)
            table[alphabet.index(other)] = alphabet.index(one)
    return table[codes[..., ::-1]]
