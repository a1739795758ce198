"""Instruments from the effects of a run, in one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kipoi_mcdropout.effects.row_identity import sequence_names
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr.pairs.instruments import Instruments, SeType
from kipoi_mcdropout.mr.pairs.selection import select_instruments
from kipoi_mcdropout.mr.pairs.table import instruments_from_table


class EffectsOfMutants(Protocol):
    """What is asked of effects: `kipoi_mcdropout.Effects` has it."""

    @property
    def has_draws(self) -> bool:
        """Whether the effect of every draw is there."""
        ...

    @property
    def members(self) -> Sequence[str]:
        """Names of the members of the model; none where it has one alone."""
        ...

    @property
    def provenance(self) -> dict[str, Any]:
        """The record of the run."""
        ...

    def table(self, outputs: Any = None, score: str | None = None) -> pd.DataFrame:
        """A row per mutant, output and score."""
        ...

    def draws(self, outputs: Any = None, score: str | None = None) -> NDArray[np.float32]:
        """The effect of every draw, shape=(draws, rows)."""
        ...


def instruments(
    effects: EffectsOfMutants,
    exposure: str,
    outcome: str,
    *,
    min_z: float | None = None,
    one_per_position: bool = False,
    min_distance_bp: int | None = None,
    top_n: int | None = None,
    select_draws: Any = "all",
    se_type: SeType = "sd",
    score: str | None = None,
) -> Instruments:
    """Mutants as instruments: their effects on two outputs of a model, and which of them are used.

    Parameters
    ----------
    effects : kipoi_mcdropout.Effects
    exposure, outcome : str
        Two outputs, by label.
    min_z, one_per_position, min_distance_bp, top_n, select_draws
        Which mutants are used, in this order; see `select_instruments`. By default all are.
    se_type : "sd" or "mcse"
        What becomes the standard error: the spread over the draws, or the Monte Carlo error of the mean.
    score : str, optional
        Which of the scores; needed only where the effects have several.

    Raises
    ------
    InputError
        If exposure and outcome are the same, the score is not there or has no sign, or no instrument is
        left.
    TargetError
        If the effects have no such output.
    """
    if exposure == outcome:
        raise InputError(f"exposure and outcome must differ; both are {outcome!r}. Name another")
    table = effects.table([exposure, outcome], score)
    names = sorted(set(table["score"].astype(str))) if "score" in table else []
    if score is None and len(names) != 1:
        known = ", ".join(names) or "it has no rows"
        raise InputError(f"--score must be one of the result's scores: {known}")
    chosen = names[0] if score is None else score
    if chosen in effects.provenance.get("options", {}).get("unsigned_scores", ()):
        raise InputError(
            "Mendelian randomization requires a score with a sign, as 'diff' or 'logit'; the run says "
            f"that its own score {chosen!r} has none"
        )
    draws = effects.draws([exposure, outcome], chosen) if effects.has_draws else None
    if "sequence" in table:
        table["sequence"] = sequence_names(table)
    found = instruments_from_table(
        table, exposure, outcome, draws=draws, se_type=se_type, score=chosen,
        n_members=max(1, len(effects.members)),
    )  # fmt: skip
    return select_instruments(
        found, min_z=min_z, one_per_position=one_per_position, min_distance_bp=min_distance_bp,
        top_n=top_n, select_draws=select_draws,
    )  # fmt: skip
