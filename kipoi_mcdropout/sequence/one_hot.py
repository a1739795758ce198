"""One-hot arrays of any layout as codes, and back.

A code is the number of the category (A, C, G, T are 0 to 3, unless the model has another order), or one
more than the last for a position without a reference base: `layout.unknown_zero` (all zeros) and
`layout.unknown_uniform` (1/4 each).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.errors import InputError

DNA = "ACGT"
_MAX_CATEGORIES = 250  # codes are numbers of 8 bits
_FIVE = (
    "axis {axis} of one input, of shape {shape}, has 5 places and the alphabet ACGT 4 letters. If the "
    "fifth stands for N, give alphabet=ACGTN (--alphabet): N is then not a base and is not mutated. "
    "Otherwise give another category_axis"
)


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


def find_category_axis(shape: Sequence[int | None], alphabet: str = DNA) -> int:
    """The only axis of one input that has as many places as the alphabet has letters.

    Raises
    ------
    InputError
        If there is none, or more than one.
    """
    axes = [axis for axis, size in enumerate(shape) if size == len(alphabet)]
    if len(axes) == 1:
        return axes[0]
    if axes:
        raise InputError(
            f"axes {' and '.join(map(str, axes))} of one input, of shape {tuple(shape)}, have "
            f"{len(alphabet)} places: choose the axis of the bases with category_axis"
        )
    if alphabet == DNA and len(DNA) + 1 in shape:
        raise InputError(_FIVE.format(axis=list(shape).index(len(DNA) + 1), shape=tuple(shape)))
    raise InputError(
        f"the axis of the bases must have {len(alphabet)} places, one for each letter of {alphabet}; "
        f"one input has shape {tuple(shape)}. Set the axis and the letters with category_axis and "
        "alphabet"
    )


def _other_axis(shape: tuple[int, ...], axis: int, alphabet: str) -> str:
    """A hint, if another axis looks like that of the bases."""
    axes = [i for i, size in enumerate(shape) if size == len(alphabet) and i != axis]
    return f" Axis {axes[0]} has {len(alphabet)}: try category_axis {axes[0]}." if axes else ""


def _kind(x: NDArray[np.generic]) -> str:
    return "whole numbers such as tokens" if np.issubdtype(x.dtype, np.integer) else str(x.dtype)


def _shown(values: NDArray[np.generic], n: int = 8) -> str:
    """The first few values in brackets."""
    texts = [f"{value:g}" for value in values[:n].astype(float)]
    return f"[{', '.join(texts)}{', ...' if len(values) > n else ''}]"


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
        cls, x: NDArray[np.generic], category_axis: int | None = None, alphabet: str = DNA
    ) -> OneHotLayout:
        """Layout of a batch, shape=(n, ...).

        Parameters
        ----------
        category_axis : int, optional
            By default the only axis that has as many places as the alphabet has letters.

        Raises
        ------
        InputError
            If `category_axis` is not an axis of one input, or it cannot be found, or an alphabet other
            than ACGT has more or fewer letters than there are categories.
        """
        shape = tuple(x.shape[1:])
        if len(shape) < 2:
            raise InputError(
                f"one-hot sequences are required, of shape (length, {len(alphabet)}) or "
                f"({len(alphabet)}, length) for one input; got shape {shape}, {_kind(x)}. Wrap the "
                "model in a module that takes one-hot sequences and converts them for the model"
            )
        axis = find_category_axis(shape, alphabet) if category_axis is None else category_axis
        if not -len(shape) <= axis < len(shape):
            raise InputError(f"category_axis must be an axis of one input, of shape {shape}; got {axis}")
        axis %= len(shape)
        if shape[axis] > _MAX_CATEGORIES:
            raise InputError(
                f"category_axis must be the axis of the bases; axis {axis} of one input, of shape "
                f"{shape}, has {shape[axis]} places.{_other_axis(shape, axis, alphabet)}"
            )
        if shape[axis] == len(DNA) + 1 and alphabet == DNA:
            raise InputError(_FIVE.format(axis=axis, shape=shape))
        if alphabet != DNA and len(alphabet) != shape[axis]:
            raise InputError(
                f"alphabet must have a letter for each of the {shape[axis]} categories along axis "
                f"{axis} of one input, of shape {shape}; got {alphabet!r}"
            )
        return cls(shape, axis, alphabet)

    @property
    def n_categories(self) -> int:
        """Number of categories, 4 for DNA."""
        return self.shape[self.category_axis]

    @property
    def no_base(self) -> int | None:
        """The category that means "no base": N, in an alphabet such as ACGTN."""
        named = self.n_categories == len(self.alphabet)
        return self.alphabet.index("N") if named and "N" in self.alphabet else None

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
        codes: NDArray[np.uint8] = columns.argmax(axis=-1).astype(np.uint8)
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
                f"{_shown(columns[row, position])} at position {position}.{self._hint()} Soft one-hot "
                "encodings are not supported"
            )
        return codes

    def _hint(self) -> str:
        return _other_axis(self.shape, self.category_axis, self.alphabet) or " Check category_axis."

    def encode(self, codes: NDArray[np.uint8], dtype: np.dtype) -> NDArray[np.generic]:
        """Batch of the given codes, shape=(n, positions) -> (n, *self.shape)."""
        k = self.n_categories
        table = np.concatenate([np.eye(k), np.zeros((1, k)), np.full((1, k), 1 / k)]).astype(dtype)
        others = [size for axis, size in enumerate(self.shape) if axis != self.category_axis]
        x = table[codes].reshape(len(codes), *others, k)
        return np.ascontiguousarray(np.moveaxis(x, -1, self.category_axis + 1))
