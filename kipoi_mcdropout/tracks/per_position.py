"""From the substitutions of a window to one number for each position."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kipoi_mcdropout.effects.by_position import by_position
from kipoi_mcdropout.effects.z import z_of_piece
from kipoi_mcdropout.errors import InputError

# What each track shows; words for messages and the docs.
TRACKS = {
    "effect": "effect of the strongest substitution at the position: mean over the draws",
    "sd": "sd over the draws of that effect",
    "z": "that effect divided by its sd",
    "importance": "minus the mean effect of the alternatives at the position",
}
POINT = np.dtype(
    [
        ("contig", np.int32), ("position", np.int64), ("distance", np.int64), ("window", np.int64),
        *((name, np.float32) for name in TRACKS),
    ]
)  # fmt: skip

Points = NDArray[Any]  # of the type POINT


def per_position(rows: pd.DataFrame, effect: str, name: str) -> tuple[Points, int]:
    """One point for each mutated position of a window.

    The strongest substitution of a position and its importance are those of `effects.by_position`.
    `effect`, `sd` and `z` are all of this one, so each is a number of the result. Where the sd is 0 or
    only rounding there is no z: NaN. A position at which an effect is not finite has no point.

    Parameters
    ----------
    rows : DataFrame
        The substitutions of one sequence, for one output and score, with `pos` (1-based).
    effect : str
        Column with the effect: effect_mean, or effect_point where there are no draws.
    name : str
        Of the result, for messages.

    Returns
    -------
    points : numpy.ndarray of POINT
        By position, 0-based. `distance` is twice that from the middle of the mutated positions;
        `contig` and `window` are 0.
    n_undefined : int
        Positions at which an effect is not finite.

    Raises
    ------
    InputError
        If positions have different numbers of substitutions.
    """
    position = rows["pos"].to_numpy(np.int64) - 1
    value = rows[effect].to_numpy(np.float64)
    strongest, importance, counts = by_position(position, value)
    _check_counts(counts, rows.iloc[strongest], name)
    points = np.zeros(len(strongest), POINT)
    points["position"] = position[strongest]
    points["distance"] = np.abs(2 * points["position"] - (position.min() + position.max()))
    points["effect"] = value[strongest]
    points["importance"] = importance
    if effect == "effect_mean":
        points["sd"] = rows["effect_sd"].to_numpy(np.float64)[strongest]
        z = z_of_piece(rows.iloc[strongest])
        points["z"] = np.where(np.isfinite(z), z, np.nan)
    defined = np.isfinite(points["importance"])
    return points[defined], int((~defined).sum())


def _check_counts(counts: NDArray[np.int64], rows: pd.DataFrame, name: str) -> None:
    if (counts == counts.max()).all():
        return
    odd = int(np.argmin(counts))
    row = rows.iloc[odd]
    raise InputError(
        f"position {row['position']} of sequence {row['name']} of {name} has {counts[odd]} "
        f"substitutions, others have {counts.max()}: rows were removed, or are double. Give the whole "
        "result"
    )


def nearest_window(points: Points) -> tuple[Points, int]:
    """One point for each position of the genome, where windows overlap.

    The window wins in whose middle the position lies nearest, as the model sees most of its surroundings
    there; of equals the one that comes first in the result.

    Returns
    -------
    points : numpy.ndarray of POINT
        Sorted by contig and position.
    n_shared : int
        Positions that lie in more than one window.
    """
    keys = (points["window"], points["distance"], points["position"], points["contig"])
    ordered = points[np.lexsort(keys)]
    is_first = np.zeros(len(ordered), bool)
    for key in ("contig", "position"):
        is_first[1:] |= ordered[key][1:] != ordered[key][:-1]
    is_first[:1] = True
    kept = np.flatnonzero(is_first)
    n_shared = int((np.diff(kept, append=len(ordered)) > 1).sum())
    return ordered[kept], n_shared
