"""The windows of the reference and of an allele that the model is shown.

The base at POS of a record lies at index (L - 1) // 2 of a window of length L: in the middle where L is
odd, and left of the middle where it is even (as kipoi-veff has it there). The window of an allele is cut
from the genome with the allele put in and begins at the same base, so the flank on the left stays and
the flank on the right is refilled, or cut, from the genome.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.sequence.genome import PAD, Genome
from kipoi_mcdropout.vcf.read.alleles import Edit, trim

Window = NDArray[np.uint8]  # ASCII codes, shape=(length,)


class Anchor(NamedTuple):
    """Where a window lies: the references of equal anchors are the same."""

    contig: str  # as the genome names it
    start: int  # 0-based, may be negative


class Indel(NamedTuple):
    """An insertion or deletion in a window."""

    position: int  # of the first base that is inserted or deleted, from the start of the anchor
    delta: int  # inserted bases; negative for deleted ones, 0 where there are as many as before


NO_INDEL = Indel(0, 0)


def centre_of(length: int) -> int:
    """Index, from 0, of the base at POS in a window."""
    return (length - 1) // 2


def anchor_about(contig: str, position: int, length: int) -> Anchor:
    """The window around a base."""
    return Anchor(contig, position - centre_of(length))


def fits(edit: Edit, length: int, shifts: tuple[int, ...] = (0,), off_centre: int = 0) -> bool:
    """Whether both alleles lie within the window whole, for all shifts of it.

    `off_centre` is how many bases right of the middle of the window the edit lies.
    """
    longest = max(len(edit.ref), len(edit.alt), 1)
    index = centre_of(length) + off_centre
    return all(0 <= index - shift <= length - longest for shift in shifts)


def reference_window(genome: Genome, anchor: Anchor, length: int, shift: int = 0) -> Window:
    """Window of the reference, moved to the right by `shift` bases."""
    start = anchor.start + shift
    return genome.fetch(anchor.contig, start, start + length)


def allele_window(genome: Genome, anchor: Anchor, edit: Edit, length: int, shift: int = 0) -> Window:
    """Window of the edited genome that begins at the same base as that of the reference."""
    start = anchor.start + shift
    left = genome.fetch(anchor.contig, start, edit.position)
    alt = np.frombuffer(edit.alt.encode("ascii"), np.uint8)
    resume = edit.position + len(edit.ref)
    missing = max(length - len(left) - len(alt), 0)
    right = genome.fetch(anchor.contig, resume, resume + missing)
    return np.concatenate([left, alt, right])[:length]


def indel_of(anchor: Anchor, edit: Edit) -> Indel:
    """What an edit inserts or deletes.

    Bases at the start that REF and ALT share stay in place; bases that are only replaced come next.
    """
    pairs = enumerate(zip(edit.ref, edit.alt, strict=False))
    n = next((i for i, (a, b) in pairs if a != b), min(len(edit.ref), len(edit.alt)))
    position, ref, alt = trim(Edit(edit.position + n, edit.ref[n:], edit.alt[n:]))
    return Indel(position + min(len(ref), len(alt)) - anchor.start, len(alt) - len(ref))


def window_behind(genome: Genome, anchor: Anchor, edit: Edit, length: int, shift: int = 0) -> Window:
    """Window of the edited genome that ends at the same base as that of the reference."""
    delta = len(edit.alt) - len(edit.ref)
    start = anchor.start + shift + delta  # in the edited genome
    if start <= edit.position:
        return allele_window(genome, anchor, edit, length, shift + delta)
    return allele_window(
        genome, anchor._replace(start=edit.position), edit, length + start - edit.position
    )[start - edit.position :]


def over_edge(window: Window) -> bool:
    """Whether a window runs past an end of the contig."""
    return bool(window[0] == PAD or window[-1] == PAD)
