"""References and their mutants: from edits of a sequence to the inputs of the model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.arrays.nested import Nested, take
from kipoi_mcdropout.dropout.masks import RUN_SCOPE
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.sequence.layout import SequenceLayout


@dataclass(frozen=True)
class MutantBatch:
    """Mutants of one or more references.

    `references` holds all inputs of the model, R rows; the input under `input_key` (None for a model
    with a single array) is the mutated one. Mutant m belongs to reference `owner[m]`.
    """

    references: Nested
    input_key: Any
    layout: SequenceLayout
    reference_codes: NDArray[np.uint8]  # shape=(references, positions)
    owner: NDArray[np.int64]  # shape=(mutants,)
    codes: NDArray[np.uint8]  # shape=(mutants, positions)
    scope: int = RUN_SCOPE  # of the masks

    @property
    def n_mutants(self) -> int:
        """Number of mutants."""
        return len(self.codes)

    def inputs(self, rows: slice) -> Nested:
        """Inputs of the model for some of the mutants."""
        inputs = take(self.references, self.owner[rows])
        dtype = get_input(self.references, self.input_key).dtype
        return set_input(inputs, self.input_key, self.layout.encode(self.codes[rows], dtype))

    def some(self, mutants: NDArray[np.int64]) -> MutantBatch:
        """Some of the mutants, by their rows, with their own references alone, in the same order."""
        kept, owner = np.unique(self.owner[mutants], return_inverse=True)
        return replace(
            self,
            references=take(self.references, kept),
            reference_codes=self.reference_codes[kept],
            owner=owner.ravel().astype(np.int64),
            codes=self.codes[mutants],
        )

    def unchanged(self) -> NDArray[np.bool_]:
        """Which mutants equal their reference, shape=(mutants,)."""
        is_reference: NDArray[np.bool_] = (self.codes == self.reference_codes[self.owner]).all(axis=1)
        return is_reference


def get_input(inputs: Nested, key: Any) -> NDArray[np.generic]:
    """The input under `key`; the array itself where the model has a single one."""
    chosen: NDArray[np.generic] = inputs[key] if isinstance(inputs, (dict, list, tuple)) else inputs
    return chosen


def set_input(inputs: Nested, key: Any, value: NDArray[np.generic]) -> Nested:
    """A copy of `inputs` with another array under `key`."""
    if isinstance(inputs, dict):
        return {**inputs, key: value}
    if isinstance(inputs, (list, tuple)):
        return [value if i == key else x for i, x in enumerate(inputs)]
    return value


class Substitutions(NamedTuple):
    """Single substitutions of one sequence, all alternatives of a position together."""

    position: NDArray[np.int64]  # from 0
    alt: NDArray[np.uint8]  # code put in
    without_base: NDArray[np.int64]  # positions in the window that have no reference base


def all_substitutions(
    codes: NDArray[np.uint8],
    n_categories: int,
    start: int = 0,
    end: int | None = None,
    include_reference: bool = False,
    no_base: int | None = None,
) -> Substitutions:
    """Every single substitution in a window of a sequence.

    Parameters
    ----------
    codes : numpy.ndarray of uint8, shape=(positions,)
    start, end : int
        Window, 0-based and half-open; by default the whole sequence.
    include_reference : bool
        Also "substitute" each base by itself.
    no_base : int, optional
        The category that means N: neither mutated nor put in.

    Raises
    ------
    InputError
        If the window is not within the sequence.
    """
    end = len(codes) if end is None else end
    if not 0 <= start < end <= len(codes):
        raise InputError(
            f"start and end must satisfy 0 <= start < end <= {len(codes)}, the number of positions; "
            f"got start={start}, end={end}"
        )
    window = np.arange(start, end)
    bases = np.array([i for i in range(n_categories) if i != no_base], np.uint8)
    known = np.isin(codes[window], bases)
    position = np.repeat(window[known], len(bases))
    alt = np.tile(bases, int(known.sum()))
    if not include_reference:
        differs = alt != codes[position]
        position, alt = position[differs], alt[differs]
    return Substitutions(position, alt, window[~known])


def substituted(
    codes: NDArray[np.uint8], position: NDArray[np.int64], alt: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Codes of the mutants, shape=(mutants, positions)."""
    mutants = np.repeat(codes[None], len(position), axis=0)
    mutants[np.arange(len(position)), position] = alt
    return mutants


def chunks(n: int, size: int) -> Iterator[slice]:
    """Consecutive slices of at most `size` that cover range(n)."""
    for begin in range(0, n, size):
        yield slice(begin, min(begin + size, n))


def sequence_scope(arrays: Sequence[NDArray[np.generic]]) -> int:
    """Scope of masks that belong to one sequence: a number made from its content, 0 < scope < 2**64.

    Being a function of the content alone it does not depend on the order of the sequences; equal
    sequences have equal masks.
    """
    digest = hashlib.blake2b(digest_size=8)
    for array in arrays:
        digest.update(repr((array.shape, array.dtype.str)).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return int.from_bytes(digest.digest(), "little") or 1
