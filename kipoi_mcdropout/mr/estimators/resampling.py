"""Replicates of the effects, from their standard errors or from their draws."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr.pairs.instruments import Instruments

Resample = Literal["draws", "instruments", "both", "sequences"]
MAX_BLOCK_VALUES = 2_000_000  # per array held at once: 16 MB


def noise_blocks(n_bootstrap: int, shape: tuple[int, ...], seed: int) -> Iterator[FloatArray]:
    """Standard normal values, shape=(n_bootstrap, *shape), in blocks of replicates.

    The values do not depend on the size of the blocks.
    """
    check_bootstrap(n_bootstrap, seed)
    rng = np.random.default_rng(seed)
    block = max(1, MAX_BLOCK_VALUES // math.prod(shape))
    for start in range(0, n_bootstrap, block):
        yield rng.standard_normal((min(block, n_bootstrap - start), *shape))


def draw_replicates(
    instruments: Instruments, n_bootstrap: int, seed: int, resample: Resample
) -> Iterator[tuple[FloatArray, FloatArray, FloatArray, FloatArray]]:
    """Blocks of (bx, by, sx, sy), each shape=(block, n), from resampled draws and instruments.

    All instruments and both outputs of a replicate use the same draws, so their correlation is kept.
    Standard errors are only used as weights and do not change, but for "sequences": there whole
    sequences are resampled beside the draws, and sy is divided by the root of how often a mutant's
    sequence was taken, so that it gets that many times its weight. With several members these are
    resampled first, then the draws within each of them.
    """
    check_bootstrap(n_bootstrap, seed)
    x, y = instruments.draws_exposure, instruments.draws_outcome
    if x is None or y is None:
        raise InputError(
            "the bootstrap over draws requires the effects of each draw on both outputs; got only "
            "means and standard errors. Run ism with --keep_draws, and pass the draws with the "
            "instruments."
        )
    rng = np.random.default_rng(seed)
    n_draws, n = x.shape
    block = max(1, MAX_BLOCK_VALUES // max(n, n_draws))
    for start in range(0, n_bootstrap, block):
        size = min(block, n_bootstrap - start)
        share = np.full((size, n_draws), 1 / n_draws)
        if resample != "instruments":
            share = _times_drawn(rng, size, n_draws, instruments.n_members) / n_draws
        rows = np.broadcast_to(np.arange(n), (size, n))
        if resample in ("instruments", "both"):
            rows = rng.integers(n, size=(size, n))
        sy = instruments.se_outcome[rows]
        if resample == "sequences":
            with np.errstate(divide="ignore"):  # one that was not taken gets no weight
                sy = sy / np.sqrt(_times_of_sequences(rng, size, instruments))
        yield (
            np.take_along_axis(share @ x, rows, axis=1),
            np.take_along_axis(share @ y, rows, axis=1),
            instruments.se_exposure[rows],
            sy,
        )


def draw_shares(instruments: Instruments, n_bootstrap: int, seed: int) -> Iterator[FloatArray]:
    """Blocks of the share that each draw has in a replicate, shape=(block, n_draws)."""
    check_bootstrap(n_bootstrap, seed)
    rng = np.random.default_rng(seed)
    n_draws = instruments.n_draws or 0
    block = max(1, MAX_BLOCK_VALUES // max(len(instruments), n_draws))
    for start in range(0, n_bootstrap, block):
        size = min(block, n_bootstrap - start)
        yield _times_drawn(rng, size, n_draws, instruments.n_members) / n_draws


def _times_drawn(
    rng: np.random.Generator, size: int, n_draws: int, n_members: int
) -> NDArray[np.int64]:
    """How often each draw is taken, shape=(size, n_draws)."""
    if n_members == 1:
        return rng.multinomial(n_draws, np.full(n_draws, 1 / n_draws), size)
    each = n_draws // n_members
    times = np.empty((size, n_draws), np.int64)
    of_members = rng.multinomial(n_members, np.full(n_members, 1 / n_members), size)
    for member in range(n_members):  # one that is taken twice has twice as many draws
        taken = of_members[:, member] * each
        times[:, member::n_members] = rng.multinomial(taken, np.full(each, 1 / each))
    return times


def _times_of_sequences(
    rng: np.random.Generator, size: int, instruments: Instruments
) -> NDArray[np.int64]:
    """How often the sequence of each instrument is taken, shape=(size, n)."""
    if instruments.sequence is None:
        raise InputError("resampling of sequences requires the sequence of each instrument; got none.")
    _, number = np.unique(instruments.sequence.astype(str), return_inverse=True)
    n = int(number.max()) + 1
    if n < 2:
        raise InputError(
            "resampling of sequences requires at least 2 sequences; got 1. Use resample='both'."
        )
    return rng.multinomial(n, np.full(n, 1 / n), size)[:, number]


def check_bootstrap(n_bootstrap: int, seed: int) -> None:
    """Raise InputError unless there are at least 2 replicates and the seed is not negative."""
    if n_bootstrap < 2:
        raise InputError(f"n_bootstrap must be at least 2; got {n_bootstrap}.")
    if seed < 0:
        raise InputError(f"seed must not be negative; got {seed}.")
