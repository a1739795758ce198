"""Windows of a genome away from some regions, with their GC content."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.sequence.bed import read_intervals
from kipoi_mcdropout.significance.regions import RegionOptions, bed_text, sample_regions

_ROUNDS = 1_000


def matched_regions(
    fasta: str | Path, regions: str | Path, n: int, length: int, seed: int, output: Path
) -> None:
    """Write n windows as BED: none touches a region, and each has the GC content of one of them.

    `sample_regions` gives as many windows as there are regions, so it is called until there are n.

    Raises
    ------
    InputError
        If the genome has not that many.
    """
    intervals = read_intervals(regions)
    at_once = min(n, max(1, len(intervals) // 2))
    found: list[pd.DataFrame] = []
    starts: set[tuple[str, int]] = set()
    for round_ in range(_ROUNDS):
        options = RegionOptions(2 * at_once, length, seed * _ROUNDS + round_, gc_match=True)
        sampled = sample_regions(fasta, intervals, options)
        background = sampled[sampled["score"] == 0]
        places = list(zip(background["chrom"], background["start"], strict=True))
        found.append(background[[place not in starts for place in places]])
        starts.update(places)
        if len(starts) >= n:
            break
    table = pd.concat(found).iloc[:n]
    if len(table) < n:
        raise InputError(
            f"{n} windows of the genome are required, away from the regions and with their GC content; "
            f"{len(table)} were found. Lower n_effects (--n_effects), or raise per_window (--per_window)"
        )
    table = table.assign(name=[f"matched_{i}" for i in range(n)])
    output.write_text(bed_text(table), encoding="utf-8")
