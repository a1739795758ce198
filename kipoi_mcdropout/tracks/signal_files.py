"""Writes bigWig and bedGraph: one number a position."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pysam

from kipoi_mcdropout.tracks.per_position import Points
from kipoi_mcdropout.tracks.track_files import require

_POINTS = 1_000_000  # given to a writer at once


def write_bigwig(path: Path, sizes: dict[str, int], points: Points, statistic: str) -> None:
    """Write the numbers of a statistic as a bigWig, where they are finite.

    Parameters
    ----------
    path : Path
    sizes : dict of str to int
        Lengths of the contigs; `contig` of the points counts in this order.
    points : numpy.ndarray of POINT
        Sorted by contig and position, all within the contigs.
    statistic : str
    """
    # libBigWig leaves out positions past the end of a contig without a word; `contig_sizes` refuses
    # them before.
    file = require("pyBigWig").open(str(path), "w")
    file.addHeader(list(sizes.items()))
    for contig, part in _parts(list(sizes), points, statistic):
        file.addEntries(contig, part["position"], values=part[statistic], span=1)
    file.close()


def write_bedgraph(
    path: Path, sizes: dict[str, int], points: Points, statistic: str, record: dict[str, Any]
) -> None:
    """Write the same as a bedGraph, compressed with bgzip; the provenance is in its first line."""
    with pysam.BGZFile(str(path), "wb") as file:  # type: ignore[call-arg]
        file.write(f"#kipoi_mcdropout={json.dumps(record)}\n".encode())
        for contig, part in _parts(list(sizes), points, statistic):
            start = part["position"]
            numbers = part[statistic].astype(str)  # the shortest text that is this float32
            lines = zip(start.tolist(), (start + 1).tolist(), numbers.tolist(), strict=True)
            file.write("".join(f"{contig}\t{a}\t{b}\t{c}\n" for a, b, c in lines).encode())


def finite(points: Points, statistic: str) -> Points:
    """The points at which a statistic has a number."""
    kept: Points = points[np.isfinite(points[statistic])]
    return kept


def _parts(contigs: Sequence[str], points: Points, statistic: str) -> Iterator[tuple[str, Points]]:
    """The finite points of one contig at a time, in pieces."""
    points = finite(points, statistic)
    for number in np.unique(points["contig"]):
        start, end = np.searchsorted(points["contig"], [number, number + 1])
        for first in range(start, end, _POINTS):
            part = points[first : min(end, first + _POINTS)]
            yield contigs[number], np.ascontiguousarray(part)
