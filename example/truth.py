"""The planted truth: what each output is for any sequence, computed from the sequence alone.

A factor's occupancy is a sum of one logistic term a motif position,

    n_X = sum over positions of sigmoid((score - THRESHOLD_BITS[X]) / SOFTNESS_BITS),

where ``score`` is the better of the two strands' log-odds. On the logit scale then

    HNF4A = base + SITE * n_HNF4A
    CEBPB = base + SITE * n_CEBPB
    FOXA2 = base + SITE * n_FOXA2 + HNF4A_TO_FOXA2 * n_HNF4A
    DNase = base + SLOPE * FOXA2 + CEBPB_TO_DNASE * n_CEBPB + HNF4A_TO_DNASE * n_HNF4A

so FOXA2 causes DNase with slope ``SLOPE``; HNF4A is the confounder, it raises both; CEBPB raises
DNase on a way of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from motifs import BASES, FACTORS, log_odds

OUTPUTS = ("FOXA2", "HNF4A", "CEBPB", "DNase")

SLOPE = 0.7
SITE = 2.0
HNF4A_TO_FOXA2 = 0.8
HNF4A_TO_DNASE = 0.8
CEBPB_TO_DNASE = 0.8
BASE = {"FOXA2": -2.0, "HNF4A": -2.0, "CEBPB": -2.0, "DNase": -0.8}
THRESHOLD_BITS = {"FOXA2": 10.0, "HNF4A": 11.0, "CEBPB": 12.0}
SOFTNESS_BITS = 0.8

UNKNOWN = len(BASES)
# A motif that overlaps an unknown base is not bound: far below every threshold, yet finite.
_UNKNOWN_BITS = -30.0
_CODE = np.full(256, UNKNOWN, dtype=np.int8)
for _index, _base in enumerate(BASES):
    _CODE[ord(_base)] = _CODE[ord(_base.lower())] = _index


def encode(sequence: str) -> np.ndarray:
    """Integer codes of a sequence.

    Returns
    -------
    numpy.ndarray, shape=(len(sequence),), dtype=int8
        A, C, G, T (either case) are 0 to 3, every other character is 4 (unknown).
    """
    return _CODE[np.frombuffer(sequence.encode("ascii"), dtype=np.uint8)]


def _strand_scores(codes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    padded = np.column_stack([matrix, np.full(len(matrix), _UNKNOWN_BITS)])
    n_positions = codes.shape[1] - len(matrix) + 1
    scores = np.zeros((len(codes), n_positions))
    for offset, row in enumerate(padded):
        scores += row[codes[:, offset : offset + n_positions]]
    return scores


def site_occupancy(codes: np.ndarray, factor: str) -> np.ndarray:
    """Occupancy of every motif position of a factor.

    Parameters
    ----------
    codes : numpy.ndarray, shape=(n_sequences, length), dtype=int8
        From :func:`encode`.
    factor : str
        One of ``motifs.FACTORS``.

    Returns
    -------
    numpy.ndarray, shape=(n_sequences, length - width + 1), dtype=float64
        In [0, 1]; position ``i`` is the motif that starts at base ``i`` (0-based) of the given
        strand, on whichever strand scores higher.
    """
    matrix = log_odds(factor)
    reverse = matrix[::-1, ::-1]
    scores = np.maximum(_strand_scores(codes, matrix), _strand_scores(codes, reverse))
    return 1.0 / (1.0 + np.exp((THRESHOLD_BITS[factor] - scores) / SOFTNESS_BITS))


def true_logits_of_codes(codes: np.ndarray) -> np.ndarray:
    """True logits of many sequences of one length.

    Parameters
    ----------
    codes : numpy.ndarray, shape=(n_sequences, length), dtype=int8
        From :func:`encode`; at least as long as the widest motif.

    Returns
    -------
    numpy.ndarray, shape=(n_sequences, 4), dtype=float64
        Columns as in ``OUTPUTS``.
    """
    sites = {factor: site_occupancy(codes, factor).sum(axis=1) for factor in FACTORS}
    hnf4a = BASE["HNF4A"] + SITE * sites["HNF4A"]
    cebpb = BASE["CEBPB"] + SITE * sites["CEBPB"]
    foxa2 = BASE["FOXA2"] + SITE * sites["FOXA2"] + HNF4A_TO_FOXA2 * sites["HNF4A"]
    dnase = (
        BASE["DNase"] + SLOPE * foxa2 + CEBPB_TO_DNASE * sites["CEBPB"] + HNF4A_TO_DNASE * sites["HNF4A"]
    )
    return np.column_stack([foxa2, hnf4a, cebpb, dnase])


def true_logits(sequence: str) -> dict[str, float]:
    """True logit of each output for one sequence.

    Parameters
    ----------
    sequence : str
        The window the model sees, either case, N allowed.

    Returns
    -------
    dict of str to float
        One entry for each of ``OUTPUTS``. The true probability is the sigmoid of it.
    """
    row = true_logits_of_codes(encode(sequence)[None, :])[0]
    return {name: float(value) for name, value in zip(OUTPUTS, row, strict=True)}


def true_effects(reference: str, mutants: Sequence[str]) -> np.ndarray:
    """True logit differences of mutants of one sequence.

    Mutants may differ in length from the reference.

    Returns
    -------
    numpy.ndarray, shape=(n_mutants, 4), dtype=float64
        ``logit(mutant) - logit(reference)``, columns as in ``OUTPUTS``.
    """
    before = true_logits_of_codes(encode(reference)[None, :])[0]
    after = [true_logits_of_codes(encode(mutant)[None, :])[0] for mutant in mutants]
    return np.asarray(after).reshape(len(mutants), len(OUTPUTS)) - before
