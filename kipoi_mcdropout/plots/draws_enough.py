"""How many draws are enough: for the mean of an effect, and for its sd."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.plots.rows import choose_rows, z_values

SHARE = 0.95  # of the mutants that the number of draws must be enough for


@dataclass(frozen=True)
class DrawsEnough:
    """Numbers of draws that are enough, and how many there were.

    Attributes
    ----------
    n_draws : int
        Of the run.
    n_mutants : int
        Mutants with |effect_mean| >= min_z effect_sd; the mean matters for these.
    for_mean : int
        So many draws make the Monte Carlo error of the mean, sd / sqrt(n), at most `tolerance` of
        the effect in 95 % of those mutants; 0 if there are none.
    for_sd : int
        So many make the relative standard error of the sd, 1 / sqrt(2 (n - 1)) for normal draws, at
        most `tolerance`; the same for every mutant.
    tolerance, min_z : float
    """

    n_draws: int
    n_mutants: int
    for_mean: int
    for_sd: int
    tolerance: float
    min_z: float

    @property
    def enough(self) -> bool:
        """Whether the run had as many as both need."""
        return self.n_draws >= max(self.for_mean, self.for_sd)

    def sentence(self) -> str:
        """The same in words, with what to do."""
        percent = f"{100 * self.tolerance:g} %"
        mean = (
            f"{self.for_mean} are enough to know the mean effect to {percent} in {100 * SHARE:g} % of "
            f"the {self.n_mutants:,} mutants with |effect| of at least {self.min_z:g} sd"
            if self.n_mutants
            else f"no mutant has an |effect| of at least {self.min_z:g} sd, so the mean needs no more"
        )
        sd = f"{self.for_sd} are enough to know the sd to {percent} (normal draws)"
        advice = "" if self.enough else f" Run with --n_draws {max(self.for_mean, self.for_sd)}."
        return f"The run had {self.n_draws} draws: {mean}; {sd}.{advice}"


def draws_enough(
    table: pd.DataFrame,
    *,
    output: str | None = None,
    score: str | None = None,
    min_z: float = 2.0,
    tolerance: float = 0.1,
) -> DrawsEnough:
    """How many draws the mean and the sd of the effects need; from summaries alone.

    Parameters
    ----------
    table : DataFrame
        As `results.read_effects` gives; `effect_mean`, `effect_sd`, `n_draws`.
    output, score : str, optional
        Which of the table's; see `rows.choose_rows`.
    min_z : float
        Mutants whose mean matters; also bounds `for_mean`, by 1 / (tolerance min_z)**2.
    tolerance : float
        Relative error that is accepted, between 0 and 1.

    Raises
    ------
    InputError, TargetError
        What is needed is not in the table, or a parameter is out of range.
    """
    if not 0 < tolerance < 1:
        raise InputError(f"tolerance must lie between 0 and 1; got {tolerance}")
    if not min_z > 0:
        raise InputError(f"min_z must be above 0; got {min_z}")
    rows = choose_rows(table, output, score, ("effect_mean", "effect_sd", "n_draws"), "convergence")
    z = np.abs(z_values(rows.table))
    clear = z[np.isfinite(z) & (z >= min_z)]
    needed = float(np.quantile((1 / (tolerance * clear)) ** 2, SHARE)) if len(clear) else 0.0
    return DrawsEnough(
        n_draws=int(rows.table["n_draws"].iloc[0]),
        n_mutants=len(clear),
        for_mean=math.ceil(needed - 1e-9),
        for_sd=math.ceil(1 + 1 / (2 * tolerance**2) - 1e-9),
        tolerance=tolerance,
        min_z=min_z,
    )
