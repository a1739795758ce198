"""Which column of a table is which part of a variant: by its name, and never by guessing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.vcf.read.variant_names import RowError, Variant, checked, position_of

# Names without case, spaces and signs. For `id` the first that is found counts.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "chrom": ("chrom", "chr", "chromosome", "contig", "seqname", "seqnames", "seqid"),
    "pos": ("pos", "position", "bp", "basepairlocation", "genpos", "coordinate"),
    "ref": ("ref", "reference", "refallele", "referenceallele", "refbase"),
    "alt": ("alt", "alternate", "alternative", "altallele", "alternateallele", "alternativeallele",
            "altbase"),
    "id": ("id", "rsid", "snp", "snpid", "variantid", "varid", "markername", "marker"),
}  # fmt: skip
REQUIRED = ("chrom", "pos", "ref", "alt")
# Names that mean one thing in one program and another in the next: refused until they are explained.
_AMBIGUOUS_ALLELES = frozenset(
    {
        "a0", "a1", "a2", "allele0", "allele1", "allele2", "effectallele", "otherallele",
        "noneffectallele", "ea", "nea", "oa", "testedallele", "minorallele", "majorallele", "riskallele",
    }
)  # fmt: skip
_AMBIGUOUS_PLACES = frozenset(
    {"start", "end", "chromstart", "chromend", "chrstart", "chrend", "begin", "stop", "pos0"}
)


def plain(name: str) -> str:
    """A name without case, spaces and signs.

    >>> plain("#CHROM"), plain("Ref_Allele")
    ('chrom', 'refallele')
    """
    return re.sub(r"[^a-z0-9]", "", name.lower())


def looks_like_names(words: Sequence[str]) -> bool:
    """Whether the words of a line are names of columns: of a contig, and of another part."""
    found = {plain(word) for word in words}
    others = {name for part in ("pos", "ref", "alt") for name in SYNONYMS[part]}
    others |= _AMBIGUOUS_ALLELES | _AMBIGUOUS_PLACES
    return bool(found & set(SYNONYMS["chrom"])) and bool(found & others)


def check_columns(columns: Mapping[str, str]) -> None:
    """Refuse words for parts of a variant that are none."""
    if unknown := [part for part in columns if part not in SYNONYMS]:
        raise InputError(f"columns (--columns) must be of {', '.join(SYNONYMS)}; got {unknown[0]!r}")


class Columns:
    """The places of the parts of a variant in a row.

    Parameters
    ----------
    names : sequence of str
        The line of column names.
    given : mapping of str to str
        Columns of parts (chrom, pos, ref, alt, id) that are not to be found by name.

    Raises
    ------
    RowError
        If a part is missing, is there twice, or has a name that does not say what it is.
    """

    def __init__(self, names: Sequence[str], given: Mapping[str, str]) -> None:
        self.names = [name.strip() for name in names]
        self.n = len(self.names)
        self.at: dict[str, int] = {}
        for part in SYNONYMS:
            if (place := self._place(part, given)) is not None:
                self.at[part] = place

    def _place(self, part: str, given: Mapping[str, str]) -> int | None:
        have = ", ".join(self.names)[:200]
        if part in given:
            matches = [i for i, name in enumerate(self.names) if given[part] in (name, name.lstrip("#"))]
            if len(matches) != 1:
                raise RowError(f"there must be one column {given[part]!r}; the columns are {have}")
            return matches[0]
        keys = [plain(name) for name in self.names]
        matches = [i for synonym in SYNONYMS[part] for i, key in enumerate(keys) if key == synonym]
        if part == "id":
            return matches[0] if matches else None
        if len(matches) > 1:
            both = " and ".join(self.names[i] for i in matches)
            raise RowError(
                f"columns {both} could both be {part}; say which: "
                f"--columns {part}={self.names[matches[0]]}"
            )
        if not matches:
            raise RowError(f"a column {part} is required; the columns are {have}. {self._advice(part)}")
        return matches[0]

    def _advice(self, part: str) -> str:
        unclear = _AMBIGUOUS_PLACES if part == "pos" else _AMBIGUOUS_ALLELES
        found = [name for name in self.names if part != "chrom" and plain(name) in unclear]
        if not found:
            return f"If it has another name, say which: --columns {part}=NAME"
        if part == "pos":
            return (
                f"{' and '.join(found)} may count from 0 or from 1. If from 1: "
                f"--columns pos={found[0]}. If from 0: give a BED file (--input_format bed)"
            )
        return (
            f"{' and '.join(found)} do not say which is the allele of the genome. If you know it, say "
            "so: --columns ref=NAME alt=NAME"
        )

    def variant(self, cells: Sequence[str]) -> Variant:
        """The variant of a row.

        Raises
        ------
        RowError
            If the row has more or fewer cells than there are columns, or a part is malformed.
        """
        if len(cells) != self.n:
            raise RowError(f"{self.n} columns are required, as in the line of names; got {len(cells)}")
        of = {part: cells[place].strip() for part, place in self.at.items()}
        pos = position_of(of["pos"])
        return checked(of["chrom"], pos, of["ref"], of["alt"], of.get("id", "."))
