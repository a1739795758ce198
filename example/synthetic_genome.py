"""The synthetic genome: background of varying GC content with regulatory elements planted in it.

Coordinates are 0-based and half-open throughout.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from motifs import BASES
from simulate import background, motif_instances

CONTIG_LENGTHS = {"chr1": 110_000, "chr2": 80_000, "chr3": 50_000}
SEGMENT_BP = 2_000  # of one GC class
ELEMENT_BP = 500
ELEMENT_EVERY_BP = 2_500
UNKNOWN_RUNS = {"chr1": ((0, 600), (60_000, 60_150)), "chr2": ((40_000, 40_700),)}
LOWER_CASE_EVERY_BP = 3_000
LOWER_CASE_BP = (200, 1_200)

# Elements with HNF4A have the other two more often: in the genome, unlike in the training
# sequences, sites go together.
HNF4A_SHARE = 0.4
SHARE_WITH_HNF4A = {"FOXA2": 0.8, "CEBPB": 0.6}
SHARE_WITHOUT_HNF4A = {"FOXA2": 0.5, "CEBPB": 0.3}
WEAKENED_SHARE = 0.1

_N_SLOTS = 6
_SLOT_BP = 30


@dataclass(frozen=True)
class Site:
    """A planted motif instance."""

    factor: str
    start: int
    end: int


@dataclass(frozen=True)
class Element:
    """A stretch of ``ELEMENT_BP`` with the sites that were planted around its centre."""

    contig: str
    start: int
    end: int
    sites: tuple[Site, ...]


@dataclass(frozen=True)
class SyntheticGenome:
    """Contigs as text (upper, lower case and N), and the elements planted in them."""

    contigs: dict[str, str]
    elements: tuple[Element, ...]

    def window(self, contig: str, centre: int, length: int) -> str:
        """The ``length`` bases around ``centre``, upper case, N past the contig's ends."""
        start = centre - length // 2
        end = start + length
        text = self.contigs[contig]
        inside = text[max(start, 0) : max(end, 0)].upper()
        return "N" * max(-start, 0) + inside + "N" * max(end - len(text), 0)


def _element_factors(random: np.random.RandomState) -> list[str]:
    with_hnf4a = random.random_sample() < HNF4A_SHARE
    share = SHARE_WITH_HNF4A if with_hnf4a else SHARE_WITHOUT_HNF4A
    others = [factor for factor in ("FOXA2", "CEBPB") if random.random_sample() < share[factor]]
    return (["HNF4A"] if with_hnf4a else []) + others


def _plant_element(random: np.random.RandomState, codes: np.ndarray, contig: str, start: int) -> Element:
    """Write the sites of one element into ``codes``, a slot each, so that none overlap."""
    factors = _element_factors(random)
    slots = random.permutation(_N_SLOTS)[: len(factors)]
    first_slot = start + (ELEMENT_BP - _N_SLOTS * _SLOT_BP) // 2
    sites = []
    for factor, slot in zip(factors, slots, strict=True):
        instance = motif_instances(random, factor, 1, WEAKENED_SHARE)[0]
        room = _SLOT_BP - len(instance) + 1
        first = first_slot + _SLOT_BP * int(slot) + random.randint(room)
        codes[first : first + len(instance)] = instance
        sites.append(Site(factor, first, first + len(instance)))
    ordered = tuple(sorted(sites, key=lambda site: site.start))
    return Element(contig, start, start + ELEMENT_BP, ordered)


def _as_text(random: np.random.RandomState, contig: str, codes: np.ndarray) -> str:
    letters = np.frombuffer((BASES + "N").encode("ascii"), dtype=np.uint8)[codes]
    for block in range(0, len(codes), LOWER_CASE_EVERY_BP):
        # As repeats are written by those who mask them softly.
        start = block + random.randint(LOWER_CASE_EVERY_BP)
        letters[start : start + random.randint(*LOWER_CASE_BP)] |= 0x20
    for start, end in UNKNOWN_RUNS.get(contig, ()):
        letters[start:end] = ord("N")
    return letters.tobytes().decode("ascii")


def synthetic_genome(random: np.random.RandomState) -> SyntheticGenome:
    """Contigs ``chr1`` to ``chr3`` with an element every 2.5 kb, clear of the runs of N."""
    contigs: dict[str, str] = {}
    elements: list[Element] = []
    for contig, length in CONTIG_LENGTHS.items():
        codes = background(random, length // SEGMENT_BP, SEGMENT_BP).ravel()
        unknown = UNKNOWN_RUNS.get(contig, ())
        for block in range(0, length - ELEMENT_EVERY_BP + 1, ELEMENT_EVERY_BP):
            start = block + random.randint(ELEMENT_EVERY_BP - ELEMENT_BP)
            end = start + ELEMENT_BP
            if all(end <= first or last <= start for first, last in unknown):
                elements.append(_plant_element(random, codes, contig, start))
        contigs[contig] = _as_text(random, contig, codes)
    return SyntheticGenome(contigs, tuple(elements))
