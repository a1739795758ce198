"""Random access to a FASTA file, in cached blocks of codes; nothing is written anywhere."""

from __future__ import annotations

import warnings
from functools import lru_cache
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.errors import InputError, InputWarning
from kipoi_mcdropout.sequence.byte_source import open_source
from kipoi_mcdropout.sequence.fasta_index import FastaIndex, build_index, mismatch, read_fai

_BLOCK_BP = 2**16
_BLOCKS_KEPT = 64

PAD = ord("-")  # in a window: a position past an end of the contig


class Genome:
    """Upper-case sequences of a FASTA file (plain, or compressed with bgzip).

    An index `FASTA.fai` is used if it describes the file; otherwise the file is read once, and the index
    is kept in memory. Nothing is written. May be used in forked processes, not in several threads.

    Parameters
    ----------
    path : str or Path

    Attributes
    ----------
    lengths : dict of str to int
        Bases of each contig, in the order of the file.
    notice : str or None
        Why the index beside the file is not used.

    Raises
    ------
    InputError
        If the file is missing, no FASTA, or compressed in a way that allows no random access.

    Warns
    -----
    InputWarning
        If an index beside the file does not describe it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._block = lru_cache(_BLOCKS_KEPT)(self._read_block)
        try:
            if not self.path.is_file():
                what = "not a regular file" if self.path.exists() else "not there"
                raise InputError(
                    f"the genome must be a FASTA file on disk; {self.path} is {what}. Check the path"
                )
            self._source = open_source(self.path)
        except OSError as error:
            raise InputError(f"the genome {self.path} cannot be read: {error.strerror}") from error
        try:
            self.notice, self._index = self._find_index()
        except BaseException:
            self.close()
            raise
        self.lengths: dict[str, int] = {name: entry.length for name, entry in self._index.items()}
        if self.notice is not None:
            warnings.warn(self.notice, InputWarning, stacklevel=2)

    def _find_index(self) -> tuple[str | None, FastaIndex]:
        beside = Path(f"{self.path}.fai")
        notice = None
        if beside.exists():
            index = read_fai(beside)
            wrong = "it is not an index" if index is None else mismatch(index, self._source)
            if index is not None and wrong is None:
                return None, index
            notice = (
                f"the index {beside} is not used, because it does not describe {self.path.name}: "
                f"{wrong}. The FASTA was read instead. Check that it is whole, and make the index "
                f"again: samtools faidx {self.path}"
            )
        return notice, build_index(self._source, str(self.path))

    def fetch(self, contig: str, start: int, end: int) -> NDArray[np.uint8]:
        """ASCII codes of the bases start to end, 0-based and half-open; PAD past the contig's ends."""
        length = self.lengths[contig]
        window = np.full(end - start, PAD, np.uint8)
        position, stop = max(start, 0), min(end, length)
        while position < stop:
            number = position // _BLOCK_BP
            block = self._block(contig, number)
            first = number * _BLOCK_BP
            here = min(stop, first + _BLOCK_BP)
            window[position - start : here - start] = block[position - first : here - first]
            position = here
        return window

    def bases(self, contig: str, start: int, end: int) -> str:
        """The same as text; past the contig's ends there is nothing."""
        end = min(end, self.lengths[contig])
        return self.fetch(contig, max(start, 0), max(end, start, 0)).tobytes().decode("latin-1")

    def base_at(self, contig: str, position: int) -> str:
        """One base, 0-based."""
        number, offset = divmod(position, _BLOCK_BP)
        return chr(self._block(contig, number)[offset])

    def _read_block(self, contig: str, number: int) -> NDArray[np.uint8]:
        first = number * _BLOCK_BP
        last = min(first + _BLOCK_BP, self.lengths[contig])
        entry = self._index[contig]
        begin = entry.place(first)
        data = self._source.read_at(begin, entry.place(last - 1) + 1 - begin)
        block = np.frombuffer(data.translate(None, b"\r\n").upper(), np.uint8)
        if len(block) != last - first or b">" in data:
            raise InputError(
                f"{self.path} has no {last - first} bases of {contig} at byte {begin}: the file has "
                f"changed, or its index does not describe it. Remove {self.path}.fai"
            )
        return block

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def __enter__(self) -> Genome:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
