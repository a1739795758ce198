"""How many draws are enough, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kipoi_mcdropout.effects.draws_enough import TOLERANCE, draws_enough, sd_error
from kipoi_mcdropout.effects.score_names import NO_EFFECT
from kipoi_mcdropout.errors import McDropoutError
from kipoi_mcdropout.files.read import has_draws
from kipoi_mcdropout.reports.effects import EffectFacts
from kipoi_mcdropout.reports.selection import Selection

_SCHEDULE = (10, 25, 30, 50, 100, 200, 400, 1000)
_FOLLOWED = 5  # mutants


@dataclass(frozen=True)
class FollowedMutant:
    """A mutant with its effect in every draw.

    `row` is its row of the table of top effects; `draws` has shape=(n_draws,), in the order drawn.
    """

    row: dict[str, Any]
    draws: NDArray[np.float32]

    def running(self, n: int) -> tuple[float, float]:
        """Mean and sd (ddof=1) of the first n draws."""
        return float(self.draws[:n].mean(dtype=float)), float(self.draws[:n].std(ddof=1, dtype=float))


@dataclass(frozen=True)
class DrawFacts:
    """How precise the numbers of the report are, with this number of draws.

    Attributes
    ----------
    n_draws : int
        The fewest of a mutant, where they have different numbers (--until).
    mcse_to_sd : float
        1 / sqrt(n_draws): the Monte Carlo error of each mean effect, in sd. With several members the
        median over mutants of mcse / sd.
    sd_error : float
        1 / sqrt(2 (n_draws - 1)): the relative standard error of each sd, were effects normal. With
        several members see `draws_enough.sd_error_of_members`.
    n_unsettled, n : int
        Rows, of n that have a number, whose mean effect is not 0 but within 2 mcse of it.
    schedule : list of (n_draws, mcse_to_sd, sd_error)
        For other numbers of draws; empty with several members.
    followed : list of FollowedMutant
        The first of the top effects, where the draws were kept.
    checkpoints : list of int
        Numbers of draws at which these are shown.
    sentences : list of str
        Per output with figures, what `plots.draws_enough` finds.
    n_members : int
        Trained networks that the draws are of.
    most_draws : int
        Of a mutant; `n_draws` where all have the same number.
    mean_draws : float
        Over the rows.
    """

    n_draws: int
    mcse_to_sd: float
    sd_error: float
    n_unsettled: int
    n: int
    schedule: list[tuple[int, float, float]]
    followed: list[FollowedMutant] = field(default_factory=list)
    checkpoints: list[int] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    n_members: int = 1
    most_draws: int = 0
    mean_draws: float = 0.0

    @property
    def enough(self) -> bool:
        """Whether each sd is known to 15 %: the rule of `plots.draws_enough`.

        Where the mutants have different numbers of draws, the fewest have effects that matter to nobody
        (`effects.until`).
        """
        return self.sd_error <= TOLERANCE or self.differ

    @property
    def differ(self) -> bool:
        """Whether mutants have different numbers of draws."""
        return self.most_draws > self.n_draws


def gather_draws(
    path: Path, facts: EffectFacts, selections: Sequence[Selection] = ()
) -> DrawFacts | None:
    """From the summaries, and from the draws themselves where the file has them; None without draws."""
    n, most = min(facts.draws, default=0), facts.n_draws
    if n < 2:
        return None
    nested = [s.thinned for s in selections if "effect_sd_between" in s.thinned]
    of_members = next((found for rows in nested if (found := _of_members(rows))), None)
    if nested and of_members is None:
        return None
    mcse_to_sd, error, n_members = of_members or (n**-0.5, sd_error(n), 1)
    effects = facts.outputs[~facts.outputs["score"].isin(NO_EFFECT)]
    numbers = sorted({*_SCHEDULE, n, most})
    followed = follow(path, facts.top) if has_draws(path) else []
    return DrawFacts(
        n_draws=n,
        mcse_to_sd=mcse_to_sd,
        sd_error=error,
        n_unsettled=int(effects["n_unsettled"].sum()),
        n=int(effects["n"].sum() - effects["n_nan"].sum()),
        schedule=[(k, k**-0.5, sd_error(k)) for k in numbers] if n_members == 1 else [],
        followed=followed,
        checkpoints=_checkpoints(n),
        sentences=[sentence for s in selections if (sentence := _sentence(s))],
        n_members=n_members,
        most_draws=most,
        mean_draws=sum(k * rows for k, rows in facts.draws.items()) / facts.draws.total(),
    )


def _of_members(rows: pd.DataFrame) -> tuple[float, float, int] | None:
    """Mcse / sd (the median), error of each sd, and number of members; None where nothing varies."""
    try:
        found = draws_enough(rows)
    except McDropoutError:
        return None
    varies = rows[rows["effect_sd"] > 0]
    ratio = varies["effect_mcse"].to_numpy(float) / varies["effect_sd"].to_numpy(float)
    return float(np.nanmedian(ratio)), found.sd_error, found.n_members


def _sentence(selection: Selection) -> str:
    """Of the rows of one output; nothing where it has no effect to speak of."""
    try:
        found = draws_enough(selection.thinned)
    except McDropoutError:
        return ""
    return f"{selection.output}: {found.sentence()}"


def follow(path: Path, top: pd.DataFrame, n_mutants: int = _FOLLOWED) -> list[FollowedMutant]:
    """The draws of the first rows of the top effects; of a mutant with several scores or outputs one."""
    if not len(top):
        return []
    distinct = top.drop_duplicates(["sequence", "position", "alt"]).head(n_mutants)
    with h5py.File(path, "r") as file:
        start = int(file["position"][0])
        letters = list(file["alt"].asstr()[:])
        outputs = list(file["output"].asstr()[:])
        # A file of a part of the sequences numbers them as the whole does.
        n = len(file["reference"])
        numbers = list(file["sequence"][:]) if "sequence" in file else list(range(n))
        return [
            FollowedMutant(
                {str(name): value for name, value in row.items()},
                file[f"scores/{row['score']}/effect_draws"][
                    numbers.index(row["sequence"]),
                    int(row["position"]) - start,
                    letters.index(row["alt"]),
                    outputs.index(row["output"]),
                ],
            )
            for _, row in distinct.iterrows()
        ]


def _checkpoints(n: int) -> list[int]:
    """A quarter, a half, three quarters and all of the draws, as far as they have an sd."""
    return sorted({max(2, round(n * share)) for share in (0.25, 0.5, 0.75, 1.0)})
