"""Writes genome, windows, peaks, variants, the planted truth, and Kipoi's example files."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import truth
from regions import bed_text, example_regions, foxa2_peaks, narrow_peak_text
from synthetic_genome import CONTIG_LENGTHS, SyntheticGenome, synthetic_genome
from variants import example_variants, vcf_text

FASTA_WIDTH = 60


def fasta_text(contigs: dict[str, str]) -> str:
    """FASTA with lines of ``FASTA_WIDTH`` bases."""
    lines = []
    for name, sequence in contigs.items():
        lines.append(f">{name}")
        lines += [sequence[i : i + FASTA_WIDTH] for i in range(0, len(sequence), FASTA_WIDTH)]
    return "\n".join(lines) + "\n"


def planted_truth(genome: SyntheticGenome, seed: int) -> dict[str, object]:
    """All that was planted: the constants of the truth, and the elements of the genome."""
    return {
        "seed": seed,
        "outputs": list(truth.OUTPUTS),
        "slope_FOXA2_to_DNase": truth.SLOPE,
        "site": truth.SITE,
        "HNF4A_to_FOXA2": truth.HNF4A_TO_FOXA2,
        "HNF4A_to_DNase": truth.HNF4A_TO_DNASE,
        "CEBPB_to_DNase": truth.CEBPB_TO_DNASE,
        "base": truth.BASE,
        "threshold_bits": truth.THRESHOLD_BITS,
        "softness_bits": truth.SOFTNESS_BITS,
        "coordinates": "0-based, half-open",
        "elements": [asdict(element) for element in genome.elements],
    }


def _json_text(planted: dict[str, object]) -> str:
    """JSON with an element a line, so that a change of one is a change of one line."""
    elements = planted["elements"]
    assert isinstance(elements, list)
    head = json.dumps({k: v for k, v in planted.items() if k != "elements"}, indent=1)
    rows = ",\n".join("  " + json.dumps(element) for element in elements)
    return f'{head[:-2]},\n "elements": [\n{rows}\n ]\n}}\n'


def _kipoi_example(genome: SyntheticGenome) -> tuple[str, str]:
    """A short contig around the third window, and intervals on it: FASTA and BED as text.

    The last two intervals show what the dataloader does: one hangs over the contig's end, one is
    resized.
    """
    region = example_regions(genome)[2]
    contig = genome.contigs[region.contig][region.start - 300 : region.end + 200]
    intervals = [(300, 800, "with_sites"), (600, 1_100, "over_the_end"), (500, 700, "resized")]
    bed = "".join(f"example\t{start}\t{end}\t{name}\n" for start, end, name in intervals)
    return fasta_text({"example": contig}), bed


def write_data(folder: Path, seed: int) -> dict[str, str]:
    """Write all files but those of training; the same seed gives the same bytes.

    Parameters
    ----------
    folder : Path
        Gets ``data/`` and ``model/example_files/``.

    Returns
    -------
    dict of str to str
        SHA-256 of each file, by its path within ``folder``.
    """
    random = np.random.RandomState(seed)
    genome = synthetic_genome(random)
    example_fasta, example_bed = _kipoi_example(genome)
    texts = {
        "data/genome.fa": fasta_text(genome.contigs),
        "data/regions.bed": bed_text(example_regions(genome)),
        "data/peaks.bed": narrow_peak_text(foxa2_peaks(genome), CONTIG_LENGTHS),
        "data/variants.vcf": vcf_text(example_variants(genome, random), random),
        "data/truth.json": _json_text(planted_truth(genome, seed)),
        "model/example_files/sequences.fa": example_fasta,
        "model/example_files/intervals.bed": example_bed,
    }
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("ascii"))
    return {name: hashlib.sha256(text.encode("ascii")).hexdigest() for name, text in texts.items()}
