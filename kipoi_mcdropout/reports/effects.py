"""Facts about all effects of a result, gathered in one pass over it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from kipoi_mcdropout.effects.rounding import OUTPUT_COLUMNS, SHARE_OF_LARGEST, effect_rounding
from kipoi_mcdropout.effects.score_names import preferred_score
from kipoi_mcdropout.effects.z import z_of_piece
from kipoi_mcdropout.errors import InputError

RankBy = Literal["z", "effect"]
STRONG_Z = 2.0
SHIFTED_SD = 2.0  # from the point prediction to the mean over draws
_SUMMED = ("n", "n_nan", "n_strong", "n_unsettled", "n_shifted", "sum_abs", "sum_sd")
_MANY = 1000  # outputs; beyond these a table of outputs is no help


@dataclass
class EffectFacts:
    """What a result holds.

    Attributes
    ----------
    n_rows : int
        Rows of the file: mutants x outputs x scores.
    n_mutants, n_sequences : int
        Substitutions or alleles, and the sequences (ISM) or contigs (VCF) that they are in.
    n_draws : int
        The most of a mutant.
    draws : Counter
        How many rows have each number of draws.
    n_nan : int
        Rows without a number, since the model or the score was not finite in some draw.
    n_no_spread : int
        Rows with an effect that is the same in every draw, so that there is no z.
    kinds, flags : Counter
        Of the alleles of a VCF.
    outputs : DataFrame
        Per `output` and `score`: `n`, `n_nan`, `n_strong` (|z| >= 2), `n_unsettled` (the mean is within
        2 mcse of 0), `n_shifted` (see `shifted`), `mean_abs` and `mean_sd` of the effects, `max_abs_z`,
        `max_abs`.
    top : DataFrame
        The rows of `score` that come first by `rank_by`, with `z` and, from 1, `rank`.
    score : str
        The score that is ranked and shown in figures: scores have scales of their own. It is diff, else
        logit, else the first that is an effect.
    n_ranked : int
        Rows they were chosen from: those of the score with an effect beyond rounding, and a z.
    rank_by : "z" or "effect"
        Of the point effect where there are no draws.
    """

    n_rows: int = 0
    n_mutants: int = 0
    n_sequences: int = 0
    n_draws: int = 0
    draws: Counter[int] = field(default_factory=Counter)
    n_nan: int = 0
    n_no_spread: int = 0
    n_ranked: int = 0
    score: str = ""
    rank_by: RankBy = "z"
    kinds: Counter[str] = field(default_factory=Counter)
    flags: Counter[str] = field(default_factory=Counter)
    outputs: pd.DataFrame = field(default_factory=pd.DataFrame)
    top: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def point_only(self) -> bool:
        """Whether there are no draws: effects with dropout off alone."""
        return self.n_draws == 0

    @property
    def effect(self) -> str:
        """The column with the effect."""
        return "effect_point" if self.point_only else "effect_mean"


def shifted(table: pd.DataFrame) -> pd.Series:
    """Whether the mean over draws lies more than 2 sd from the point prediction or the point effect.

    The sd is that of the draws. Where this is so, the mean is not about the model that is in use.
    """
    found: pd.Series = pd.Series(False, table.index)
    for name, sd in (("effect", "effect_sd"), ("alt", None)):
        mean, point = f"{name}_mean", f"{name}_point"
        if not {mean, point, sd or "alt_var"} <= set(table):
            continue
        spread = table[sd].astype(float) if sd else np.sqrt(table["alt_var"].astype(float))
        gap = (table[mean].astype(float) - table[point].astype(float)).abs()
        size = table[[n for n in ("ref_mean", "alt_mean", mean) if n in table]].astype(float).abs()
        found |= (gap > SHIFTED_SD * spread) & (gap > SHARE_OF_LARGEST * size.max(axis=1))
    return found


def gather_effects(
    pieces: Iterable[pd.DataFrame], top: int = 200, rank_by: RankBy = "z"
) -> EffectFacts:
    """Count, summarise and rank.

    Parameters
    ----------
    pieces : iterable of DataFrame
        As `read_stream.iter_effects` gives them.
    top : int
        Rows to keep.
    rank_by : "z" or "effect"
        By |effect_mean| / effect_sd, or by |effect_mean|, within one score. Equals stay in the order of
        the file. `ref`, `alt` and their logits are no effects and not ranked, unless there is nothing
        else.

    Raises
    ------
    InputError
        If `top` or `rank_by` is not as stated.
    """
    if top < 1:
        raise InputError(f"top must be at least 1; got {top}")
    if rank_by not in ("z", "effect"):
        raise InputError(f"rank_by must be 'z' or 'effect'; got {rank_by!r}")
    gathering = _Gathering(top, rank_by)
    for piece in pieces:
        if len(piece):
            gathering.add(piece)
    return gathering.finish()


class _Gathering:
    """Running totals; holds a table of the best rows of each score."""

    def __init__(self, top: int, rank_by: RankBy) -> None:
        self.top = top
        self.facts = EffectFacts(rank_by=rank_by)
        self.sequences: set[Any] = set()
        self.first: tuple[str, str] | None = None
        self.totals: pd.DataFrame | None = None
        self.best: dict[str, pd.DataFrame] = {}
        self.ranked: Counter[str] = Counter()

    def add(self, piece: pd.DataFrame) -> None:
        facts = self.facts
        piece = piece.reset_index(drop=True)
        facts.draws.update(piece["n_draws"].astype(int).tolist())
        facts.n_draws = max(facts.draws)
        if facts.point_only:
            facts.rank_by = "effect"
        z = z_of_piece(piece)
        piece["z"] = np.where(np.isfinite(z), z, np.nan)  # the same in every draw: counted, not ranked
        piece["row"] = np.arange(facts.n_rows, facts.n_rows + len(piece))
        facts.n_rows += len(piece)
        value = piece[facts.effect].astype(float)
        nan = value.isna()
        facts.n_nan += int(nan.sum())
        facts.n_no_spread += int((piece["z"].isna() & ~nan & (value != 0)).sum())
        self._count_mutants(piece)
        self._sum(piece, value)
        self._rank(piece, value)

    def _count_mutants(self, piece: pd.DataFrame) -> None:
        if self.first is None:
            self.first = (piece["score"].iloc[0], piece["output"].iloc[0])
        one = piece[(piece["score"] == self.first[0]) & (piece["output"] == self.first[1])]
        self.facts.n_mutants += len(one)
        self.sequences.update(piece["sequence" if "sequence" in piece else "chrom"].unique())
        if "kind" in one:
            self.facts.kinds.update(one["kind"])
            self.facts.flags.update(flag for text in one["flags"] if text for flag in text.split("&"))

    def _sum(self, piece: pd.DataFrame, value: pd.Series) -> None:
        unsettled = (value.abs() < 2 * piece["effect_mcse"].astype(float)) & (value != 0)
        parts = pd.DataFrame(
            {
                "output": piece["output"],
                "score": piece["score"],
                "n": 1,
                "n_nan": value.isna().astype(int),
                "n_strong": (piece["z"].abs() >= STRONG_Z).astype(int),
                "n_unsettled": unsettled.astype(int),
                "n_shifted": shifted(piece).astype(int),
                "sum_abs": value.abs(),
                "sum_sd": piece["effect_sd"].astype(float),
                "max_abs_z": piece["z"].abs(),
                "max_abs": value.abs(),
            }
        )
        how: dict[str, Any] = {name: "sum" for name in _SUMMED}
        how |= {"max_abs_z": "max", "max_abs": "max"}
        if self.totals is not None:
            parts = pd.concat([self.totals, parts], ignore_index=True)
        self.totals = parts.groupby(["output", "score"], sort=False).agg(how).reset_index()

    def _rank(self, piece: pd.DataFrame, value: pd.Series) -> None:
        by = (piece["z"] if self.facts.rank_by == "z" else value).abs()
        if set(OUTPUT_COLUMNS) <= set(piece):
            by = by.where(value.abs() > effect_rounding(piece, is_piece=True))
        for score in piece["score"].unique():
            usable = (piece["score"] == score) & by.notna()
            self.ranked[score] += int(usable.sum())
            old = self.best.get(score)
            if old is not None and len(old) == self.top:
                usable &= by > old["by"].iloc[-1]  # equals come later in the file, so they lose
            if old is None or usable.any():
                parts = [*([] if old is None else [old]), piece[usable].assign(by=by[usable])]
                best = pd.concat([part for part in parts if len(part)] or parts)
                best = best.sort_values("by", ascending=False, kind="stable")
                self.best[score] = best.head(self.top)

    def finish(self) -> EffectFacts:
        facts = self.facts
        ranked = [score for score in self.best if self.ranked[score]]
        facts.score = preferred_score(ranked or list(self.best))
        best = self.best.get(facts.score, pd.DataFrame())
        facts.n_ranked = self.ranked[facts.score]
        facts.top = best.drop(columns="by", errors="ignore").reset_index(drop=True)
        facts.top["rank"] = np.arange(1, len(facts.top) + 1)
        facts.n_sequences = len(self.sequences)
        if self.totals is not None:
            known = (self.totals["n"] - self.totals["n_nan"]).clip(lower=1)
            facts.outputs = self.totals.assign(
                mean_abs=self.totals["sum_abs"] / known, mean_sd=self.totals["sum_sd"] / known
            ).drop(columns=["sum_abs", "sum_sd"])
        return facts


def outputs_worth_showing(facts: EffectFacts) -> pd.DataFrame:
    """`facts.outputs`, or the first thousand by `max_abs_z` where there are more."""
    if len(facts.outputs) <= _MANY:
        return facts.outputs
    ranked = facts.outputs.sort_values("max_abs_z", ascending=False, kind="stable")
    largest: pd.DataFrame = ranked.head(_MANY)
    return largest
