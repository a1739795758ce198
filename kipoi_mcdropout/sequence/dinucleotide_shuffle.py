"""Shuffles a sequence so that it keeps the count of each dinucleotide exactly.

Altschul and Erickson, "Significance of nucleotide sequence alignments" (1985). The bases of a
sequence are the nodes of a graph, and each pair of neighbours is an edge. Every path that uses each edge
once is a sequence with the same dinucleotides, the same first and the same last base. A path is drawn
uniformly from all of them:

1. choose, for each base but the last of the sequence, which of its edges is used last, until these edges
   lead from every base to the last one;
2. put the other edges of each base into random order;
3. follow the edges from the first base.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray


def shuffle_dinucleotides(
    codes: NDArray[np.uint8], known: NDArray[np.bool_], random: np.random.Generator
) -> NDArray[np.uint8]:
    """A sequence with the same dinucleotides in random order.

    Positions without a base stay where they are. Each run of bases between them is shuffled by itself,
    and keeps its first and its last base.

    Parameters
    ----------
    codes : numpy.ndarray of uint8, shape=(positions,)
    known : numpy.ndarray of bool, shape=(positions,)
        Where there is a base.
    random : numpy.random.Generator

    Returns
    -------
    numpy.ndarray of uint8, shape=(positions,)
        Drawn uniformly from all such sequences.
    """
    shuffled: NDArray[np.uint8] = codes.copy()
    padded = np.zeros(len(known) + 2, np.int8)
    padded[1:-1] = known
    ends = np.flatnonzero(np.diff(padded))
    for start, end in ends.reshape(-1, 2):
        shuffled[start:end] = _shuffled_run(codes[start:end].tolist(), random)
    return shuffled


def _shuffled_run(run: list[int], random: np.random.Generator) -> list[int]:
    """A run of bases, shuffled."""
    if len(run) < 4:  # first and last stay, so nothing else can change place
        return run
    followers: dict[int, list[int]] = {}
    for base, following in itertools.pairwise(run):
        followers.setdefault(base, []).append(following)
    final = _last_edges(followers, run[-1], random)
    order: dict[int, list[int]] = {}
    for base, ends in followers.items():
        chosen = final.get(base)
        others = [end for i, end in enumerate(ends) if i != chosen]
        order[base] = [others[i] for i in random.permutation(len(others))]
        if chosen is not None:
            order[base].append(ends[chosen])
    used = dict.fromkeys(order, 0)
    path = [run[0]]
    for _ in range(len(run) - 1):
        base = path[-1]
        path.append(order[base][used[base]])
        used[base] += 1
    return path


def _last_edges(
    followers: dict[int, list[int]], last: int, random: np.random.Generator
) -> dict[int, int]:
    """Number of the edge that each base, but the last of the sequence, uses last."""
    bases = [base for base in followers if base != last]
    while True:
        final = {base: int(random.integers(len(followers[base]))) for base in bases}
        ends = {base: followers[base][edge] for base, edge in final.items()}
        if all(_leads_to(base, last, ends) for base in bases):
            return final


def _leads_to(base: int, last: int, ends: dict[int, int]) -> bool:
    """Whether the chosen edges lead from a base to the last of the sequence."""
    for _ in range(len(ends)):
        base = ends[base]
        if base == last:
            return True
    return False
