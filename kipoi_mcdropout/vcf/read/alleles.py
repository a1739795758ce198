"""What an ALT allele is: a kind that can be scored, or a reason why it cannot."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

BASES = frozenset("ACGT")
_SEQUENCE = re.compile(r"[ACGTUNRYSWKMBDHV]+\Z", re.IGNORECASE)

# Codes of nucleotides that stand for several bases (IUPAC, Nomenclature Committee 1984).
AMBIGUOUS = {
    "R": "AG", "Y": "CT", "S": "CG", "W": "AT", "K": "GT", "M": "AC",
    "B": "CGT", "D": "AGT", "H": "ACT", "V": "ACG", "N": "ACGT",
}  # fmt: skip

KINDS = ("snv", "mnv", "insertion", "deletion", "delins")

# Reason codes of the ledger, each with what it says in the header of an annotated VCF.
REASONS = {
    "no_alt": "the record has no ALT allele",
    "overlapping_deletion": "the allele * stands for a deletion that is scored in its own record",
    "symbolic": "a symbolic allele such as <DEL> has no sequence",
    "breakend": "a breakend joins two distant places of the genome",
    "alt_is_ref": "ALT equals REF",
    "ambiguous_base": "REF, ALT or the genome under REF has a letter other than A, C, G, T",
    "malformed_allele": "REF or ALT is not a sequence of letters",
    "contig_unknown": "the genome has no such contig",
    "contig_length": "the VCF header and the genome disagree on the length of the contig",
    "contig_differs": "most REF on this contig differ from the genome",
    "outside_contig": "the record lies outside of its contig",
    "ref_mismatch": "REF differs from the genome",
    "too_long": "the allele does not fit into the model's window",
    "edge": "the window runs over an end of the contig",
    "no_token": "the window has a position without a base, and the model's vocabulary no token for it",
    "unphased": "the genotype is heterozygous and not phased (with --phased)",
    "missing_genotype": "the genotype is missing (with --phased)",
    "overlapping_records": "two records of one haplotype change the same bases (with --phased)",
    "haplotype_allele": "another allele of the haplotype cannot be scored (with --phased)",
    "failed": "the model could not be run on its batch (with --on_error skip)",
}


class Skip(NamedTuple):
    """Why an allele is not scored."""

    reason: str  # a key of REASONS
    detail: str = ""


class Edit(NamedTuple):
    """Replacement of `ref` by `alt` at `position`, upper case; either may be empty."""

    position: int  # of the first base of ref, 0-based
    ref: str
    alt: str


def unscorable(ref: str, alt: str) -> Skip | None:
    """Why an allele cannot be scored, with any genome; None if it may be.

    Parameters
    ----------
    ref, alt : str
        As in the VCF; lower case counts as upper case.
    """
    if alt in (".", ""):
        return Skip("no_alt")
    if alt == "*":
        return Skip("overlapping_deletion")
    if "[" in alt or "]" in alt or (len(alt) > 1 and (alt[0] == "." or alt[-1] == ".")):
        return Skip("breakend", alt)
    if alt.startswith("<"):
        return Skip("symbolic", alt)
    for name, allele in (("REF", ref), ("ALT", alt)):
        if not _SEQUENCE.match(allele):
            return Skip("malformed_allele", f"{name}={allele}")
    if ref.upper() == alt.upper():
        return Skip("alt_is_ref")
    for name, allele in (("REF", ref), ("ALT", alt)):
        if not BASES.issuperset(allele.upper()):
            return Skip("ambiguous_base", f"{name}={allele}")
    return None


def reference_differs(ref: str, genome: str) -> Skip | None:
    """Compare REF with the same stretch of the genome (upper case); None if they are equal."""
    if ref.upper() == genome:
        return None
    possible = len(ref) == len(genome) and all(
        r == g or r in AMBIGUOUS.get(g, "") for r, g in zip(ref.upper(), genome, strict=True)
    )
    return Skip("ambiguous_base" if possible else "ref_mismatch", f"genome={genome}")


def trim(edit: Edit) -> Edit:
    """The part of an edit that changes: the common end, then the common start, taken off."""
    position, ref, alt = edit
    end = 0
    while end < min(len(ref), len(alt)) and ref[-1 - end] == alt[-1 - end]:
        end += 1
    ref, alt = ref[: len(ref) - end], alt[: len(alt) - end]
    start = 0
    while start < min(len(ref), len(alt)) and ref[start] == alt[start]:
        start += 1
    return Edit(position + start, ref[start:], alt[start:])


def kind_of(edit: Edit) -> str:
    """One of KINDS, by the part that changes; an equal number of bases is an snv or mnv."""
    _, ref, alt = trim(edit)
    if len(ref) == len(alt):
        return "snv" if len(ref) == 1 else "mnv"
    if not ref:
        return "insertion"
    return "delins" if alt else "deletion"


def normalised(edit: Edit, base_at: Callable[[int], str]) -> Edit:
    """The one spelling of an edit that all its spellings share: trimmed and shifted left.

    The algorithm of Tan, Abecasis and Kang, "Unified representation of genetic variants" (2015): an
    insertion or deletion keeps the one base before it, unless it begins the contig.

    Parameters
    ----------
    base_at : callable
        The genome's base at a 0-based position of the contig, upper case.
    """
    position, ref, alt = trim(edit)
    if ref and alt:
        return Edit(position, ref, alt)
    moving = ref or alt
    while position > 0 and (before := base_at(position - 1)) == moving[-1] and before in BASES:
        moving = before + moving[:-1]
        position -= 1
    ref, alt = (moving, "") if ref else ("", moving)
    if position == 0:
        return Edit(position, ref, alt)
    anchor = base_at(position - 1)
    return Edit(position - 1, anchor + ref, anchor + alt)
