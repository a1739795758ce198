"""Random access to a FASTA file, in cached blocks of codes; nothing is written beside the file."""

from __future__ import annotations

import shutil
import tempfile
from collections import OrderedDict
from pathlib import Path
from types import TracebackType

import numpy as np
import pyfaidx
from numpy.typing import NDArray

from kipoi_mcdropout.errors import InputError

_BLOCK_BP = 2**16
_BLOCKS_KEPT = 64

PAD = ord("-")  # in a window: a position past an end of the contig


class Genome:
    """Upper-case sequences of a FASTA file (plain, or compressed with bgzip).

    An index `FASTA.fai` that is there and not older than the FASTA is used; else one is built in a
    temporary folder.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    InputError
        If the file is missing or no FASTA.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise InputError(f"the genome must be a FASTA file; {self.path} is not there. Check it")
        self._folder: Path | None = None
        self._blocks: OrderedDict[tuple[str, int], NDArray[np.uint8]] = OrderedDict()
        try:
            self._fasta = pyfaidx.Faidx(
                str(self.path), indexname=str(self._index()), sequence_always_upper=True, rebuild=False
            )
        except (pyfaidx.FastaIndexingError, pyfaidx.UnsupportedCompressionFormat, ImportError,
                ValueError, OSError, KeyError) as error:  # fmt: skip
            self.close()
            raise InputError(
                f"{self.path} must be a FASTA file, plain or bgzipped, with lines of equal length; "
                f"{error}"
            ) from error
        self.lengths: dict[str, int] = {
            name: int(entry.rlen) for name, entry in self._fasta.index.items()
        }
        if not self.lengths:
            self.close()
            raise InputError(f"{self.path} holds no sequence; a FASTA file is required. Check the path")

    def _index(self) -> Path:
        beside = Path(f"{self.path}.fai")
        if beside.is_file() and beside.stat().st_mtime >= self.path.stat().st_mtime:
            return beside
        self._folder = Path(tempfile.mkdtemp(prefix="kipoi_mcdropout_"))
        return self._folder / f"{self.path.name}.fai"

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

    def _block(self, contig: str, number: int) -> NDArray[np.uint8]:
        key = (contig, number)
        if key in self._blocks:
            self._blocks.move_to_end(key)
            return self._blocks[key]
        first = number * _BLOCK_BP
        last = min(first + _BLOCK_BP, self.lengths[contig])
        text = str(self._fasta.fetch(contig, first + 1, last))  # pyfaidx: 1-based, inclusive
        block = np.frombuffer(text.upper().encode("latin-1"), np.uint8)
        if len(block) != last - first:
            raise InputError(
                f"{self.path}: contig {contig} gave {len(block)} bases instead of {last - first}; its "
                f"index is out of date, remove {self.path}.fai"
            )
        self._blocks[key] = block
        if len(self._blocks) > _BLOCKS_KEPT:
            self._blocks.popitem(last=False)
        return block

    def close(self) -> None:
        """Close the file and remove a temporary index."""
        fasta = getattr(self, "_fasta", None)
        if fasta is not None:
            fasta.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def __enter__(self) -> Genome:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
