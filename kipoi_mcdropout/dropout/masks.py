"""Dropout masks and random numbers as a pure function of (seed, draw, site, scope).

Each mask has its own Philox stream: the seed is the key, and draw, site and scope are words of the
counter. So two masks never share random numbers, and a mask does not depend on earlier masks, on the
batch size, the device, or the number of workers. numpy guarantees the raw stream of Philox
(https://numpy.org/doc/stable/reference/random/compatibility.html).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.errors import InputError

_STREAM_TAG = (
    0x6B69706F69_6D6364  # second key word, "kipoimcd": keeps apart from other users of the seed
)
_UINT64_MAX = 2**64 - 1
RUN_SCOPE = 0  # scope of masks that all sequences of a run share


def check_seed(seed: int) -> int:
    """Return `seed` as a Python int; raise InputError unless it is an integer in [0, 2**64)."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise InputError(f"seed must be an integer; got {seed!r} of type {type(seed).__name__}")
    if not 0 <= int(seed) <= _UINT64_MAX:
        raise InputError(f"seed must satisfy 0 <= seed < 2**64; got {seed}")
    return int(seed)


def check_n_draws(n_draws: int) -> int:
    """Return `n_draws` as a Python int; raise InputError unless it is 0, or an integer from 2 on."""
    if isinstance(n_draws, bool) or not isinstance(n_draws, (int, np.integer)):
        raise InputError(f"n_draws must be an integer; got {n_draws!r}")
    if n_draws < 0 or n_draws == 1:
        raise InputError(
            "n_draws must be at least 2, because one draw has no variance, or 0 for effects with "
            f"dropout off; got {n_draws}"
        )
    return int(n_draws)


def keep_mask(
    seed: int, draw: int, site: int, shape: Sequence[int], p: float, scope: int = RUN_SCOPE
) -> NDArray[np.bool_]:
    """Which elements a dropout keeps: each with probability 1 - p, independently.

    Parameters
    ----------
    seed : int
        0 <= seed < 2**64.
    draw : int
        Number of the draw, from 0.
    site : int
        Number of the dropout call in the model's forward pass, from 0.
    shape : sequence of int
        Shape of the mask.
    p : float
        Probability of dropping an element, 0 <= p < 1; resolved to 2**-32.
    scope : int
        0 for masks shared by the whole run, else a number of the sequence (`sequence_scope`).

    Returns
    -------
    numpy.ndarray, dtype bool, shape=shape
        True where the element is kept.
    """
    if not 0.0 <= p < 1.0:
        raise InputError(f"dropout probability must satisfy 0 <= p < 1; got {p}")
    keep: NDArray[np.bool_] = _words(seed, draw, site, shape, scope) >= np.uint64(round(p * 2**32))
    return keep


def uniform_numbers(
    seed: int, draw: int, site: int, shape: Sequence[int], bits: int = 32, scope: int = RUN_SCOPE
) -> NDArray[np.float64]:
    """Random numbers with a uniform distribution: 0 <= number < 1, in steps of 2**-bits.

    The arguments are those of `keep_mask`. `bits` is at most 32; in a type with as many digits no number
    is rounded up to 1.
    """
    words = _words(seed, draw, site, shape, scope) >> np.uint32(32 - bits)
    numbers: NDArray[np.float64] = words * 2.0**-bits
    return numbers


def normal_numbers(
    seed: int, draw: int, site: int, shape: Sequence[int], scope: int = RUN_SCOPE
) -> NDArray[np.float64]:
    """Random numbers with a normal distribution of mean 0 and variance 1; the largest are +-6.3.

    They are quantiles: of the probabilities (k + 1/2) 2**-32, where k is a random word. numpy's own
    normal numbers may change between its versions.
    """
    import torch  # only here: masks alone need no torch

    probability = (_words(seed, draw, site, shape, scope) + 0.5) * 2.0**-32
    numbers: NDArray[np.float64] = torch.special.ndtri(torch.from_numpy(probability)).numpy()
    return numbers


def _words(seed: int, draw: int, site: int, shape: Sequence[int], scope: int) -> NDArray[np.uint32]:
    """Random 32-bit words of a site."""
    size = math.prod(shape)
    # As uint64: numpy reads a list with a number from 2**63 on as float64, which rounds it.
    key = np.array([seed, _STREAM_TAG], dtype=np.uint64)
    counter = np.array([0, site, draw, scope], dtype=np.uint64)
    stream = np.random.Philox(key=key, counter=counter)
    words = stream.random_raw((size + 1) // 2)
    # Two elements a word, low half first; explicit byte order so that every machine agrees.
    return np.asarray(words, dtype="<u8").view("<u4")[:size].reshape(tuple(shape))
