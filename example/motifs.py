"""The three transcription factor motifs that the simulation plants.

Position frequency matrices of JASPAR 2024 CORE (https://jaspar.elixir.no), CC BY 4.0
(https://creativecommons.org/licenses/by/4.0/): Rauluseviciute et al., "JASPAR 2024: 20th
anniversary of the open-access database of transcription factor binding profiles",
Nucleic Acids Research 52, D174-D182 (2024). The counts are unchanged; dividing them by their
column sums, the pseudocount and the log-odds are ours.
"""

from __future__ import annotations

import numpy as np

BASES = "ACGT"
PSEUDOCOUNT = 0.01
BACKGROUND = 0.25

_COUNTS: dict[str, list[list[int]]] = {
    # MA0047.4
    "FOXA2": [
        [93740, 18770, 3737, 243805, 223061, 248214, 2411, 246665],
        [12432, 2928, 2037, 9424, 22429, 3329, 196969, 3086],
        [38538, 236311, 1890, 2641, 6484, 2805, 3603, 2984],
        [117443, 4144, 254489, 6283, 10179, 7805, 59170, 9418],
    ],
    # MA0114.5
    "HNF4A": [
        [1468, 43321, 40217, 43264, 716, 927, 2770, 1363, 36654],
        [41443, 1257, 1370, 544, 916, 695, 37804, 42341, 2782],
        [1237, 1061, 3615, 1897, 43528, 2184, 1826, 643, 2936],
        [2356, 865, 1302, 799, 1344, 42698, 4104, 2157, 4132],
    ],
    # MA0466.4
    "CEBPB": [
        [8993, 1, 0, 1855, 0, 101, 185, 11810, 11810, 2],
        [738, 2, 0, 1, 11810, 8, 10010, 81, 1, 2844],
        [2817, 0, 79, 9955, 2, 11810, 3, 0, 0, 737],
        [7, 11810, 11810, 182, 110, 0, 1800, 0, 0, 8966],
    ],
}

FACTORS = tuple(_COUNTS)


def probabilities(factor: str) -> np.ndarray:
    """Base probabilities of a motif.

    Parameters
    ----------
    factor : str
        One of ``FACTORS``.

    Returns
    -------
    numpy.ndarray, shape=(width, 4), dtype=float64
        Rows are motif positions, columns A, C, G, T; rows sum to 1. Each base has
        ``PSEUDOCOUNT`` added before normalising, so none is impossible.
    """
    counts = np.asarray(_COUNTS[factor], dtype=np.float64).T
    smoothed = counts / counts.sum(axis=1, keepdims=True) + PSEUDOCOUNT
    return smoothed / smoothed.sum(axis=1, keepdims=True)


def log_odds(factor: str) -> np.ndarray:
    """Log-odds of a motif against a uniform background.

    Returns
    -------
    numpy.ndarray, shape=(width, 4), dtype=float64
        ``log2(probability / 0.25)``, in bits.
    """
    return np.log2(probabilities(factor) / BACKGROUND)
