"""q-values of p-values that come piece by piece and have few distinct values."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.arrays.array_types import FloatArray

_AT_ONCE = 2**16  # values that wait to be counted


class StreamedQ:
    """The q-values of `false_discovery.benjamini_hochberg`, from the count of each distinct p.

    A p against a background of n effects has at most n + 1 values, so that memory does not grow with the
    number of tests. First `add` all of them, then ask `of`.
    """

    def __init__(self) -> None:
        self._p: NDArray[Any] = np.empty(0)
        self._counts = np.empty(0, np.int64)
        self._waiting: list[NDArray[Any]] = []
        self._n_waiting = 0
        self._q: FloatArray | None = None

    def add(self, p: NDArray[Any]) -> None:
        """Some p-values; NaN is no test."""
        self._waiting.append(p[np.isfinite(p)])
        self._n_waiting += len(self._waiting[-1])
        if self._n_waiting > _AT_ONCE:
            self._count()

    def of(self, p: NDArray[Any]) -> FloatArray:
        """The q of p-values that were added, NaN where p is."""
        if self._q is None:
            self._count()
            ranks = np.cumsum(self._counts)
            total = ranks[-1] if len(ranks) else 0
            steps = np.minimum(1.0, self._p.astype(np.float64) * total / ranks)
            self._q = np.minimum.accumulate(steps[::-1])[::-1]
        q = np.full(p.shape, np.nan)
        known = np.isfinite(p)
        q[known] = self._q[np.searchsorted(self._p, p[known])]
        return q

    def _count(self) -> None:
        """Count what waits."""
        p, counts = np.unique(np.concatenate([*self._waiting]), return_counts=True)
        self._p, where = np.unique(np.concatenate([self._p, p]), return_inverse=True)
        counts = np.concatenate([self._counts, counts])
        self._counts = np.bincount(where, counts, len(self._p)).astype(np.int64)
        self._waiting, self._n_waiting = [], 0


class StreamedQs:
    """A `StreamedQ` for each output and score."""

    def __init__(self) -> None:
        self._of: dict[Hashable, StreamedQ] = {}

    def add(self, key: Hashable, p: NDArray[Any]) -> None:
        """Some p-values of an output and score."""
        self._of.setdefault(key, StreamedQ()).add(p)

    def q(self, key: Hashable, p: NDArray[Any]) -> FloatArray:
        """Their q-values, once all were added."""
        return self._of[key].of(p)
