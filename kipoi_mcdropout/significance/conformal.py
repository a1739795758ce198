"""Half-widths of intervals that hold a stated share of measurements: split conformal prediction.

Each measured effect of the calibration has a score, |measured - predicted| / spread. The half-width of a
95 % interval, in units of the spread, is the smallest score that is at least as large as 95 % of the
scores, where the new variant counts as one more: of n scores the one of rank ceil(0.95 (n + 1)). If new
variants and those of the calibration are exchangeable (any order of them is equally likely), the
interval holds the measurement of a new variant with a probability of at least 0.95, whatever the
distribution of the errors (Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005;
Papadopoulos et al. 2002 for errors divided by a spread).

That holds on average over all variants. To make it hold for small and for large effects apart, variants
are divided into groups by |predicted effect|, each with its own scores ("Mondrian": Vovk et al. 2003).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.errors import InputError, InputWarning

# Levels for which half-widths are kept.
LEVELS = (*(round(0.01 * i, 2) for i in range(1, 100)), 0.995, 0.999)
# Ends of the groups by default, as shares of the effects: few of all substitutions have large effects.
GROUP_ENDS = (0.5, 0.75, 0.9, 0.97)
MIN_GROUP = 100  # by default: the coverage of 95 % intervals by 100 effects varies by 2 %


def rank_of(level: float, n: int) -> int:
    """Rank, from 1, of the score among n that bounds an interval of a level; n + 1 if none does."""
    return math.ceil(round(level * (n + 1), 9))  # 0.95 * 20 is 19, also in floating point


def effects_needed(level: float) -> int:
    """Smallest number of effects that gives a finite interval of a level.

    >>> effects_needed(0.95)
    19
    """
    n = max(1, math.floor(level / (1 - level)) - 1)
    while rank_of(level, n) > n:
        n += 1
    return n


def half_widths(scores: ArrayLike, levels: Sequence[float]) -> list[float]:
    """Half-width, in units of the spread, at each level; infinite if the scores are too few for it."""
    ordered = np.sort(np.asarray(scores, np.float64))
    ranks = [rank_of(level, len(ordered)) for level in levels]
    return [float(ordered[rank - 1]) if rank <= len(ordered) else math.inf for rank in ranks]


@dataclass(frozen=True, eq=False)
class ConformalGroups:
    """Half-widths of intervals for groups of variants by |predicted effect|.

    Attributes
    ----------
    edges : tuple of float
        Ends of the groups, rising, from 0 to infinity; a group includes its lower end.
    n : tuple of int
        Effects of the calibration in each group.
    levels : tuple of float
    half_widths : numpy.ndarray of float64, shape=(groups, levels)
        In units of the spread; infinite where a group has too few effects for a level.
    """

    edges: tuple[float, ...]
    n: tuple[int, ...]
    levels: tuple[float, ...]
    half_widths: FloatArray

    @classmethod
    def of(cls, size: FloatArray, scores: FloatArray, edges: Sequence[float]) -> ConformalGroups:
        """From the effects of a calibration.

        Parameters
        ----------
        size : numpy.ndarray, shape=(n,)
            |predicted effect|.
        scores : numpy.ndarray, shape=(n,)
            |measured - predicted| / spread.
        edges : sequence of float
            See `ConformalGroups.edges`.
        """
        group = group_of(size, edges)
        parts = [scores[group == number] for number in range(len(edges) - 1)]
        widths = np.array([half_widths(part, LEVELS) for part in parts])
        return cls(tuple(map(float, edges)), tuple(map(len, parts)), LEVELS, widths)

    def at(self, size: ArrayLike, level: float) -> FloatArray:
        """Half-width in units of the spread for |predicted effects|, of the same shape.

        Raises
        ------
        InputError
            If the level is not among `levels`, or a group has too few effects for it.
        """
        self.check_level(level)
        size = np.asarray(size, np.float64)
        widths = self.half_widths[:, self.levels.index(level)]
        return np.where(np.isnan(size), np.nan, widths[group_of(size, self.edges)])

    def check_level(self, level: float) -> None:
        """Raise InputError unless every group gives a finite interval of this level."""
        if level not in self.levels:
            raise InputError(
                "level must be one of the calibration's: 0.01, 0.02, ... 0.99, 0.995, 0.999; got "
                f"{level:g}"
            )
        least = min(self.n)
        if least < effects_needed(level):
            where = describe_group(self.edges, self.n.index(least))
            fitting = [one for one in self.levels if effects_needed(one) <= least]
            raise InputError(
                f"level {level:g} needs at least {effects_needed(level)} effects in each group of the "
                f"calibration; that with {where} has {least}, so its intervals would be infinite. Ask "
                f"for a level of at most {max(fitting, default=0):g}, or calibrate with more effects or "
                "fewer bins"
            )


def group_of(size: FloatArray, edges: Sequence[float]) -> NDArray[np.int64]:
    """Number of the group, from 0, of each |predicted effect|; a NaN gets the last."""
    found = np.searchsorted(np.asarray(edges), size, side="right") - 1
    groups: NDArray[np.int64] = np.clip(found, 0, len(edges) - 2).astype(np.int64)
    return groups


def describe_group(edges: Sequence[float], number: int) -> str:
    """A group in words."""
    low, high = edges[number], edges[number + 1]
    if math.isinf(high):
        return f"|effect| of {low:.3g} or more" if low else "all effects"
    return f"|effect| from {low:.3g} to {high:.3g}" if low else f"|effect| below {high:.3g}"


def default_edges(size: FloatArray) -> tuple[float, ...]:
    """Groups that end at `GROUP_ENDS` of the effects; each has at least `MIN_GROUP`, or all effects."""
    ends = np.unique(np.quantile(size, GROUP_ENDS))
    edges = (0.0, *(float(end) for end in ends if end > 0), math.inf)
    return merged(size, edges, MIN_GROUP)[0]


def chosen_edges(size: FloatArray, bins: Sequence[float], level: float) -> tuple[float, ...]:
    """Groups that end where the user says; those with too few effects for the level are merged.

    Raises
    ------
    InputError
        If `bins` are not positive and rising.

    Warns
    -----
    InputWarning
        Where groups are merged, by name.
    """
    if not all(math.isfinite(end) and end > 0 for end in bins) or sorted(set(bins)) != list(bins):
        raise InputError(f"bins must be positive and rising; got {', '.join(map(str, bins))}")
    edges, gone = merged(size, (0.0, *bins, math.inf), effects_needed(level))
    if gone:
        warnings.warn(
            f"merged_groups: level {level:g} needs {effects_needed(level)} effects in each group; "
            f"groups are merged over the bins {', '.join(f'{end:g}' for end in gone)}",
            InputWarning,
            stacklevel=2,
        )
    return edges


def merged(
    size: FloatArray, edges: Sequence[float], least: int
) -> tuple[tuple[float, ...], list[float]]:
    """Merge each group with fewer than `least` effects into the smaller of its neighbours.

    Returns
    -------
    tuple
        The edges that are left, and those that are gone.
    """
    left, gone = list(edges), []
    while len(left) > 2:
        n = np.bincount(group_of(size, left), minlength=len(left) - 1)
        small = int(np.argmin(n))
        if n[small] >= least:
            break
        sides = [i for i in (small, small + 1) if 0 < i < len(left) - 1]  # edges inside
        edge = min(sides, key=lambda i: n[i - 1] if i == small else n[i])
        gone.append(left.pop(edge))
    return tuple(left), sorted(gone)
