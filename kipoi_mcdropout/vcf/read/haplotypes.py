"""Haplotypes: the alleles that lie on one copy of a chromosome within the window about a record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.vcf.read.genotypes import Genotype, genotypes_of
from kipoi_mcdropout.vcf.read.record import Record
from kipoi_mcdropout.vcf.read.region import Region

# Flags of a haplotype: what of its sample in the window is not known to lie on it, and is left out.
LEFT_OUT = {
    "unphased_left_out": "an unphased heterozygous genotype of the sample in the window is left out",
    "phase_set_left_out": "a genotype of another phase set in the window is left out",
    "missing_left_out": "a missing genotype of the sample in the window is taken as REF",
    "ploidy_left_out": "a genotype with another number of copies in the window is left out",
}


@dataclass(frozen=True)
class Copy:
    """One copy of a chromosome of a sample."""

    sample: str
    number: int  # from 1, its place in GT

    def __str__(self) -> str:
        return f"{self.sample}:{self.number}"


@dataclass(frozen=True)
class Haplotype:
    """Alleles on one copy, by position, with the copies that carry them.

    Attributes
    ----------
    alleles : tuple of (Record, int)
        Records with the number of the ALT, from 1.
    own : int
        The ALT, from 1, of the record that the window is about.
    flags : tuple of str
        Of LEFT_OUT.
    carriers : tuple of Copy
    """

    alleles: tuple[tuple[Record, int], ...]
    own: int
    flags: tuple[str, ...]
    carriers: tuple[Copy, ...]

    @property
    def name(self) -> str:
        """The alleles, such as chr1:1000:A>G+chr1:1010:C>T."""
        return "+".join(variant_name(record, number) for record, number in self.alleles)


def variant_name(record: Record, number: int) -> str:
    """An allele as one word."""
    return f"{record.contig}:{record.pos}:{record.ref}>{record.alts[number - 1]}"


@dataclass(frozen=True)
class HaplotypeRecord(Record):
    """A record with the haplotypes that have one of its ALT alleles.

    Attributes
    ----------
    haplotypes : tuple of Haplotype
        Each distinct one once, in the order of the samples.
    n_reference : int
        Copies that have REF.
    not_scored : tuple of (Copy, str)
        Copies whose allele is not known, with the reason, one of `alleles.REASONS`.
    """

    haplotypes: tuple[Haplotype, ...] = ()
    n_reference: int = 0
    not_scored: tuple[tuple[Copy, str], ...] = ()

    @property
    def n_mutants(self) -> int:
        """See `Record.n_mutants`."""
        return max(len(self.haplotypes), 1)

    @property
    def key(self) -> str:
        """See `Record.key`."""
        words = [
            f"{h.name} {h.own} {' '.join(h.flags)} {' '.join(map(str, h.carriers))}"
            for h in self.haplotypes
        ]
        return "\n".join([self.text, *words])


@dataclass(frozen=True)
class _Near:
    """A record in the buffer, with the stretch of its REF, 0-based and half-open."""

    record: Record
    start: int
    end: int
    genotypes: tuple[Genotype, ...]


class Haplotypes:
    """Finds the haplotypes of samples in the windows about records.

    Parameters
    ----------
    samples : sequence of str
    before, after : int
        A window has so many bases before the base at POS, and so many from it on.
    name : str
        Of the file, for errors.
    asked : Region, optional
        Only records that overlap it get a window; the others are neighbours.
    """

    def __init__(
        self, samples: Sequence[str], before: int, after: int, name: str, asked: Region | None = None
    ) -> None:
        self.samples, self.before, self.after = samples, before, after
        self.name, self.asked = name, asked
        if not samples:
            raise InputError(
                f"phased (--phased) needs the genotypes of samples (FORMAT GT); {name} has no samples"
            )

    def check(self, records: Iterable[Record]) -> Iterator[Record]:
        """The records as they come, once it is sure that `of` can take them.

        Raises
        ------
        InputError
            If they are not sorted by position, or a genotype is malformed.
        """
        for near in self._in_order(records):
            yield near.record

    def of(self, records: Iterable[Record]) -> Iterator[HaplotypeRecord]:
        """Each record with its haplotypes, in order; needs the records of one window in memory.

        Raises
        ------
        InputError
            As `check`.
        """
        near: list[_Near] = []
        waiting = 0  # the first in `near` whose window may not be whole yet
        for new in self._in_order(records):
            other_contig = bool(near) and near[0].record.contig != new.record.contig
            while waiting < len(near) and (
                other_contig or near[waiting].start + self.after <= new.start
            ):
                yield from self._centred(near, waiting)
                waiting += 1
            if other_contig:
                near, waiting = [], 0
            near.append(new)
            first = near[waiting].start - self.before
            kept = [one for one in near[:waiting] if one.end > first]
            near, waiting = kept + near[waiting:], len(kept)
        for i in range(waiting, len(near)):
            yield from self._centred(near, i)

    def _in_order(self, records: Iterable[Record]) -> Iterator[_Near]:
        contig, last, done = None, 0, set[str]()
        for record in records:
            if record.contig != contig:
                if contig is not None:
                    done.add(contig)
                contig, last = record.contig, 0
            if record.pos < last or contig in done:
                raise InputError(
                    f"{self.name}, line {record.line}: phased (--phased) needs records sorted by contig "
                    f"and position; got {record.contig}:{record.pos} too late. Sort it: bcftools sort"
                )
            last, start = record.pos, record.pos - 1
            found = genotypes_of(record, len(self.samples), self.name)
            yield _Near(record, start, start + len(record.ref), found)

    def _centred(self, near: list[_Near], place: int) -> Iterator[HaplotypeRecord]:
        """The record at a place of the buffer, with its haplotypes, if it is asked for."""
        own = near[place]
        if self.asked is not None and not self.asked.overlaps(own.record.contig, own.start, own.end):
            return
        first, last = own.start - self.before, own.start + self.after
        window = [one for one in near if one.start < last and one.end > first]
        found: dict[tuple[tuple[tuple[int, int], ...], int, tuple[str, ...]], list[Copy]] = {}
        not_scored: list[tuple[Copy, str]] = []
        n_reference = 0
        for number, sample in enumerate(self.samples):
            genotype = own.genotypes[number]
            for copy, allele in enumerate(genotype.alleles):
                carrier = Copy(sample, copy + 1)
                if allele is None:
                    not_scored.append((carrier, "missing_genotype"))
                elif not (genotype.is_phased or genotype.is_same_on_all):
                    not_scored.append((carrier, "unphased"))
                elif allele == 0:
                    n_reference += 1
                else:
                    numbers, flags = _on_copy(window, own, number, copy)
                    found.setdefault((numbers, allele, flags), []).append(carrier)
        haplotypes = tuple(
            Haplotype(tuple((window[i].record, a) for i, a in numbers), allele, flags, tuple(carriers))
            for (numbers, allele, flags), carriers in found.items()
        )
        r = own.record
        yield HaplotypeRecord(
            r.line, r.text, r.line_end, r.contig, r.pos, r.id, r.ref, r.alts,
            haplotypes=haplotypes, n_reference=n_reference, not_scored=tuple(not_scored),
        )  # fmt: skip


def _on_copy(
    window: list[_Near], own: _Near, sample: int, copy: int
) -> tuple[tuple[tuple[int, int], ...], tuple[str, ...]]:
    """Places in the window, and ALT numbers, of the alleles on a copy of a sample; and flags."""
    numbers: list[tuple[int, int]] = []
    flags: set[str] = set()
    genotype = own.genotypes[sample]
    phase_set = _phase_set(window, own, sample)
    for i, one in enumerate(window):
        other = one.genotypes[sample]
        if other.is_reference:
            continue
        allele: int | None = 0
        if one is own:
            allele = other.alleles[copy]
        elif set(other.alleles) == {None}:
            allele = None
        elif other.is_same_on_all and len(other.alleles) > 1:
            allele = other.alleles[0]
        elif len(other.alleles) != len(genotype.alleles):
            flags.add("ploidy_left_out")
        elif not (other.is_phased or other.is_same_on_all):
            flags.add("unphased_left_out" if None not in other.alleles else "missing_left_out")
        elif not other.is_same_on_all and other.phase_set != phase_set:
            flags.add("phase_set_left_out")
        else:
            allele = other.alleles[copy]
        if allele is None:
            flags.add("missing_left_out")
        elif allele:
            numbers.append((i, allele))
    return tuple(numbers), tuple(name for name in LEFT_OUT if name in flags)


def _phase_set(window: list[_Near], own: _Near, sample: int) -> str:
    """The phase set that the copies are numbered by: of the record; else of the nearest that has one."""
    genotype = own.genotypes[sample]
    if not genotype.is_same_on_all:
        return genotype.phase_set
    others = [
        (abs(one.start - own.start), one.start, other.phase_set)
        for one in window
        if (other := one.genotypes[sample]).is_phased
        and not other.is_same_on_all
        and len(other.alleles) == len(genotype.alleles)
    ]
    return min(others)[2] if others else ""
