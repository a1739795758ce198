"""Genotypes of the samples of a record: which allele lies on which copy of the chromosome."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.vcf.read.header import N_FIXED_COLUMNS
from kipoi_mcdropout.vcf.read.record import Record

_GENOTYPE = re.compile(r"[|/]?(?:[0-9]+|\.)(?:[|/](?:[0-9]+|\.))*\Z")
_MISSING = (".", "")


@dataclass(frozen=True)
class Genotype:
    """The alleles of one sample at one record.

    Attributes
    ----------
    alleles : tuple of int or None
        One for each copy of the chromosome: 0 for REF, the number of the ALT, None where it is missing.
    is_phased : bool
        Whether the order of the copies is known.
    phase_set : str
        Genotypes with the same have the same order of copies; "" where none is given.
    """

    alleles: tuple[int | None, ...]
    is_phased: bool
    phase_set: str = ""

    @property
    def is_reference(self) -> bool:
        """Whether no copy has an ALT, or may have one."""
        return not any(allele != 0 for allele in self.alleles)

    @property
    def is_same_on_all(self) -> bool:
        """Whether all copies are known to have the same allele, so that their order does not matter."""
        return None not in self.alleles and len(set(self.alleles)) == 1


MISSING = Genotype((None,), False)


def genotypes_of(record: Record, n_samples: int, name: str) -> tuple[Genotype, ...]:
    """The genotype of each sample; of one without GT, a copy that is missing.

    `name` is that of the file, for errors.

    Raises
    ------
    InputError
        Naming the line, if a genotype is malformed, or phase sets are given as PSL.
    """
    columns = record.text.split("\t")[N_FIXED_COLUMNS:]
    keys = columns[0].split(":") if columns else []
    if "GT" not in keys:
        return (MISSING,) * n_samples
    if "PSL" in keys and "PS" not in keys:
        raise InputError(
            f"{name}, line {record.line}: phase sets must be given as PS; PSL is not read. Write PS, or "
            "remove PSL"
        )
    at, at_set = keys.index("GT"), keys.index("PS") if "PS" in keys else None
    found = []
    for column in columns[1:]:
        fields = column.split(":")
        alleles, phased = _parse(fields[at] if at < len(fields) else ".")
        if not alleles or max((a or 0) for a in alleles) > len(record.alts):
            raise InputError(
                f"{name}, line {record.line}: GT must be numbers of alleles from 0 to "
                f"{len(record.alts)} with | or / between; got {fields[at][:40]!r}"
            )
        phase_set = fields[at_set] if at_set is not None and at_set < len(fields) and phased else ""
        found.append(_genotype(alleles, phased, "" if phase_set in _MISSING else phase_set))
    return tuple(found)


@lru_cache(4096)
def _parse(text: str) -> tuple[tuple[int | None, ...], bool]:
    """Alleles, and whether they are phased; no alleles where the text is no genotype."""
    if text == "":
        text = "."
    if not _GENOTYPE.match(text):
        return (), False
    alleles = tuple(None if a == "." else int(a) for a in re.split(r"[|/]", text.lstrip("|/")))
    return alleles, "/" not in text


@lru_cache(4096)
def _genotype(alleles: tuple[int | None, ...], is_phased: bool, phase_set: str) -> Genotype:
    return Genotype(alleles, is_phased, phase_set)
