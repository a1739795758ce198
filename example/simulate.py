"""Random sequences with planted motif instances.

All randomness comes from the ``RandomState`` that is passed in: of numpy's generators it is the
one whose numbers for a seed are promised never to change, and the genome's checksum relies on it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from motifs import FACTORS, probabilities
from truth import UNKNOWN

GC_CLASSES = (0.36, 0.42, 0.50, 0.58)
CPG_DEPLETION = 0.25  # observed over expected CpG, as in the bulk of mammalian genomes
WEAKENED_SHARE = 0.4  # of planted instances that get one random base
N_SITES_PROBABILITY = (0.5, 0.4, 0.1)  # none, one, two of each factor
UNKNOWN_SHARE = 0.05  # of training sequences that begin or end in N


def base_chain(gc: float) -> tuple[np.ndarray, np.ndarray]:
    """First-order Markov chain of a GC content, with CpG depleted.

    Parameters
    ----------
    gc : float
        Share of G and C before depletion, in (0, 1).

    Returns
    -------
    first : numpy.ndarray, shape=(4,)
        Cumulative probabilities of the first base.
    following : numpy.ndarray, shape=(4, 4)
        Cumulative probabilities of the next base, a row for each previous base.
    """
    composition = np.array([(1 - gc) / 2, gc / 2, gc / 2, (1 - gc) / 2])
    transition = np.tile(composition, (4, 1))
    lost = transition[1, 2] * (1 - CPG_DEPLETION)
    transition[1, 2] -= lost
    transition[1, [0, 3]] += lost / 2  # CpG decays to TpG and CpA
    return np.cumsum(composition), np.cumsum(transition, axis=1)


def background(random: np.random.RandomState, n_sequences: int, length: int) -> np.ndarray:
    """Sequences without planted sites, each of a GC class drawn at random.

    Returns
    -------
    numpy.ndarray, shape=(n_sequences, length), dtype=int8
        Codes 0 to 3.
    """
    chains = [base_chain(gc) for gc in GC_CLASSES]
    first = np.stack([chain[0] for chain in chains])
    following = np.stack([chain[1] for chain in chains])
    gc_class = random.randint(len(GC_CLASSES), size=n_sequences)
    uniform = random.random_sample((length, n_sequences))
    codes = np.empty((length, n_sequences), dtype=np.int8)
    codes[0] = (uniform[0][:, None] > first[gc_class][:, :3]).sum(axis=1)
    for position in range(1, length):
        cumulative = following[gc_class, codes[position - 1]][:, :3]
        codes[position] = (uniform[position][:, None] > cumulative).sum(axis=1)
    return np.ascontiguousarray(codes.T)


def motif_instances(
    random: np.random.RandomState,
    factor: str,
    n_instances: int,
    weakened_share: float = WEAKENED_SHARE,
) -> np.ndarray:
    """Motif instances drawn from the matrix, on a random strand, some weakened by one base.

    Returns
    -------
    numpy.ndarray, shape=(n_instances, width), dtype=int8
        Codes 0 to 3.
    """
    cumulative = np.cumsum(probabilities(factor), axis=1)[:, :3]
    width = len(cumulative)
    uniform = random.random_sample((n_instances, width))
    codes = (uniform[:, :, None] > cumulative).sum(axis=2).astype(np.int8)
    weakened = np.flatnonzero(random.random_sample(n_instances) < weakened_share)
    codes[weakened, random.randint(width, size=len(weakened))] = random.randint(4, size=len(weakened))
    reverse = random.random_sample(n_instances) < 0.5
    codes[reverse] = 3 - codes[reverse][:, ::-1]
    return codes


def plant(
    random: np.random.RandomState,
    codes: np.ndarray,
    factor: str,
    n_sites_probability: Sequence[float] = N_SITES_PROBABILITY,
) -> None:
    """Write instances of a factor into each sequence, anywhere and on either strand, in place.

    Parameters
    ----------
    codes : numpy.ndarray, shape=(n_sequences, length), dtype=int8
    n_sites_probability : sequence of float
        Entry ``i`` is the probability that a sequence gets ``i`` instances.
    """
    cumulative = np.cumsum(n_sites_probability)[:-1]
    n_sites = np.searchsorted(cumulative, random.random_sample(len(codes)), side="right")
    for site in range(1, len(n_sites_probability)):
        rows = np.flatnonzero(n_sites >= site)
        instances = motif_instances(random, factor, len(rows))
        width = instances.shape[1]
        starts = random.randint(codes.shape[1] - width + 1, size=len(rows))
        codes[rows[:, None], starts[:, None] + np.arange(width)] = instances


def training_sequences(
    random: np.random.RandomState,
    n_sequences: int,
    length: int,
    n_sites_probability: Sequence[float] = N_SITES_PROBABILITY,
) -> np.ndarray:
    """Sequences to learn from: sites of every factor, independently, and some ends of N.

    Returns
    -------
    numpy.ndarray, shape=(n_sequences, length), dtype=int8
        Codes 0 to 4.
    """
    codes = background(random, n_sequences, length)
    for factor in FACTORS:
        plant(random, codes, factor, n_sites_probability)
    for row in np.flatnonzero(random.random_sample(n_sequences) < UNKNOWN_SHARE):
        # Windows that hang over a contig's end, as the dataloader pads them.
        n_unknown = random.randint(1, length // 2)
        if random.randint(2):
            codes[row, :n_unknown] = UNKNOWN
        else:
            codes[row, length - n_unknown :] = UNKNOWN
    return codes
