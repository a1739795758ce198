"""The window of a haplotype: several edits, about the base at POS of one of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from kipoi_mcdropout.sequence.genome import Genome
from kipoi_mcdropout.vcf.place.windows import Window, centre_of
from kipoi_mcdropout.vcf.read.alleles import Edit


def overlapping(edits: Sequence[Edit]) -> tuple[int, int] | None:
    """Places of the first two edits that change the same bases, or insert at the same place.

    Parameters
    ----------
    edits : sequence of Edit
        Trimmed, so that the bases that REF and ALT share are not counted.
    """
    pairs = itertools.combinations(range(len(edits)), 2)
    return next(((i, j) for i, j in pairs if _share(edits[i], edits[j])), None)


def _share(a: Edit, b: Edit) -> bool:
    if not a.ref and not b.ref:
        return a.position == b.position
    return a.position < b.position + len(b.ref) and b.position < a.position + len(a.ref)


def haplotype_window(
    genome: Genome,
    contig: str,
    position: int,
    own: Edit,
    others: Sequence[Edit],
    length: int,
    shift: int = 0,
) -> Window:
    """Window of the genome with all edits, in which the base at POS lies where it lies in the reference.

    Bases before POS are filled up on the left, those behind it on the right, from the genome.

    Parameters
    ----------
    position : int
        Of the base at POS, 0-based. No other edit may delete it, or change bases on both sides of it.
    own : Edit
        Of the record at POS, trimmed.
    others : sequence of Edit
        Trimmed; they may not overlap.
    """
    n_left = centre_of(length) - shift
    n_right = length - n_left
    left = [edit for edit in others if edit.position < position or _is_before(edit, position)]
    right = [own, *(edit for edit in others if edit not in left)]
    begin = min([position - n_left - _deleted(left), *(edit.position for edit in left)])
    end = max([position + n_right + _deleted(right), *(e.position + len(e.ref) for e in right)])
    before = _edited(genome, contig, begin, position, left)
    behind = _edited(genome, contig, position, end, right)
    return np.concatenate([before[len(before) - n_left :], behind[:n_right]])


def _is_before(edit: Edit, position: int) -> bool:
    """Whether an edit inserts right before a base."""
    return edit.position == position and not edit.ref


def _place(edit: Edit) -> tuple[int, int]:
    """Insertions before a base come before changes of it."""
    return edit.position, len(edit.ref)


def _deleted(edits: Sequence[Edit]) -> int:
    return sum(max(len(edit.ref) - len(edit.alt), 0) for edit in edits)


def _edited(genome: Genome, contig: str, start: int, end: int, edits: Sequence[Edit]) -> Window:
    """Stretch of the genome with edits that lie within it."""
    parts, at = [], start
    for edit in sorted(edits, key=_place):
        parts.append(genome.fetch(contig, at, edit.position))
        parts.append(np.frombuffer(edit.alt.encode("ascii"), np.uint8))
        at = edit.position + len(edit.ref)
    return np.concatenate([*parts, genome.fetch(contig, at, end)])
