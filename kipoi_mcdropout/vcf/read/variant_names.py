"""Variants written as one word, such as chr1:1000:A>G."""

from __future__ import annotations

import re
from typing import NamedTuple

from kipoi_mcdropout.errors import InputError

FORMS = "chr1:1000:A>G, chr1:1000:A:G or chr1-1000-A-G"

_REF = r"(?P<ref>[A-Za-z]+)"
_ALT = r"(?P<alt>[A-Za-z*.]+(?:,[A-Za-z*.]+)*)"
_PATTERNS = tuple(
    re.compile(rf"(?P<contig>\S+){between}(?P<pos>[0-9]+){between}{_REF}{arrow}{_ALT}")
    for between, arrow in ((":", "[>:]"), ("-", "-"))
)
_REF_ONLY = re.compile(r"[ACGTUNRYSWKMBDHV]+\Z", re.IGNORECASE)
_ALT_ONLY = re.compile(
    r"(?:[ACGTUNRYSWKMBDHV]+|\*|\.|<[^<>\s,;]+>|\.?[ACGTN]*[\[\]][^\s,;]+[\[\]][ACGTN]*\.?)\Z",
    re.IGNORECASE,
)
_MAX_POSITION = 2**31 - 2
_MAX_DIGITS = 10  # of that


class Variant(NamedTuple):
    """A variant of a row that is no line of a VCF."""

    contig: str
    pos: int  # 1-based
    ref: str
    alts: tuple[str, ...]
    id: str = "."


class RowError(InputError):
    """A row is malformed; whoever knows its line puts that before the message."""


def parse_name(text: str) -> Variant:
    """Read chr1:1000:A>G, chr1:1000:A:G or chr1-1000-A-G, 1-based; ALT may be several, with commas.

    Raises
    ------
    RowError
        If it is none of these.

    >>> parse_name("chr1:1000:A>G")
    Variant(contig='chr1', pos=1000, ref='A', alts=('G',), id='.')
    """
    for pattern in _PATTERNS:
        if (found := pattern.fullmatch(text)) is not None:
            return checked(found["contig"], position_of(found["pos"]), found["ref"], found["alt"])
    raise RowError(f"a variant must be {FORMS} (POS counts from 1); got {text[:80]!r}")


def is_name(text: str) -> bool:
    """Whether a text is written as the name of a variant."""
    return any(pattern.fullmatch(text) for pattern in _PATTERNS)


def position_of(text: str, counts_from: int = 1) -> int:
    """A position as a number; it must be written as a whole number, not below `counts_from`."""
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise RowError(f"a position must be a whole number, such as 1000; got {text[:80]!r}")
    number = int(text)
    if not counts_from <= number <= _MAX_POSITION:
        hint = (
            ". Positions count from 1 here; give a file that counts from 0 as BED (--input_format bed)"
            if number < counts_from
            else ""
        )
        raise RowError(f"a position must be from {counts_from} to {_MAX_POSITION}; got {text}{hint}")
    return number


def checked(contig: str, pos: int, ref: str, alt: str, name: str = ".") -> Variant:
    """The variant, if it can be a line of a VCF; `alt` may be several, with commas between.

    Raises
    ------
    RowError
        If it cannot.
    """
    if not contig or re.search(r"\s", contig):
        raise RowError(f"the name of a contig must be one word; got {contig[:80]!r}")
    if re.search(r"\s", name):
        raise RowError(f"the name of a variant must be one word; got {name[:80]!r}")
    alts = tuple(alt.split(","))
    if not _REF_ONLY.match(ref) or not all(_ALT_ONLY.match(one) for one in alts):
        raise RowError(
            "REF and ALT must be letters of bases; write an insertion or a deletion with the base "
            f"before it, as in a VCF (A and AT, not - and T); got REF {ref[:40]!r}, ALT {alt[:40]!r}"
        )
    return Variant(contig, pos, ref, alts, name or ".")
