"""Calibrated probability of an event that becomes more likely with a score: Venn-Abers prediction.

Here the event is that the predicted sign is that of the measurement, and the score is |effect| / spread.
Isotonic regression finds the rising step function that fits best, but at the ends it says 0 or 1 too
easily. Venn-Abers prediction (Vovk, Petej and Fedorova 2015) does it twice for each new score: once as
if the event came there, once as if it did not. The two results enclose the probability, and lie far
apart where the calibration has few effects.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kipoi_mcdropout.arrays.array_types import FloatArray

MAX_KNOTS = 100


@dataclass(frozen=True, eq=False)
class VennAbers:
    """Probability of the event as a function of the score.

    Between two knots (scores of the calibration) the probability does not change. Where the calibration
    has more than `MAX_KNOTS` different scores, neighbours are joined first, so that each knot stands for
    about equally many.

    Attributes
    ----------
    knots : numpy.ndarray, shape=(k,)
        Rising.
    lower, upper : numpy.ndarray, shape=(2 k + 1,)
        Probability as if the event did not come, and as if it came: below the first knot, at it,
        between it and the second, ..., above the last.
    """

    knots: FloatArray
    lower: FloatArray
    upper: FloatArray

    @classmethod
    def of(cls, scores: ArrayLike, event: ArrayLike) -> VennAbers:
        """From the scores of a calibration and what came: 1, 0, or 0.5 for neither; n >= 1."""
        knots, share, weight = _joined(np.asarray(scores, float), np.asarray(event, float))
        places = range(2 * len(knots) + 1)
        lower, upper = (
            np.array([_fitted_at(share, weight, place, came) for place in places]) for came in (0, 1)
        )
        return cls(knots, lower, upper)

    def bounds(self, scores: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Probabilities as if the event did not come, and as if it came."""
        scores = np.asarray(scores, np.float64)
        below = np.searchsorted(self.knots, scores, side="left")
        place: NDArray[np.int64] = below + np.searchsorted(self.knots, scores, side="right")
        missing = np.isnan(scores)
        return (
            np.where(missing, np.nan, self.lower[place]),
            np.where(missing, np.nan, self.upper[place]),
        )

    def probability(self, scores: ArrayLike) -> FloatArray:
        """One probability: the merger of both that has the least log loss at worst (the same paper)."""
        lower, upper = self.bounds(scores)
        merged: FloatArray = upper / (1 - lower + upper)
        return merged


def _joined(scores: FloatArray, event: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Knots with the share of events and the number of scores at each."""
    knots, inverse = np.unique(scores, return_inverse=True)
    if len(knots) > MAX_KNOTS:
        n_below = np.r_[0, np.cumsum(np.bincount(inverse))[:-1]]  # equal scores stay together
        _, bin_of_knot = np.unique(n_below * MAX_KNOTS // len(scores), return_inverse=True)
        inverse = bin_of_knot[inverse]
        knots = np.bincount(inverse, scores) / np.bincount(inverse)
    weight = np.bincount(inverse).astype(np.float64)
    return knots, np.bincount(inverse, event) / weight, weight


def _fitted_at(share: FloatArray, weight: FloatArray, place: int, came: int) -> float:
    """Isotonic regression with one more effect at a place (see `VennAbers.lower`): its value there."""
    at = place // 2
    if place % 2:  # on a knot
        total = weight.copy()
        total[at] += 1
        mean = share.copy()
        mean[at] += (came - share[at]) / total[at]
    else:
        mean, total = np.insert(share, at, came), np.insert(weight, at, 1.0)
    from scipy.optimize import isotonic_regression

    return float(isotonic_regression(mean, weights=total).x[at])
