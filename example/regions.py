"""The intervals written beside the genome: example windows and FOXA2 peaks.

Coordinates are 0-based and half-open.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from synthetic_genome import Element, Site, SyntheticGenome
from truth import OUTPUTS, encode, site_occupancy, true_logits_of_codes

LENGTH_BP = 500
BOUND_OCCUPANCY = 0.5
PEAK_PROBABILITY = 0.5
PEAK_BP = 200

# The planted sites of the example windows; two windows of each of the first and the last kind.
REGION_KINDS: tuple[tuple[tuple[str, ...], int], ...] = (
    (("FOXA2",), 2),
    (("FOXA2", "HNF4A"), 1),
    (("CEBPB", "FOXA2"), 1),
    (("CEBPB", "FOXA2", "HNF4A"), 1),
    (("HNF4A",), 1),
    ((), 2),
)


@dataclass(frozen=True)
class Region:
    """A named window."""

    contig: str
    start: int
    end: int
    name: str


def is_bound(genome: SyntheticGenome, element: Element, site: Site) -> bool:
    """Whether a planted site is occupied, that is, was not drawn too weak."""
    codes = encode(genome.contigs[element.contig][site.start : site.end])
    return float(site_occupancy(codes[None, :], site.factor)[0, 0]) > BOUND_OCCUPANCY


def _centre(element: Element) -> int:
    for site in element.sites:
        if site.factor == "FOXA2":
            return (site.start + site.end) // 2
    return (element.start + element.end) // 2


def example_regions(genome: SyntheticGenome) -> list[Region]:
    """Windows of ``LENGTH_BP``, centred on planted FOXA2 sites, and some without any.

    Returns
    -------
    list of Region
        In the order of ``REGION_KINDS``; the name tells the planted sites.
    """
    regions = []
    for factors, n_regions in REGION_KINDS:
        fitting = [
            element
            for element in genome.elements
            if tuple(sorted(site.factor for site in element.sites)) == factors
            and all(is_bound(genome, element, site) for site in element.sites)
            and "N" not in genome.window(element.contig, _centre(element), LENGTH_BP)
        ]
        for number, element in enumerate(fitting[:n_regions], start=1):
            start = _centre(element) - LENGTH_BP // 2
            name = f"{'_'.join(factors) or 'no_site'}_{number}"
            regions.append(Region(element.contig, start, start + LENGTH_BP, name))
    return regions


@dataclass(frozen=True)
class Peak:
    """A FOXA2 peak; ``summit`` is the centre of its site on the contig."""

    contig: str
    summit: int
    probability: float


def foxa2_peaks(genome: SyntheticGenome) -> list[Peak]:
    """Every place where FOXA2 truly binds, planted or there by chance.

    A peak is an occupied FOXA2 site whose window of ``LENGTH_BP`` has a true FOXA2 probability
    of at least ``PEAK_PROBABILITY``; of sites closer than ``PEAK_BP`` the most occupied is kept.
    """
    peaks: list[Peak] = []
    for contig, text in genome.contigs.items():
        occupancy = site_occupancy(encode(text)[None, :], "FOXA2")[0]
        width = len(text) - len(occupancy) + 1
        taken: list[Peak] = []
        for position in np.argsort(-occupancy, kind="stable"):
            if occupancy[position] < BOUND_OCCUPANCY:
                break
            summit = int(position) + width // 2
            if any(abs(summit - other.summit) < PEAK_BP for other in taken):
                continue
            codes = encode(genome.window(contig, summit, LENGTH_BP))
            logit = true_logits_of_codes(codes[None, :])[0, OUTPUTS.index("FOXA2")]
            taken.append(Peak(contig, summit, float(1.0 / (1.0 + np.exp(-logit)))))
        kept = [peak for peak in taken if peak.probability >= PEAK_PROBABILITY]
        peaks += sorted(kept, key=lambda peak: peak.summit)
    return peaks


def bed_text(regions: list[Region]) -> str:
    """Four-column BED."""
    return "".join(f"{r.contig}\t{r.start}\t{r.end}\t{r.name}\n" for r in regions)


def narrow_peak_text(peaks: list[Peak], contig_lengths: dict[str, int]) -> str:
    """ENCODE narrowPeak: signal value the true probability, last column the summit's offset."""
    lines = []
    for number, peak in enumerate(peaks, start=1):
        start = max(peak.summit - PEAK_BP // 2, 0)
        end = min(peak.summit + PEAK_BP // 2, contig_lengths[peak.contig])
        fields = [peak.contig, start, end, f"FOXA2_peak_{number}", round(1000 * peak.probability)]
        fields += [".", f"{peak.probability:.4f}", -1, -1, peak.summit - start]
        lines.append("\t".join(str(field) for field in fields) + "\n")
    return "".join(lines)
