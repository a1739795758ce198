"""How an input of a model holds a sequence: one-hot, or one token a base."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.sequence.one_hot import DNA, OneHotLayout
from kipoi_mcdropout.sequence.tokens import TokenLayout, check_tokens
from kipoi_mcdropout.sequence.vocabulary import Vocabulary


class SequenceLayout(Protocol):
    """What mutants, scopes and files know of an input: codes of positions; see `OneHotLayout`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one input, without the batch axis."""
        ...

    @property
    def alphabet(self) -> str:
        """The letters of the categories, in order."""
        ...

    @property
    def n_positions(self) -> int:
        """Number of positions; 0 is the first base."""
        ...

    @property
    def n_categories(self) -> int:
        """Number of categories; codes below it are categories, others are no base."""
        ...

    @property
    def no_base(self) -> int | None:
        """The category that means "no base", if there is one."""
        ...

    @property
    def category_axis(self) -> int | None:
        """Axis of one input with the categories; None for tokens."""
        ...

    @property
    def offset(self) -> int:
        """Place of position 0 along the axis of positions."""
        ...

    def values(self) -> NDArray[Any]:
        """What the input holds at a position, for each code, shape=(codes, values)."""
        ...

    @property
    def n_bases(self) -> int:
        """Number of categories that are bases."""
        ...

    def unknown(self, how: str | None = None) -> int:
        """Code of a position without a base."""
        ...

    def letters(self) -> list[str]:
        """The letter of each code."""
        ...

    def codes(self, x: NDArray[np.generic]) -> NDArray[np.uint8]:
        """Codes of a batch, shape=(n, positions)."""
        ...

    def encode(self, codes: NDArray[np.uint8], dtype: np.dtype) -> NDArray[np.generic]:
        """Batch of the given codes, shape=(n, *shape)."""
        ...

    @property
    def has_one_axis(self) -> bool:
        """Whether the positions lie along one axis."""
        ...

    def by_position(self, table: NDArray[Any], window: tuple[int, int]) -> NDArray[Any]:
        """Values of a window of positions, shape=(positions, categories, ...), as the input lies."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """The layout as plain values."""
        ...


@dataclass(frozen=True)
class Encoding:
    """How the inputs of a model hold sequences, as far as the model's user says it.

    Attributes
    ----------
    category_axis : int, optional
        Axis of one one-hot input with the bases; by default the only one that has as many places as the
        alphabet has letters.
    alphabet : str
        Letters along that axis, in order.
    vocabulary : Vocabulary, optional
        The tokens of the bases, where the input is tokens.
    """

    category_axis: int | None = None
    alphabet: str = DNA
    vocabulary: Vocabulary | None = None

    def layout(self, x: NDArray[np.generic]) -> SequenceLayout:
        """Layout of the first of a batch of sequences.

        Raises
        ------
        InputError
            If it cannot be found.
        """
        if self.vocabulary is None:
            return OneHotLayout.of(x, self.category_axis, self.alphabet)
        check_tokens(x)
        return TokenLayout.of(x[0], self.vocabulary.tokens)

    def layouts(self, x: NDArray[np.generic]) -> list[SequenceLayout]:
        """Layout of each of a batch of sequences.

        Raises
        ------
        InputError
            If one cannot be found.
        """
        if self.vocabulary is None:
            return [self.layout(x)] * len(x)
        check_tokens(x)
        tokens = self.vocabulary.tokens
        return [TokenLayout.of(sequence, tokens, row) for row, sequence in enumerate(x)]

    def read(self, x: NDArray[np.generic]) -> Iterator[tuple[SequenceLayout, NDArray[np.uint8]]]:
        """Layout and codes, shape=(positions,), of each of a batch of sequences.

        Raises
        ------
        InputError
            If an array is not what it must be.
        """
        if self.vocabulary is None:
            layout = self.layout(x)
            yield from ((layout, codes) for codes in layout.codes(x))
            return
        for layout, sequence in zip(self.layouts(x), x, strict=True):
            yield layout, layout.codes(sequence[None])[0]

    def to_dict(self) -> dict[str, Any]:
        """What is said, as plain values for a record."""
        said = {"category_axis": self.category_axis, "alphabet": self.alphabet}
        return said if self.vocabulary is None else {**said, "vocabulary": str(self.vocabulary)}


def layout_from_dict(values: dict[str, Any]) -> SequenceLayout:
    """From what `SequenceLayout.to_dict` gave."""
    return TokenLayout.from_dict(values) if "tokens" in values else OneHotLayout.from_dict(values)
