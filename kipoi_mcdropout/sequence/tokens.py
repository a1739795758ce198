"""Arrays of tokens, one a base, as codes, and back.

A code is the number of the base in the alphabet, or one more than the last for a letter that is no base,
such as N. Special tokens before and after the bases ([CLS], [SEP], padding) are no positions: they are
kept as they are, and position 0 is the first base.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.sequence.vocabulary import token_words

N_BASES = 4
NO_CODE = 255  # stands for a letter without a token; `encode` refuses it


@dataclass(frozen=True)
class TokenLayout:
    """Which tokens the bases have, and what lies around them in one input.

    Attributes
    ----------
    tokens : tuple of (letter, token)
        The bases, then letters that are no base; see `Vocabulary`.
    n_positions : int
        Bases, and letters that are no base, of a sequence.
    before, after : tuple of int
        Tokens around them, which are kept.
    """

    tokens: tuple[tuple[str, int], ...]
    n_positions: int
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()

    @classmethod
    def of(
        cls, x: NDArray[np.generic], tokens: tuple[tuple[str, int], ...], row: int = 0
    ) -> TokenLayout:
        """Layout of one sequence: the tokens from its first letter to its last are its positions.

        Parameters
        ----------
        x : numpy.ndarray of integers, shape=(tokens,)
        tokens : tuple of (letter, token)
            `Vocabulary.tokens`.
        row : int
            Number of the sequence, for messages.

        Raises
        ------
        InputError
            If there is no base in it, or a token between bases is none of the vocabulary.
        """
        known = np.isin(x, [token for _, token in tokens])
        places = np.flatnonzero(known)
        if not len(places):
            raise InputError(
                f"sequence {row} must have tokens of the vocabulary ({token_words(tokens)}); it has "
                f"{_shown(x)}"
            )
        first, end = int(places[0]), int(places[-1]) + 1
        if not known[first:end].all():
            wrong = first + int(np.flatnonzero(~known[first:end])[0])
            hint = "" if "N" in dict(tokens) else f". If it stands for N, add N={x[wrong]}"
            raise InputError(
                f"tokens between bases must be of the vocabulary ({token_words(tokens)}); sequence "
                f"{row} has token {x[wrong]} at place {wrong} of its tokens{hint}"
            )
        before, after = (tuple(map(int, part)) for part in (x[:first], x[end:]))
        return cls(tokens, end - first, before, after)

    @property
    def shape(self) -> tuple[int]:
        """Of one input, without the batch axis."""
        return (len(self.before) + self.n_positions + len(self.after),)

    @property
    def alphabet(self) -> str:
        """The bases, in the order of their codes: ACGT or ACGU."""
        return "".join(self.letters()[:N_BASES])

    @property
    def n_categories(self) -> int:
        """Number of bases: 4."""
        return N_BASES

    @property
    def no_base(self) -> None:
        """The category that means "no base": none, as letters that are no base are no categories."""
        return None

    @property
    def offset(self) -> int:
        """Place of the first base among the tokens."""
        return len(self.before)

    @property
    def category_axis(self) -> None:
        """Axis with the categories: none."""
        return None

    def values(self) -> NDArray[np.int64]:
        """The token of each code, shape=(codes, 1)."""
        return self._table()[:, None]

    @property
    def n_bases(self) -> int:
        """Number of bases: 4."""
        return N_BASES

    def unknown(self, how: str | None = None) -> int:
        """Code of N; NO_CODE where it has no token.

        Raises
        ------
        InputError
            If `how` asks for another encoding than by a token.
        """
        if how is not None:
            raise InputError(
                f"unknown is for one-hot inputs; N is a token of the vocabulary. Got {how!r}"
            )
        letters = self.letters()
        return letters.index("N") if "N" in letters else NO_CODE

    def letters(self) -> list[str]:
        """The letter of each code: the bases, then letters that are no base."""
        return [letter for letter, _ in self.tokens]

    def codes(self, x: NDArray[np.generic]) -> NDArray[np.uint8]:
        """Codes of a batch of sequences of this layout.

        Parameters
        ----------
        x : numpy.ndarray of integers, shape=(n, tokens)

        Returns
        -------
        numpy.ndarray of uint8, shape=(n, positions)

        Raises
        ------
        InputError
            If the bases of a sequence lie at other places, or have other tokens around them.
        """
        for row, sequence in enumerate(x):
            if TokenLayout.of(sequence, self.tokens, row) != self:
                raise InputError(
                    f"sequences must have bases at places {self.offset} to "
                    f"{self.offset + self.n_positions - 1} of their tokens, and the same tokens around "
                    f"them; sequence {row} has {_shown(sequence)}"
                )
        tokens = self._table()
        order = np.argsort(tokens)
        bases = np.asarray(x)[:, self.offset : self.offset + self.n_positions]
        return order[np.searchsorted(tokens[order], bases)].astype(np.uint8)

    def encode(self, codes: NDArray[np.uint8], dtype: np.dtype) -> NDArray[np.generic]:
        """Batch of the given codes, shape=(n, positions) -> (n, tokens).

        Raises
        ------
        InputError
            If a code stands for no token.
        """
        if (codes >= len(self.tokens)).any():
            row, position = np.argwhere(codes >= len(self.tokens))[0]
            raise InputError(
                f"sequence {row} has no base at position {position}, and the vocabulary "
                f"({token_words(self.tokens)}) has no token of N. Add one, such as N=11, or leave it out"
            )
        x = np.empty((len(codes), *self.shape), dtype)
        x[:, : self.offset] = self.before
        x[:, self.offset + self.n_positions :] = self.after
        x[:, self.offset : self.offset + self.n_positions] = self._table()[codes]
        return x

    def _table(self) -> NDArray[np.int64]:
        return np.array([token for _, token in self.tokens], np.int64)

    @property
    def has_one_axis(self) -> bool:
        """Whether the positions lie along one axis: always."""
        return True

    def by_position(self, table: NDArray[Any], window: tuple[int, int]) -> NDArray[Any]:  # noqa: ARG002
        """See `layout.SequenceLayout`: positions and bases are the axes already."""
        return table

    def to_dict(self) -> dict[str, Any]:
        """The layout as plain values."""
        return {
            "tokens": [list(pair) for pair in self.tokens],
            "n_positions": self.n_positions, "before": list(self.before), "after": list(self.after),
        }  # fmt: skip

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TokenLayout:
        """From what `to_dict` gave."""
        tokens = tuple((str(letter), int(token)) for letter, token in values["tokens"])
        return cls(tokens, values["n_positions"], tuple(values["before"]), tuple(values["after"]))


def check_tokens(x: NDArray[np.generic]) -> None:
    """Refuse what is no batch of tokens.

    Raises
    ------
    InputError
        If the array is not of whole numbers, shape=(n, tokens).
    """
    if x.ndim == 2 and np.issubdtype(x.dtype, np.integer):
        return
    raise InputError(
        "with a vocabulary, the mutated input must be tokens: whole numbers, of shape (sequences, "
        f"tokens); got shape {x.shape}, {x.dtype}. Name the input of the tokens with model_input, or "
        "leave the vocabulary out for one-hot inputs"
    )


def _shown(x: NDArray[np.generic], n: int = 12) -> str:
    return f"tokens {', '.join(map(str, x[:n]))}{', ...' if len(x) > n else ''}"
