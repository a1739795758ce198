"""A variant as all of the package knows it: a line of a VCF, whatever the file that it came from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Record:
    """One line of a VCF; of another file, what the line of a VCF would be.

    Attributes
    ----------
    line : int
        Number in the file, from 1; of the record in a BCF; of the name where names were given.
    text : str
        Without its line end.
    line_end : str
    contig : str
    pos : int
        1-based, as in a VCF.
    id : str
    ref : str
    alts : tuple of str
    middle : int or None
        Position, 0-based, of the middle of the window that it shares with other records; None where
        the window is about its own POS.
    """

    line: int
    text: str
    line_end: str
    contig: str
    pos: int
    id: str
    ref: str
    alts: tuple[str, ...]
    middle: int | None = None

    @property
    def n_mutants(self) -> int:
        """Mutants that may be scored of it; at least 1."""
        return max(len(self.alts), 1)

    @property
    def key(self) -> str:
        """All that its results depend on, beside the genome and the options."""
        return self.text if self.middle is None else f"{self.text}\nmiddle={self.middle}"
