"""The numbers by which a model knows the bases, where its input is one token a base."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kipoi_mcdropout.errors import InputError

DNA_BASES, RNA_BASES = "ACGT", "ACGU"
AMBIGUITY_LETTERS = "NRYSWKMBDHV"  # of IUPAC: they stand for several bases
_ENDS = ("prefix", "suffix")
_EXAMPLE = "A=7,C=8,G=9,T=10,N=11"


@dataclass(frozen=True)
class Vocabulary:
    """One token a base: the token of each letter, and the tokens around a sequence.

    Make one with `Vocabulary.of`, or let `Model` make it.

    Attributes
    ----------
    tokens : tuple of (letter, token)
        A, C, G and T (or U) in this order, then N and other IUPAC letters that are no base, as far as
        there are tokens of them.
    prefix, suffix : tuple of int, or None
        Tokens put before and after a sequence that is read from a genome, such as those of [CLS] and
        [SEP]; None where they are not known. An array of tokens keeps its own.
    """

    tokens: tuple[tuple[str, int], ...]
    prefix: tuple[int, ...] | None = ()
    suffix: tuple[int, ...] | None = ()

    @classmethod
    def of(
        cls,
        tokens: Mapping[str, int],
        prefix: Sequence[int] | None = (),
        suffix: Sequence[int] | None = (),
    ) -> Vocabulary:
        """A vocabulary from the token of each letter, checked.

        Parameters
        ----------
        tokens : mapping of str to int
            Of A, C, G and T, or of A, C, G and U; of N, if the model knows it, and of other IUPAC
            letters.

        Raises
        ------
        InputError
            If a base is missing, a letter is no letter of a sequence, or two letters have one token.

        Examples
        --------
        >>> str(Vocabulary.of({"A": 7, "C": 8, "G": 9, "T": 10, "N": 11}, prefix=[0], suffix=[1]))
        'A=7,C=8,G=9,T=10,N=11,prefix=0,suffix=1'
        """
        check_single_bases(tokens)
        known: dict[str, int] = {}
        for letter, token in tokens.items():
            if letter.upper() in known:
                raise InputError(f"vocabulary must have one token a letter; {letter.upper()!r} has two")
            known[letter.upper()] = _whole(token, letter)
        bases = _bases(known)
        if other := sorted(set(known) - set(bases) - set(AMBIGUITY_LETTERS)):
            raise InputError(
                f"vocabulary must give tokens of A, C, G, T (or U), N and other IUPAC letters; got "
                f"{', '.join(map(repr, other))}. Tokens before and after a sequence are given as "
                "prefix=0,suffix=1"
            )
        ordered = tuple((x, known[x]) for x in (*bases, *AMBIGUITY_LETTERS) if x in known)
        if len({token for _, token in ordered}) < len(ordered):
            raise InputError(f"vocabulary must have a token of its own for each letter; got {known}")
        ends = [_end(tokens, name) for tokens, name in zip((prefix, suffix), _ENDS, strict=True)]
        return cls(ordered, *ends)

    @property
    def alphabet(self) -> str:
        """The bases in the order of results: ACGT or ACGU."""
        return "".join(letter for letter, _ in self.tokens[:4])

    @property
    def letters(self) -> str:
        """All letters that have a token: the bases, then those that are no base."""
        return "".join(letter for letter, _ in self.tokens)

    def ends(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The tokens before and after a sequence.

        Raises
        ------
        InputError
            If they are not known.
        """
        if self.prefix is None or self.suffix is None:
            raise InputError(
                "the tokenizer's files do not say which tokens it puts before and after a sequence. "
                f"Give the vocabulary as {self},prefix=0,suffix=1 with the tokens of this model, or "
                "with prefix=,suffix= where it puts none"
            )
        return self.prefix, self.suffix

    def __str__(self) -> str:
        words = [token_words(self.tokens)]
        for name, tokens in (("prefix", self.prefix), ("suffix", self.suffix)):
            if tokens:
                words.append(f"{name}={'+'.join(map(str, tokens))}")
        return ",".join(words)


def token_words(tokens: tuple[tuple[str, int], ...]) -> str:
    """Tokens of letters as a user writes them, A=7,C=8,G=9,T=10."""
    return ",".join(f"{letter}={token}" for letter, token in tokens)


def as_vocabulary(value: Any) -> Vocabulary:
    """A vocabulary from what a user gives for one.

    Parameters
    ----------
    value : Vocabulary, mapping of letters to tokens, str or Path
        A text is A=7,C=8,G=9,T=10,N=11,prefix=0,suffix=1 (several tokens as prefix=0+2), or the path of
        a tokenizer (`tokenizer_files.read_tokenizer`).

    Raises
    ------
    InputError
        If it is none of these.
    """
    from kipoi_mcdropout.sequence.tokenizer_files import read_tokenizer

    if isinstance(value, Vocabulary):
        return value
    if isinstance(value, Mapping):
        return Vocabulary.of(value)
    if isinstance(value, Path):
        return read_tokenizer(value)
    if not isinstance(value, str):
        raise InputError(
            f"vocabulary must be a dict such as {{'A': 7, ...}}, a text such as {_EXAMPLE}, or the path "
            f"of a tokenizer; got {type(value).__name__}"
        )
    if re.match(r"\s*\w+\s*=", value) and not Path(value).exists():
        return parse_vocabulary(value)
    return read_tokenizer(Path(value))


def parse_vocabulary(text: str) -> Vocabulary:
    """The vocabulary that a text such as A=7,C=8,G=9,T=10,N=11,prefix=0,suffix=1 says.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    tokens: dict[str, int] = {}
    ends: dict[str, tuple[int, ...]] = {}
    for word in text.split(","):
        name, found, number = (part.strip() for part in word.partition("="))
        numbers = [part for part in number.split("+") if part] if name in _ENDS else [number]
        if not found or not all(re.fullmatch(r"-?\d+", part) for part in numbers):
            raise InputError(f"vocabulary must be like {_EXAMPLE},prefix=0,suffix=1; got {word!r}")
        if name in tokens or name in ends:
            raise InputError(f"vocabulary must have one token a letter; {name!r} has two")
        if name in _ENDS:
            ends[name] = tuple(map(int, numbers))
        else:
            tokens[name] = int(number)
    return Vocabulary.of(tokens, **ends)


def check_single_bases(names: Iterable[str], model_type: str = "") -> None:
    """Refuse a vocabulary whose tokens stand for several bases.

    Parameters
    ----------
    names : iterable of str
        All tokens.
    model_type : str
        What the tokenizer calls its model, such as BPE.

    Raises
    ------
    InputError
        With the reason why it cannot be mutated base by base.
    """
    several = [name for name in names if re.fullmatch("[ACGTUN]{2,}", name.upper())]
    if not several:
        return
    sizes = {len(name) for name in several}
    shown = ", ".join(sorted(several)[:3])
    if len(sizes) == 1 and model_type != "BPE":
        raise InputError(
            f"vocabulary must have one token a base; it has {len(several)} k-mers of {sizes.pop()} "
            f"bases ({shown}, ...). A substitution would change the tokens of several bases, or which "
            "bases make a token. Models of k-mers cannot be mutated here; use one of single bases"
        )
    raise InputError(
        f"vocabulary must have one token a base; it has {len(several)} tokens of several bases "
        f"({shown}, ...), as byte pair encoding (BPE) makes them. A substitution would change how the "
        "sequence is cut into tokens, so their number would change. Such models cannot be mutated here; "
        "use one of single bases"
    )


def _bases(known: Mapping[str, int]) -> str:
    if "T" in known and "U" in known:
        raise InputError(
            "vocabulary must have a token of T or of U, not of both. Give the tokens that the model was "
            f"trained with, such as {_EXAMPLE}"
        )
    bases = RNA_BASES if "U" in known else DNA_BASES
    if missing := [base for base in bases if base not in known]:
        raise InputError(
            f"vocabulary must give a token for each of A, C, G and T (or U); {', '.join(missing)} is "
            f"missing. Give it as {_EXAMPLE}"
        )
    return bases


def _whole(token: Any, letter: str) -> int:
    if isinstance(token, bool) or not isinstance(token, (int, np.integer)):
        raise InputError(f"vocabulary must have whole numbers as tokens; {letter!r} has {token!r}")
    return int(token)


def _end(tokens: Sequence[int] | None, name: str) -> tuple[int, ...] | None:
    return None if tokens is None else tuple(_whole(token, name) for token in tokens)
