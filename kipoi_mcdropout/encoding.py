"""One-hot arrays of any layout as codes, and back.

A code is the number of the category (A, C, G, T are 0 to 3, unless the model has another order), or one
more than the last for a position without a reference base: `layout.unknown_zero` (all zeros) and
`layout.unknown_uniform` (1/4 each).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.errors import InputError

DNA = "ACGT"


def check_alphabet(alphabet: str) -> str:
    """The alphabet in upper case.

    Raises
    ------
    InputError
        If a letter is there twice.
    """
    letters = alphabet.upper()
    if not letters or len(set(letters)) < len(letters):
        raise InputError(f"alphabet must be different letters in order, such as ACGT; got {alphabet!r}")
    return letters


@dataclass(frozen=True)
class OneHotLayout:
    """Where the categories and the positions of one input lie.

    Positions are numbered in C order over the axes that are not the category axis; a sequence of
    shape (1000, 4), (4, 1000) or (4, 1, 1000) has positions 0 to 999.
    """

    shape: tuple[int, ...]  # of one input, without the batch axis
    category_axis: int  # in `shape`, from 0
    alphabet: str = DNA  # what the categories mean, in order, where there are as many of them

    @classmethod
    def of(
        cls, x: NDArray[np.generic], category_axis: int, alphabet: str = DNA
    ) -> OneHotLayout:
        """Layout of a batch, shape=(n, ...).

        Raises
        ------
        InputError
            If `category_axis` is not an axis of one input, or an alphabet other than ACGT has more or
            fewer letters than there are categories.
        """
        shape = x.shape[1:]
        if not -len(shape) <= category_axis < len(shape):
            raise InputError(
                f"category_axis must be an axis of one input, of shape {shape}; got {category_axis}"
            )
        size = shape[category_axis]
        if alphabet != DNA and len(alphabet) != size:
            raise InputError(
                f"alphabet must have a letter for each of the {size} categories along axis "
                f"{category_axis} of one input, of shape {shape}; got {alphabet!r}"
            )
        return cls(tuple(shape), category_axis % len(shape), alphabet)

    @property
    def n_categories(self) -> int:
        """Number of categories, 4 for DNA."""
        return self.shape[self.category_axis]

    @property
    def n_positions(self) -> int:
        """Number of positions."""
        return math.prod(self.shape) // self.n_categories

    @property
    def unknown_zero(self) -> int:
        """Code of a position where no category is set."""
        return self.n_categories

    @property
    def unknown_uniform(self) -> int:
        """Code of a position where all categories have the same weight."""
        return self.n_categories + 1

    def letters(self) -> list[str]:
        """A name per category: the letter, else the number; then N for the two unknowns."""
        k = self.n_categories
        named = k == len(self.alphabet)
        return (list(self.alphabet) if named else [str(i) for i in range(k)]) + ["N", "N"]

    def codes(self, x: NDArray[np.generic]) -> NDArray[np.uint8]:
        """Codes of a batch.

        Parameters
        ----------
        x : numpy.ndarray, shape=(n, *self.shape)

        Returns
        -------
        numpy.ndarray of uint8, shape=(n, positions)

        Raises
        ------
        InputError
            If a position is not one-hot, all zero, or uniform.
        """
        k = self.n_categories
        columns = np.moveaxis(np.asarray(x), self.category_axis + 1, -1).reshape(len(x), -1, k)
        codes = columns.argmax(axis=-1).astype(np.uint8)
        ones = (columns == 1).sum(axis=-1)
        zeros = (columns == 0).sum(axis=-1)
        uniform = np.isclose(columns, 1.0 / k, rtol=0, atol=1e-6).all(axis=-1) & (k > 1)
        one_hot = (ones == 1) & (zeros == k - 1)
        codes[zeros == k] = self.unknown_zero
        codes[uniform & ~one_hot] = self.unknown_uniform
        soft = ~(one_hot | (zeros == k) | uniform)
        if soft.any():
            row, position = np.argwhere(soft)[0]
            raise InputError(
                f"the mutated input must be one-hot along axis {self.category_axis} (or all zero, or "
                f"{1 / k:g} each, where there is no base); sequence {row} has "
                f"{columns[row, position].tolist()} at position {position}. Check category_axis; "
                "soft one-hot encodings are not supported"
            )
        return codes

    def encode(self, codes: NDArray[np.uint8], dtype: np.dtype) -> NDArray[np.generic]:
        """Batch of the given codes, shape=(n, positions) -> (n, *self.shape)."""
        k = self.n_categories
        table = np.concatenate([np.eye(k), np.zeros((1, k)), np.full((1, k), 1 / k)]).astype(dtype)
        others = [size for axis, size in enumerate(self.shape) if axis != self.category_axis]
        x = table[codes].reshape(len(codes), *others, k)
        return np.ascontiguousarray(np.moveaxis(x, -1, self.category_axis + 1))
