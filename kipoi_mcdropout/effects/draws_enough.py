"""How many draws are enough: for the sd of effects, and for their mean. The one rule of the package."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kipoi_mcdropout.effects.z import z_values
from kipoi_mcdropout.errors import InputError

SHARE = 0.95  # of the mutants that the number of draws must be enough for
TOLERANCE = 0.15  # relative error of an sd, and of a mean, that is accepted: 24 draws or more
_FINER = (0.1, 0.05)  # what more draws would give
_NEEDED = ("effect_mean", "effect_sd", "n_draws")
_OF_MEMBERS = "effect_sd_between"  # a column that only runs with several members have
_SHOWN = 8  # names listed in an error


def sd_error(n_draws: int) -> float:
    """Relative standard error of an sd (ddof=1) over n normal draws, 1 / sqrt(2 (n - 1)).

    Source: the variance of a normal sample's variance is 2 sigma**4 / (n - 1); halved for its root.
    """
    return 1 / math.sqrt(2 * (n_draws - 1))


def sd_error_of_members(n_members: int, each: int, share: float) -> float:
    """The same of the total sd over `each` draws of each of several members.

    `share` is the part of the variance between the members. Source: the variances of the mean squares
    of the one-way layout with normal effects (see `nested_variance`), 2 MSB**2 / (M - 1) and
    2 MSW**2 / (M (R - 1)); halved for the root.
    """
    of_means = (share + (1 - share) / each) ** 2 / (n_members - 1)
    within = 0.0
    if each > 1:
        within = ((1 - 1 / each) * (1 - share)) ** 2 / (n_members * (each - 1))
    return math.sqrt((of_means + within) / 2)


def draws_for_sd(tolerance: float) -> int:
    """The least number of draws that make `sd_error` at most `tolerance`."""
    return math.ceil(1 + 1 / (2 * tolerance**2) - 1e-9)


@dataclass(frozen=True)
class DrawsEnough:
    """The precision of a run's number of draws, and how many draws are enough.

    Attributes
    ----------
    n_draws : int
        Of the run; the fewest of a mutant where they have different numbers (--until).
    n_mutants : int
        Mutants with |effect_mean| >= min_z effect_sd; the mean matters for these.
    mean_error : float
        Monte Carlo error of the mean, sd / sqrt(n_draws), as a share of the effect: at most this in
        95 % of those mutants; 0 if there are none.
    sd_error : float
        Relative standard error of every sd: `sd_error(n_draws)`. Where the mutants have different
        numbers of draws, at most this in 95 % of those that count for the mean, or of all if none does.
    for_mean, for_sd : int
        Draws that make these errors at most `tolerance`.
        With several members, those of the run if they are enough, else None: then more members help,
        and more draws of these only where the members hardly differ.
    tolerance, min_z : float
    n_members : int
        Trained networks that the draws are of.
    most_draws : int or None
        The most of a mutant, where they have different numbers.
    """

    n_draws: int
    n_mutants: int
    mean_error: float
    sd_error: float
    for_mean: int | None
    for_sd: int | None
    tolerance: float
    min_z: float
    n_members: int = 1
    most_draws: int | None = None

    @property
    def enough(self) -> bool:
        """Whether the run had enough draws for both."""
        if self.most_draws is not None:
            return max(self.mean_error, self.sd_error) <= self.tolerance
        if self.for_mean is None or self.for_sd is None:
            return False
        return self.n_draws >= max(self.for_mean, self.for_sd)

    def advice(self) -> str:
        """What to run where there are not enough draws, such as "--n_draws 24"."""
        if self.for_mean is None or self.for_sd is None:
            return "more members; more draws of these help only where the members hardly differ"
        if self.most_draws is not None:
            return "a smaller --until or --threshold, and more --n_draws"
        return f"--n_draws {max(self.for_mean, self.for_sd)}"

    def sentence(self) -> str:
        """The same in words, with what more draws would give."""
        mean = (
            f"the mean effect to {_percent(self.mean_error)} or better in {100 * SHARE:g} % of the "
            f"{self.n_mutants:,} mutants with |effect| of at least {self.min_z:g} sd"
            if self.n_mutants
            else f"no mutant has an |effect| of at least {self.min_z:g} sd, so the means need no more "
            "draws"
        )
        of_members = f" of {self.n_members} members" if self.n_members > 1 else ""
        draws, each = f"{self.n_draws}", "each sd"
        if self.most_draws is not None:
            draws, each = f"{self.n_draws} to {self.most_draws}", f"{100 * SHARE:g} % of the sds"
        found = f"{draws} draws{of_members} give {each} to {_percent(self.sd_error)}, and {mean}."
        if not self.enough:
            return f"{found} For {_percent(self.tolerance)} run with {self.advice()}."
        if self.n_members > 1 or self.most_draws is not None:
            return f"{found} That is enough for most uses."
        finer = [t for t in _FINER if t < self.sd_error]
        more = ", ".join(f"{draws_for_sd(t)} would give each sd to {_percent(t)}" for t in finer)
        return f"{found} That is enough for most uses{f'; {more}' if more else ''}."


def draws_enough(
    rows: pd.DataFrame, *, min_z: float = 2.0, tolerance: float = TOLERANCE
) -> DrawsEnough:
    """How many draws the mean and the sd of the effects need; needs only the table of effects.

    Parameters
    ----------
    rows : DataFrame
        Effects of one output and one score: `effect_mean`, `effect_sd`, `n_draws`. `output` and `score`
        are checked where they are there.
    min_z : float
        Mutants whose mean matters; also bounds `for_mean`, by 1 / (tolerance min_z)**2.
    tolerance : float
        Relative error that is accepted, between 0 and 1.

    Raises
    ------
    InputError
        If there are no rows, a column is missing, the rows are of several outputs or scores, or a
        parameter is out of range.
    """
    if not 0 < tolerance < 1:
        raise InputError(f"tolerance must lie between 0 and 1; got {tolerance}")
    if not min_z > 0:
        raise InputError(f"min_z must be above 0; got {min_z}")
    _check_rows(rows)
    z = np.abs(z_values(rows))
    if _OF_MEMBERS in rows:
        return _of_members(rows, z, tolerance, min_z)
    n_draws = rows["n_draws"].to_numpy(np.int64)
    is_clear = np.isfinite(z) & (z >= min_z)
    relative = 1 / z[is_clear]  # sd / |mean|
    fewest, most = int(n_draws.min()), int(n_draws.max())
    counted = n_draws[is_clear] if is_clear.any() else n_draws
    return DrawsEnough(
        n_draws=fewest,
        n_mutants=len(relative),
        mean_error=_bound(relative / np.sqrt(n_draws[is_clear])),
        sd_error=sd_error(fewest) if fewest == most else _bound((2 * (counted - 1)) ** -0.5),
        for_mean=math.ceil((_bound(relative) / tolerance) ** 2 - 1e-9),
        for_sd=draws_for_sd(tolerance),
        tolerance=tolerance,
        min_z=min_z,
        most_draws=most if most > fewest else None,
    )


def _bound(errors: NDArray[np.float64]) -> float:
    """What 95 % of the errors do not exceed; 0 if there are none."""
    return float(np.quantile(errors, SHARE)) if len(errors) else 0.0


def _of_members(
    rows: pd.DataFrame, z: NDArray[np.float64], tolerance: float, min_z: float
) -> DrawsEnough:
    """The same where draws are nested in members, whose differences more draws do not lessen."""
    n_draws = int(rows["n_draws"].iloc[0])
    sd, mcse = (rows[name].to_numpy(np.float64) for name in ("effect_sd", "effect_mcse"))
    within = rows["effect_sd_within"].to_numpy(np.float64)
    n_members = _number_of_members(sd**2, within**2, mcse**2, n_draws)
    varies = sd > 0
    share = np.median(np.clip(1 - (within / sd)[varies] ** 2, 0, 1)) if varies.any() else 1.0
    each = n_draws // n_members
    error = sd_error_of_members(n_members, each, 1.0 if each == 1 else float(share))
    clear = np.isfinite(z) & (np.abs(z) >= min_z)
    ratio = (mcse / np.abs(rows["effect_mean"].to_numpy(np.float64)))[clear]
    mean_error = _bound(ratio)
    return DrawsEnough(
        n_draws, int(clear.sum()), mean_error, error,
        n_draws if mean_error <= tolerance else None, n_draws if error <= tolerance else None,
        tolerance, min_z, n_members,
    )  # fmt: skip


def _number_of_members(
    total: NDArray[np.float64], within: NDArray[np.float64], of_mean: NDArray[np.float64], n_draws: int
) -> int:
    """M from the variances of a row: total - within = M (of_mean - within / n_draws).

    Of the row in which the members differ most, as the others lose digits.
    """
    within = np.where(np.isnan(within), 0.0, within)  # one draw of each: total = M of_mean
    known = np.isfinite(total) & np.isfinite(of_mean) & (total > 0)
    if not known.any():
        raise InputError("no effect varies over the draws, so there is nothing to know of their number")
    apart = np.where(known, np.abs(total - within) / np.where(known, total, 1), -1.0)
    i = int(apart.argmax())
    return max(2, round(float((total[i] - within[i]) / (of_mean[i] - within[i] / n_draws))))


def _check_rows(rows: pd.DataFrame) -> None:
    missing = [name for name in _NEEDED if name not in rows or rows[name].isna().all()]
    if missing:
        raise InputError(
            f"the rows must have {', '.join(_NEEDED)}; they lack {', '.join(missing)}. Use a result "
            "that was made with --n_draws 2 or more"
        )
    for name in ("output", "score"):
        known = list(dict.fromkeys(rows[name].astype(str))) if name in rows else []
        if len(known) > 1:
            listed = ", ".join(known[:_SHOWN]) + (", ..." if len(known) > _SHOWN else "")
            raise InputError(
                f"rows of one {name} are required; got {len(known)}: {listed}. Choose the rows of one"
            )


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
