"""Whether a dataloader's ranges say where its sequences lie, by comparing both with the genome.

Ranges are Kipoi's: 0-based, half-open. Strand "-" means that the sequence is the reverse complement of
the genome at the range; "+", "*" and "." mean that it is the genome's own. The positions of mutants are
counted accordingly. Many dataloaders, kipoiseq's by default among them, read the forward strand whatever
the strand column of their BED says. A comparison with the genome shows this, and the strand is corrected
here.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.arrays.nested import leaves
from kipoi_mcdropout.errors import InputError, InputWarning
from kipoi_mcdropout.files.record import GenomicRange, metadata_rows, range_of
from kipoi_mcdropout.sequence.genome import Genome
from kipoi_mcdropout.sequence.mutants import get_input
from kipoi_mcdropout.sequence.one_hot import OneHotLayout

_SAME = 0.9  # share of bases that agree where a sequence is that of its range, variants aside
_LEAST_BASES = 10  # that a comparison needs
_COMPLEMENT = bytes.maketrans(b"ACGTU", b"TGCAA")


class RangeCheck:
    """Checks the ranges of batches before coordinates are made of them.

    Parameters
    ----------
    genome : Genome, optional
        What the dataloader reads; without one only lengths can be compared.
    """

    def __init__(self, genome: Genome | None = None) -> None:
        self.genome = genome
        self._told: set[str] = set()

    def checked(
        self, batch: dict[str, Any], x: NDArray[Any], category_axis: int, alphabet: str
    ) -> dict[str, Any]:
        """The batch, with strands corrected where the genome shows that they are wrong.

        Parameters
        ----------
        batch : dict
            As Kipoi's dataloaders give it: `inputs`, `metadata`, batch first. It is not changed.
        x : numpy.ndarray, shape=(n, ...)
            The input with the sequences, one-hot.
        category_axis : int
            Axis of one input (without the batch) that holds the bases.
        alphabet : str
            The bases along that axis, in order.

        Raises
        ------
        InputError
            If a range and its sequence differ in length, or the range is shifted by one base, as one
            that counts from 1 is.

        Warns
        -----
        InputWarning
            If strands are corrected or cannot be checked, or a sequence is not that of the genome.
        """
        rows = metadata_rows(batch, len(x))
        ranges = [range_of(row) for row in rows]
        if not any(ranges):
            return batch
        layout = OneHotLayout.of(x, category_axis, alphabet)
        for where in filter(None, ranges):
            _check_length(where, layout.n_positions)
        if self.genome is None:
            if any(where.strand == "-" for where in ranges if where):
                self._tell("strand", _UNCHECKED)
            return batch
        letters = np.frombuffer("".join(_letters(layout)).encode("latin-1"), np.uint8)
        texts = letters[layout.codes(x)]
        strands = [
            None if where is None else self._strand(where, text)
            for where, text in zip(ranges, texts, strict=True)
        ]
        changed = {i: s for i, s in enumerate(strands) if s is not None and s != _side(ranges[i])}
        return _with_strands(batch, changed) if changed else batch

    def _strand(self, where: GenomicRange, sequence: NDArray[np.uint8]) -> str:
        """The strand, "+" or "-", on which the genome has this sequence; else the one that is stated.

        `sequence` has ASCII codes, shape=(positions,).
        """
        assert self.genome is not None
        stated = _side(where)
        if where.chrom not in self.genome.lengths:
            self._tell("contig", f"contig {where.chrom} of the ranges is not in {self.genome.path}")
            return stated
        around = self.genome.fetch(where.chrom, where.start - 1, where.end + 1)
        if _comparable(around, sequence) < _LEAST_BASES:
            return stated
        here = {side: _agreement(_turned(around[1:-1], side), sequence) for side in "+-"}
        if here[stated] >= _SAME:
            return stated
        other = "-" if stated == "+" else "+"
        if here[other] >= _SAME:
            words = _CORRECTED[stated].format(name=where.name, genome=self.genome.path)
            self._tell(f"strand {stated}", words)
            return other
        for side, shifted in (("before", around[:-2]), ("after", around[2:])):
            if max(_agreement(_turned(shifted, strand), sequence) for strand in "+-") >= _SAME:
                raise InputError(_SHIFTED.format(where=_words(where), side=side))
        share = round(100 * here[stated])
        words = _OTHER.format(where=_words(where), genome=self.genome.path, share=share)
        self._tell("other", words)
        return stated

    def _tell(self, kind: str, message: str) -> None:
        """Warn, once for each kind."""
        if kind not in self._told:
            self._told.add(kind)
            warnings.warn(message, InputWarning, stacklevel=4)


def with_checked_ranges(
    batches: Iterator[dict[str, Any]],
    check: RangeCheck,
    model_input: Any,
    category_axis: int | None,
    alphabet: str,
) -> Iterator[dict[str, Any]]:
    """Yield batches whose ranges were checked; see `RangeCheck.checked`.

    `model_input` names the input with the sequences. Where `category_axis` is None it is found out. A
    batch without such an input or axis is passed on as it is: the run itself refuses it by name.
    """
    for batch in batches:
        try:
            x = np.asarray(get_input(batch["inputs"], model_input))
        except (KeyError, IndexError, TypeError):  # no such input: the run says which there are
            yield batch
            continue
        axis = _category_axis(x, len(alphabet)) if category_axis is None else category_axis
        yield batch if axis is None else check.checked(batch, x, axis, alphabet)


def _category_axis(x: NDArray[Any], n_categories: int) -> int | None:
    """The only axis of one input that is as long as there are categories, if there is one."""
    axes = [axis for axis, size in enumerate(x.shape[1:]) if size == n_categories]
    return axes[0] if len(axes) == 1 else None


def genome_of(arguments: Mapping[str, Any]) -> Genome | None:
    """The genome among a dataloader's arguments: a file under a name with "fasta" in it, or None."""
    for name, value in arguments.items():
        if "fasta" in name.lower() and isinstance(value, (str, Path)) and Path(value).is_file():
            try:
                with warnings.catch_warnings():  # of its index, which the dataloader uses and we do not
                    warnings.simplefilter("ignore", InputWarning)
                    return Genome(value)
            except InputError:
                return None
    return None


def _check_length(where: GenomicRange, length: int) -> None:
    """Raise InputError unless a range is as long as its sequence, in bp."""
    n_bp = where.end - where.start
    if n_bp != length:
        hint = " Is it counted from 1?" if abs(n_bp - length) == 1 else ""
        raise InputError(
            f"the dataloader gives the range {_words(where)}, {n_bp} bp, for a sequence of {length} bp, "
            f"so mutants would get wrong coordinates.{hint} The ranges in the metadata must be the "
            "window that the model sees (0-based, half-open), or be left out"
        )


def _side(where: GenomicRange | None) -> str:
    """The strand as the range states it: "-", or "+" for everything else."""
    return "-" if where is not None and where.strand == "-" else "+"


def _words(where: GenomicRange) -> str:
    return f"{where.chrom}:{where.start}-{where.end} ({where.strand or '.'})"


def _letters(layout: OneHotLayout) -> Iterator[str]:
    """A letter of the genome for each code, N for what is none."""
    for letter in layout.letters():
        yield letter.upper().replace("U", "T") if letter.upper() in "ACGTU" else "N"


def _turned(bases: NDArray[np.uint8], side: str) -> NDArray[np.uint8]:
    """Bases of the forward strand (ASCII codes, shape=(n,)) as they are read on a strand."""
    if side == "+":
        return bases
    return np.frombuffer(bases.tobytes().translate(_COMPLEMENT)[::-1], np.uint8)


def _known(bases: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where the base is A, C, G or T, shape=(n,)."""
    return np.isin(bases, np.frombuffer(b"ACGT", np.uint8))


def _comparable(around: NDArray[np.uint8], sequence: NDArray[np.uint8]) -> int:
    """Number of positions that can be compared; `around` has one base more at each end."""
    return int(min(_known(around[1:-1]).sum(), _known(sequence).sum()))


def _agreement(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Share of the positions with a base in both at which they are the same."""
    both = _known(one) & _known(other)
    return float((one[both] == other[both]).mean()) if both.any() else 0.0


def _with_strands(batch: dict[str, Any], changed: dict[int, str]) -> dict[str, Any]:
    """The batch with other strands in its metadata, which is copied as far as needed."""
    (path,) = [key for key, _ in leaves(batch["metadata"]) if key.endswith("strand")]

    def renewed(data: Any, keys: list[str]) -> Any:
        if not keys:
            strands = np.array(data, dtype=object)
            strands[list(changed)] = list(changed.values())
            return strands.astype(str)
        return {k: renewed(v, keys[1:]) if str(k) == keys[0] else v for k, v in data.items()}

    return {**batch, "metadata": renewed(batch["metadata"], path.split("/"))}


_UNCHECKED = (
    'ranges with strand "-" are treated as reverse complements of the genome, so their coordinates '
    "are counted from the end of the range. This could not be checked, because no argument of the "
    "dataloader is a FASTA file. If the dataloader reads the forward strand, these coordinates are "
    "wrong (mirrored)"
)
_CORRECTED = {
    "-": 'ranges with strand "-", first {name}, have the forward sequence of {genome}, not its reverse '
    "complement: their coordinates are counted on the forward strand, and their strand is given as +",
    "+": 'ranges with a strand other than "-", first {name}, have the reverse complement of {genome}: '
    "their coordinates are counted on the reverse strand, and their strand is given as -",
}
_SHIFTED = (
    "the sequence of range {where} is the sequence of the genome one base {side} it, so all "
    "coordinates would be wrong. Does the range count from 1? Kipoi's ranges are 0-based and "
    "half-open; correct the dataloader"
)
_OTHER = (
    "the sequence of range {where} is not what {genome} has there ({share} % of the bases agree), and "
    "others may be wrong too: check the coordinates in the outputs"
)
