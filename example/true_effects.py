"""The true effect of every substitution in windows of the example, as a table of measured effects.

python example/true_effects.py --output DNase > true.tsv

Columns: variant (chrom:pos:ref:alt, pos from 1), effect (difference of true logits, alt - ref), window,
and large: 1 where the effect is larger than --large, else 0.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from truth import OUTPUTS, UNKNOWN, encode, true_logits_of_codes

DATA = Path(__file__).resolve().parent / "data"
BASES = "ACGT"


def contigs(fasta: Path) -> dict[str, str]:
    """The sequences of a FASTA file by name."""
    found = {}
    for block in fasta.read_text().split(">")[1:]:
        head, *lines = block.splitlines()
        found[head.split()[0]] = "".join(lines).upper()
    return found


def true_effects(genome: dict[str, str], regions: pd.DataFrame, output: str) -> pd.DataFrame:
    """A row per substitution of the windows; `regions` is BED with columns chrom, start, end, name."""
    parts = []
    for _, region in regions.iterrows():
        sequence = genome[region["chrom"]][region["start"] : region["end"]]
        codes = encode(sequence)
        known = np.flatnonzero(codes != UNKNOWN)
        position = np.repeat(known, 3)
        alt = (codes[position] + np.tile([1, 2, 3], len(known))) % 4
        mutants = np.repeat(codes[None], len(position), axis=0)
        mutants[np.arange(len(position)), position] = alt
        change = true_logits_of_codes(mutants) - true_logits_of_codes(codes[None])
        places = zip(position, alt, strict=True)
        names = [f"{region['start'] + p + 1}:{sequence[p]}:{BASES[a]}" for p, a in places]
        parts.append(
            pd.DataFrame(
                {
                    "variant": [f"{region['chrom']}:{name}" for name in names],
                    "effect": change[:, OUTPUTS.index(output)],
                    "window": region["name"],
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", choices=OUTPUTS, default="DNase", help="which output")
    parser.add_argument("--regions", type=Path, default=DATA / "regions.bed", help="BED with names")
    parser.add_argument("--large", type=float, default=0.1, help="size of a large effect (0.1)")
    options = parser.parse_args()
    columns = ["chrom", "start", "end", "name"]
    regions = pd.read_csv(options.regions, sep="\t", names=columns, usecols=range(4))
    table = true_effects(contigs(DATA / "genome.fa"), regions, options.output)
    table["large"] = (table["effect"].abs() > options.large).astype(int)
    table.to_csv(sys.stdout, sep="\t", index=False)


if __name__ == "__main__":
    main()
