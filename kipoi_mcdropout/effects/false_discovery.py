"""q-values: p-values adjusted for the number of tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def benjamini_hochberg(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """q-values that control the false discovery rate; NaN stays NaN and does not count as a test.

    Benjamini and Hochberg, "Controlling the false discovery rate" (1995): the smallest level at which
    each test is rejected by the step-up procedure. Valid for p-values that are independent or positively
    dependent.

    Parameters
    ----------
    p : numpy.ndarray of float64, shape=(n,)

    Returns
    -------
    numpy.ndarray of float64, shape=(n,)

    Raises
    ------
    ValueError
        If a p-value is not between 0 and 1.

    >>> benjamini_hochberg(np.array([0.01, 0.04, np.nan, 0.03])).round(9).tolist()
    [0.03, 0.04, nan, 0.04]
    """
    from scipy.stats import false_discovery_control  # a second of imports, for q-values alone

    q = np.full(len(p), np.nan)
    valid = np.isfinite(p)
    if valid.any():
        q[valid] = false_discovery_control(p[valid])
    return q
