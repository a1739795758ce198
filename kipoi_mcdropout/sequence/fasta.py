"""A FASTA file with one sequence for each input of a model, read from its begin to its end.

For random access to a genome see `genome`.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.errors import InputError, is_machine_failure
from kipoi_mcdropout.sequence.byte_source import GZIP_MAGIC
from kipoi_mcdropout.sequence.contig_names import some_names

AMBIGUOUS = b"RYSWKMBDHV"  # of IUPAC: one of two or three bases
_NUCLEIC = b"ACGTUN" + AMBIGUOUS
_SPACE = b" \t\r\n\v\f"
_GAPS = b"-.~"


class FastaSequence(NamedTuple):
    """One sequence: the first word of its line of ">", and its letters in upper case."""

    name: str
    letters: bytes
    line: int  # of its name in the file, from 1

    def __str__(self) -> str:
        return f"{self.name or 'without a name'} (line {self.line})"

    def codes(self, table: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The letters through a table of 256 codes."""
        return table[np.frombuffer(self.letters, np.uint8)]


def read_fasta(path: str | Path) -> Iterator[FastaSequence]:
    """The sequences of a FASTA file, plain or compressed by gzip or bgzip, one at a time.

    Lines may have any length. White space within sequences, empty lines, and lines that begin with ";"
    before the first sequence are passed over.

    Raises
    ------
    InputError
        If the file cannot be read, does not begin with ">", or has no sequence.
    """
    path = Path(path)
    name, first = "", 0
    parts: list[bytes] = []
    for number, line in enumerate(_lines(path), start=1):
        if line.startswith(b">"):
            if first:
                yield FastaSequence(name, b"".join(parts), first)
            name, first, parts = _name(line), number, []
        elif first:
            parts.append(line.translate(None, _SPACE).upper())
        elif line.strip() and not line.startswith(b";"):
            raise InputError(
                f'{path} must be a FASTA, plain or compressed by gzip: it must begin with ">"; got '
                f"{line.strip()[:40].decode('latin-1')!r} in line {number}"
            )
    if not first:
        raise InputError(f"{path} has no sequence. A FASTA file is required. Check the path")
    yield FastaSequence(name, b"".join(parts), first)


def check_letters(sequence: FastaSequence, path: Path) -> None:
    """Raise InputError where a sequence has letters that are none of DNA or RNA, or both T and U."""
    letters = sequence.letters
    if other := letters.translate(None, _NUCLEIC):
        shown = ", ".join(repr(chr(code)) for code in dict.fromkeys(other))
        gap = " A gap is no base: remove it, or write N." if other[:1] in _GAPS else ""
        raise InputError(
            f"{path}: the letters of a sequence must be A, C, G, T (or U), N, or the codes of IUPAC for "
            f"several bases; sequence {sequence} has {shown[:80]}.{gap} Is it a protein, or damaged?"
        )
    if b"T" in letters and b"U" in letters:
        raise InputError(
            f"{path}: sequence {sequence} has both T and U. Write one of them: T for DNA, U for RNA"
        )


def check_length(sequence: FastaSequence, length: int, path: Path, why: str) -> None:
    """Raise InputError where a sequence has another length, bp."""
    n_bp = len(sequence.letters)
    if n_bp != length:
        raise InputError(
            f"{path}: each sequence must have {length} bp, {why}; sequence {sequence} has {n_bp} bp. "
            "Sequences are not cut or filled up: give windows of this length, or a genome and regions "
            "(-f and --regions), which are resized"
        )


class FastaSurvey:
    """What the sequences of a file have, found by reading them once.

    Attributes
    ----------
    n : int
        Sequences.
    lengths : tuple of int
        The shortest and the longest, bp.
    ambiguous, with_u, with_t : int
        Sequences with codes of IUPAC for several bases, with U, and with T.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.n = self.ambiguous = self.with_u = self.with_t = 0
        self._some_ambiguous: list[str] = []
        low, high = -1, 0
        for sequence in read_fasta(self.path):
            check_letters(sequence, self.path)
            if not sequence.letters:
                raise InputError(
                    f"{self.path}: sequence {sequence} has no bases. Remove it, or look whether the "
                    "file is whole"
                )
            n_bp = len(sequence.letters)
            low, high = n_bp if low < 0 else min(low, n_bp), max(high, n_bp)
            self.n += 1
            self.with_u += b"U" in sequence.letters
            self.with_t += b"T" in sequence.letters
            if any(code in sequence.letters for code in AMBIGUOUS):
                self.ambiguous += 1
                self._some_ambiguous += [str(sequence)][: 9 - len(self._some_ambiguous)]
        self.lengths = (low, high)

    @property
    def common_length(self) -> int | None:
        """The length of all sequences, bp; None where they have several."""
        return self.lengths[0] if self.lengths[0] == self.lengths[1] else None

    def notes(self, alphabet: str) -> list[str]:
        """What is read otherwise than it is written, for a model with an alphabet."""
        for letter, other, n in (("U", "T", self.with_u), ("T", "U", self.with_t)):
            if n and letter not in alphabet and other in alphabet:
                return [f"{n} of {self.n} sequences have {letter}, which is read as {other}"]
        return []

    def warnings(self) -> list[str]:
        """What must be known before the results are used."""
        if not self.ambiguous:
            return []
        return [
            f"{self.ambiguous} of {self.n} sequences have codes of IUPAC for several bases (such as R "
            f"for A or G), which are read as N: {some_names(self._some_ambiguous)}"
        ]


def _lines(path: Path) -> Iterator[bytes]:
    """Lines of a file, of any length, uncompressed."""
    if path.exists() and not path.is_file():
        raise InputError(
            f"the sequences must be a file on disk, because it is read twice; {path} is none"
        )
    try:
        with path.open("rb") as raw:
            is_gzip = raw.read(2) == GZIP_MAGIC
        with gzip.open(path, "rb") if is_gzip else path.open("rb") as lines:
            yield from lines
    except (OSError, EOFError, zlib.error) as error:
        if is_machine_failure(error):
            raise
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read as FASTA: {reason}. Check the file") from error


def _name(line: bytes) -> str:
    """The first word after ">"."""
    words = line[1:].split(None, 1)
    return words[0].decode("utf-8", "surrogateescape") if words else ""
