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

Resample = Literal["draws", "instruments", "both"]
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
    Standard errors are only used as weights and do not change. With several members these are resampled
    first, then the draws within each of them.
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
        if resample != "draws":
            rows = rng.integers(n, size=(size, n))
        yield (
            np.take_along_axis(share @ x, rows, axis=1),
            np.take_along_axis(share @ y, rows, axis=1),
            instruments.se_exposure[rows],
            instruments.se_outcome[rows],
        )


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


def check_bootstrap(n_bootstrap: int, seed: int) -> None:
    """Raise InputError unless there are at least 2 replicates and the seed is not negative."""
    if n_bootstrap < 2:
        raise InputError(f"n_bootstrap must be at least 2; got {n_bootstrap}.")
    if seed < 0:
        raise InputError(f"seed must not be negative; got {seed}.")
