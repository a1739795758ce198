"""The example VCF: variants in and out of planted sites, and every awkward kind there is.

Positions are 0-based in here; VCF's are 1-based, converted when a line is written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from motifs import BASES, log_odds
from regions import is_bound
from synthetic_genome import CONTIG_LENGTHS, UNKNOWN_RUNS, Element, Site, SyntheticGenome
from truth import encode, site_occupancy

SAMPLES = ("individual_1", "individual_2")
N_SNVS_PER_FACTOR = {"FOXA2": 12, "HNF4A": 6, "CEBPB": 6}
N_SNVS_OUTSIDE = 14
OUTSIDE_BP = 60  # how far from the element's centre a variant outside of sites lies, at least
_OUTSIDE_OCCUPANCY = 0.01
_GENOTYPES = ("0/1", "1/1", "0|1", "0/0", "./.", "1|0")


@dataclass(frozen=True)
class Variant:
    """One record of the VCF."""

    contig: str
    position: int
    reference: str
    alternatives: tuple[str, ...]
    kind: str
    info: str = ""

    def line(self, number: int, genotypes: tuple[str, str]) -> str:
        """The record as a line of text."""
        info = f"KIND={self.kind}" + (f";{self.info}" if self.info else "")
        columns = [self.contig, str(self.position + 1), f"ex{number}", self.reference]
        columns += [",".join(self.alternatives), "50", "PASS", info, "GT", *genotypes]
        return "\t".join(columns) + "\n"


class VariantMaker:
    """Builds variants on a genome, so that each REF is what the genome says."""

    def __init__(self, genome: SyntheticGenome, random: np.random.RandomState) -> None:
        self.genome = genome
        self.random = random
        # Windows around these hold no unknown base.
        self.elements = [
            element
            for element in genome.elements
            if "N" not in genome.window(element.contig, element.start + 250, 1_000)
        ]

    def bases(self, contig: str, start: int, end: int) -> str:
        """Upper-case reference bases."""
        return self.genome.contigs[contig][start:end].upper()

    def other_bases(self, base: str, n_bases: int = 1) -> tuple[str, ...]:
        """Distinct bases unlike ``base``, at random."""
        others = [other for other in BASES if other != base]
        return tuple(others[i] for i in self.random.permutation(3)[:n_bases])

    def insert(self, n_bases: int) -> str:
        """Random bases."""
        return "".join(BASES[i] for i in self.random.randint(4, size=n_bases))

    def sites(self, factor: str) -> list[tuple[Element, Site]]:
        """Bound planted sites of a factor."""
        return [
            (element, site)
            for element in self.elements
            for site in element.sites
            if site.factor == factor and is_bound(self.genome, element, site)
        ]

    def snv(self, contig: str, position: int, kind: str, n_alternatives: int = 1) -> Variant:
        """Single-base variant."""
        base = self.bases(contig, position, position + 1)
        return Variant(contig, position, base, self.other_bases(base, n_alternatives), kind)

    def snvs_in_sites(self, factor: str) -> list[Variant]:
        """One SNV a site, over the motif's positions in turn, the most informative ones first."""
        matrix = log_odds(factor)
        information = (2.0**matrix * 0.25 * matrix).sum(axis=1)
        n_variants = N_SNVS_PER_FACTOR[factor]
        variants = []
        for number, (element, site) in enumerate(self.sites(factor)[:n_variants]):
            column = int(np.argsort(-information, kind="stable")[number % len(matrix)])
            position = site.start + self._along(site, column)
            variants.append(self.snv(element.contig, position, f"snv_in_{factor}"))
        return variants

    def _along(self, site: Site, column: int) -> int:
        """Offset in the genome of a motif's column: sites may lie on the reverse strand."""
        return column if self._is_forward(site) else site.end - site.start - 1 - column

    def _is_forward(self, site: Site) -> bool:
        element = next(e for e in self.elements if site in e.sites)
        codes = encode(self.bases(element.contig, site.start, site.end))
        matrix = log_odds(site.factor)
        along = np.arange(len(matrix))
        return bool(matrix[along, codes].sum() >= matrix[along[::-1], 3 - codes].sum())

    def snvs_outside(self) -> list[Variant]:
        """SNVs within elements that touch nothing a factor could bind, before or after."""
        variants: list[Variant] = []
        for element in self.elements:
            for _ in range(20):
                offset = OUTSIDE_BP + self.random.randint(100)
                sign = 1 if self.random.randint(2) else -1
                position = (element.start + element.end) // 2 + sign * offset
                variant = self.snv(element.contig, position, "snv_outside")
                if self._is_outside(variant):
                    variants.append(variant)
                    break
            if len(variants) == N_SNVS_OUTSIDE:
                break
        return variants

    def _is_outside(self, variant: Variant) -> bool:
        around = self.bases(variant.contig, variant.position - 10, variant.position + 11)
        mutant = around[:10] + variant.alternatives[0] + around[11:]
        return all(
            site_occupancy(encode(text)[None, :], factor).max() < _OUTSIDE_OCCUPANCY
            for text in (around, mutant)
            for factor in N_SNVS_PER_FACTOR
        )

    def in_foxa2(self, index: int) -> tuple[str, int]:
        """Contig and start of a FOXA2 site, one that :meth:`snvs_in_sites` does not use if it can."""
        sites = self.sites("FOXA2")
        element, site = sites[(N_SNVS_PER_FACTOR["FOXA2"] + index) % len(sites)]
        return element.contig, site.start

    def mnv(self, contig: str, start: int, length: int) -> Variant:
        """Several neighbouring bases replaced, each by another."""
        reference = self.bases(contig, start, start + length)
        alternative = "".join(self.other_bases(base)[0] for base in reference)
        return Variant(contig, start, reference, (alternative,), "mnv")

    def insertion(self, contig: str, start: int, length: int) -> Variant:
        """Bases inserted behind an anchor base."""
        anchor = self.bases(contig, start, start + 1)
        return Variant(contig, start, anchor, (anchor + self.insert(length),), "insertion")

    def deletion(self, contig: str, start: int, length: int) -> Variant:
        """Bases deleted behind an anchor base."""
        reference = self.bases(contig, start, start + length + 1)
        return Variant(contig, start, reference, (reference[0],), "deletion")


def _indels(make: VariantMaker) -> list[Variant]:
    variants = [make.mnv(*make.in_foxa2(i), length) for i, length in enumerate((2, 3, 4))]
    for i, length in enumerate((1, 3, 6, 25), start=3):
        contig, start = make.in_foxa2(i)
        variants.append(make.insertion(contig, start + 3, length))
    for i, length in enumerate((1, 2, 5, 40), start=7):
        contig, start = make.in_foxa2(i)
        variants.append(make.deletion(contig, start + 2, length))
    return variants


def _multi_allelic(make: VariantMaker) -> list[Variant]:
    contig, start = make.in_foxa2(11)
    snvs = make.snv(contig, start + 3, "multi_allelic", n_alternatives=3)
    contig, start = make.in_foxa2(12)
    reference = make.bases(contig, start, start + 3)
    inserted = reference + make.insert(2)
    other = make.other_bases(reference[0])[0] + reference[1:]
    mixed = Variant(contig, start, reference, (reference[0], inserted, other), "multi_allelic")
    return [snvs, mixed]


def _replacement(make: VariantMaker) -> Variant:
    contig, start = make.in_foxa2(13)
    reference = make.bases(contig, start, start + 4)
    alternative = make.other_bases(reference[0])[0] + make.insert(1)
    return Variant(contig, start, reference, (alternative,), "delins")


def _not_scoreable(make: VariantMaker) -> list[Variant]:
    """A wrong REF, a symbolic allele, a spanning deletion, no ALT, and an unknown REF."""
    contig, start = make.in_foxa2(14)
    wrong = make.other_bases(make.bases(contig, start, start + 1), 2)
    variants = [Variant(contig, start, wrong[0], (wrong[1],), "wrong_ref")]
    contig, start = make.in_foxa2(15)
    anchor = make.bases(contig, start, start + 1)
    info = f"SVTYPE=DEL;END={start + 301};SVLEN=-300"
    variants.append(Variant(contig, start, anchor, ("<DEL>",), "symbolic", info))
    # The `*` allele: here some haplotypes lack this base, by the deletion two bases before it.
    contig, start = make.in_foxa2(16)
    variants.append(make.deletion(contig, start, 5))
    base = make.bases(contig, start + 2, start + 3)
    alternatives = (*make.other_bases(base), "*")
    variants.append(Variant(contig, start + 2, base, alternatives, "spanning_deletion"))
    contig, start = make.in_foxa2(17)
    base = make.bases(contig, start, start + 1)
    variants.append(Variant(contig, start, base, (".",), "no_alternative"))
    contig, ((_, end), *_) = next(iter(UNKNOWN_RUNS.items()))
    variants.append(Variant(contig, end - 50, "N", ("A",), "unknown_ref"))
    return variants


def _at_ends(make: VariantMaker) -> list[Variant]:
    """Windows that hang over a contig's end, and one that reaches into a run of N."""
    contig = "chr3"
    length = CONTIG_LENGTHS[contig]
    return [
        make.snv("chr2", 0, "contig_start"),
        make.snv(contig, length - 1, "contig_end"),
        replace(make.deletion(contig, length - 12, 3), kind="contig_end"),
        make.snv("chr1", UNKNOWN_RUNS["chr1"][0][1] + 20, "beside_gap"),
    ]


def example_variants(genome: SyntheticGenome, random: np.random.RandomState) -> list[Variant]:
    """All records, sorted by contig and position."""
    make = VariantMaker(genome, random)
    groups: tuple[Callable[[VariantMaker], list[Variant]], ...]
    groups = (_indels, _multi_allelic, _not_scoreable, _at_ends)
    variants = [v for factor in N_SNVS_PER_FACTOR for v in make.snvs_in_sites(factor)]
    variants += make.snvs_outside()
    variants += [variant for group in groups for variant in group(make)]
    variants.append(_replacement(make))
    order = list(CONTIG_LENGTHS)
    return sorted(variants, key=lambda v: (order.index(v.contig), v.position))


def vcf_text(variants: list[Variant], random: np.random.RandomState) -> str:
    """VCF 4.2 with the genotypes of two individuals."""
    lines = ["##fileformat=VCFv4.2", "##source=example/train.py"]
    lines += [f"##contig=<ID={name},length={bp}>" for name, bp in CONTIG_LENGTHS.items()]
    lines += [
        '##FILTER=<ID=PASS,Description="All filters passed">',
        '##ALT=<ID=DEL,Description="Deletion">',
        '##INFO=<ID=KIND,Number=1,Type=String,Description="What the record is an example of">',
        '##INFO=<ID=SVTYPE,Number=1,Type=String,Description="Type of structural variant">',
        '##INFO=<ID=END,Number=1,Type=Integer,Description="Last position of the variant">',
        '##INFO=<ID=SVLEN,Number=A,Type=Integer,Description="Length difference to REF">',
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">',
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t" + "\t".join(SAMPLES),
    ]
    text = "".join(line + "\n" for line in lines)
    for number, variant in enumerate(variants, start=1):
        chosen = random.randint(len(_GENOTYPES), size=2)
        genotypes = (_GENOTYPES[chosen[0]], _GENOTYPES[chosen[1]])
        if variant.alternatives == (".",):
            genotypes = ("0/0", "0/0")
        text += variant.line(number, genotypes)
    return text
