"""When a mutant needs no more draws: the rule of --until."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kipoi_mcdropout.effects.draws_enough import TOLERANCE, draws_for_sd
from kipoi_mcdropout.errors import InputError

# With the prediction with dropout off these are whole blocks of the incremental engine, of 16 draws.
_FIRST = 15
_ENOUGH_FOR_SD = draws_for_sd(TOLERANCE)


@dataclass(frozen=True)
class Until:
    """How exactly the mean effect of each mutant is to be known before its draws end.

    A mutant stops at the first of `checkpoints` at which, for every output and score,

        mcse <= share * max(|mean|, floor)

    where the floor is the threshold of the score, or the sd of the effect where no threshold is given.
    Mean, sd and mcse = sd / sqrt(n) are those over the n draws so far. With fewer draws than an sd needs
    (`draws_enough.draws_for_sd`, 24) it stops only where |mean| is below the threshold, and not where
    the effect was the same in all draws, as few draws do not show a rare effect. An effect that is NaN
    asks for no more draws: it stays NaN.

    The number of draws depends on the draws, so the statistics are slightly biased; docs/concepts.md and
    benchmarks/until.py say by how much. A rule of this kind, that stops when a mean is known to a given
    width, is that of Chow and Robbins, "On the asymptotic theory of fixed-width sequential confidence
    intervals for the mean" (1965).

    Parameters
    ----------
    share : float
        Above 0 and below 1. At 0, or infinity, no mutant stops before the most draws.
    thresholds : tuple of float, or empty
        The smallest effect that matters, for each score, in its units; above 0.
    """

    share: float
    thresholds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not (0 <= self.share < 1 or self.share == math.inf):
            raise InputError(
                "until must be a share above 0 and below 1, such as 0.15, or 0 (or inf) to give all "
                f"mutants the same number of draws; got {self.share}"
            )
        for threshold in self.thresholds:
            if not 0 < threshold < math.inf:
                raise InputError(
                    "threshold must be above 0: the smallest effect that matters, in the units of the "
                    f"score; got {threshold}"
                )

    @classmethod
    def of(
        cls, share: float | None, threshold: float | Sequence[float] | None, n_scores: int
    ) -> Until | None:
        """From the words of a user; None where no share is given.

        Raises
        ------
        InputError
            If there is a threshold alone, or not one for each score.
        """
        given = () if threshold is None else tuple(np.atleast_1d(threshold).tolist())
        if share is None:
            if given:
                raise InputError(
                    "threshold has a meaning with until alone; got threshold "
                    f"{', '.join(map(str, given))} and no until. Add until, such as --until 0.15"
                )
            return None
        if given and len(given) != n_scores:
            raise InputError(
                f"a threshold is required for each score, in their order, as scores have different "
                f"units; got {len(given)} for {n_scores} scores"
            )
        return cls(float(share), tuple(map(float, given)))

    def to_dict(self) -> dict[str, Any]:
        """For the record of a run, as plain values; nothing where no mutant stops early."""
        return {} if self.never else {"until": self.share, "threshold": list(self.thresholds)}

    @property
    def never(self) -> bool:
        """Whether no mutant stops early."""
        return self.share == 0 or self.share == math.inf

    def checkpoints(self, n_draws: int) -> tuple[int, ...]:
        """Numbers of draws at which a mutant may stop, and last the most, `n_draws`.

        >>> Until(0.15, (0.1,)).checkpoints(100), Until(0.15).checkpoints(100)
        ((15, 31, 63, 100), (31, 63, 100))
        """
        numbers, n = [], _FIRST
        while n < n_draws:
            if n >= _ENOUGH_FOR_SD or self.thresholds:
                numbers.append(n)
            n = 2 * n + 1
        return (*numbers, n_draws)

    def settled(self, mean: ArrayLike, sd: ArrayLike, n: int, score: int = 0) -> NDArray[np.bool_]:
        """Which effects need no more than the n draws that they have.

        Parameters
        ----------
        mean, sd : array
            Of the effects over the n draws (sd with ddof=1), of one shape.
        n : int
        score : int
            Number of the score, from 0.
        """
        mean, sd = np.asarray(mean, np.float64), np.asarray(sd, np.float64)
        size, floor = np.abs(mean), self.thresholds[score] if self.thresholds else sd
        more: NDArray[np.bool_] = sd / math.sqrt(n) > self.share * np.maximum(size, floor)
        if n < _ENOUGH_FOR_SD:
            more = more | (size >= floor) | (sd == 0)
        return ~more


def check_until(
    until: Until | None, n_draws: int, keeps_draws: bool = False, n_members: int = 1
) -> None:
    """Refuse what cannot be done where mutants have different numbers of draws.

    Raises
    ------
    InputError
        If the most draws are too few for any mutant to stop early; if all draws or their quantiles are
        to be kept; if the model has several members.
    """
    if until is None or until.never:
        return
    if keeps_draws:
        raise InputError(
            "keep_draws and quantiles need the same draws of every mutant, and with until mutants have "
            "different numbers of them. Leave out until, or keep_draws and quantiles"
        )
    if n_members > 1:
        raise InputError(
            f"until needs a model with one member; this one has {n_members}. The error of a mean over "
            "members comes largely from their differences, which more draws do not lessen. Leave out "
            "until, and choose n_draws"
        )
    first = until.checkpoints(n_draws)[0]
    if first == n_draws:
        least = until.checkpoints(10**6)[0]
        how = "" if until.thresholds else " without threshold"
        raise InputError(
            f"until{how} looks first after {least} draws, so "
            f"n_draws, which is the most that a mutant gets, must be above {least}; got {n_draws}"
        )
