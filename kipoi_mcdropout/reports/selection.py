"""Selects the few rows that figures show."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from kipoi_mcdropout.files.read_stream import iter_effects
from kipoi_mcdropout.reports.effects import EffectFacts

MOST_OUTPUTS = 2  # with figures of their own
MOST_POINTS = 20_000
MOST_INTERVALS = 3_000  # of a contig; of a sequence all are shown


@dataclass(frozen=True)
class Selection:
    """Rows for the figures of one output and score.

    `thinned` has at most so many of all, evenly, and the top ones among them; `one_sequence` has all
    rows of the sequence (ISM) or contig (VCF) with the top effect, or none where a contig has too many.
    """

    output: str
    score: str
    n_rows: int
    thinned: pd.DataFrame
    sequence: str
    one_sequence: pd.DataFrame


def select_rows(path: Path, facts: EffectFacts) -> list[Selection]:
    """The rows that figures show: of one score, and of the outputs with the strongest effects.

    One more pass over the result; none, and no rows, where there are no draws.
    """
    if facts.point_only or not len(facts.top):
        return []
    score, top = facts.score, facts.top
    by_strength = facts.outputs[facts.outputs["score"] == score].sort_values(
        "max_abs_z", ascending=False, kind="stable"
    )
    outputs = list(by_strength["output"].head(MOST_OUTPUTS))
    where = "sequence" if "sequence" in top or not len(top) else "chrom"
    gathering = {o: _Rows(o, top[top["output"] == o], where, by_strength) for o in outputs}
    for piece in iter_effects(path, outputs):
        piece = piece[piece["score"] == score]
        for output, rows in gathering.items():
            rows.add(piece[piece["output"] == output])
    return [rows.finish(score) for rows in gathering.values()]


class _Rows:
    """Gathers the rows of one output."""

    def __init__(self, output: str, top: pd.DataFrame, where: str, outputs: pd.DataFrame) -> None:
        self.output, self.top, self.where = output, top, where
        self.n = int(outputs.loc[outputs["output"] == output, "n"].sum())
        self.step = max(1, -(-self.n // MOST_POINTS))
        self.key = top[where].iloc[0] if len(top) else None
        self.seen = self.n_one = 0
        self.thinned: list[pd.DataFrame] = []
        self.one: list[pd.DataFrame] = []

    def add(self, piece: pd.DataFrame) -> None:
        if not len(piece):
            return
        if self.key is None:
            self.key = piece[self.where].iloc[0]
        keep = (np.arange(self.seen, self.seen + len(piece)) % self.step) == 0
        self.seen += len(piece)
        self.thinned.append(piece[keep])
        mine = piece[piece[self.where] == self.key]
        self.n_one += len(mine)
        if self.where == "chrom" and self.n_one > MOST_INTERVALS:
            self.one = [mine.iloc[:0]]
        else:
            self.one.append(mine)

    def finish(self, score: str) -> Selection:
        top = self.top.drop(columns=["z", "row", "rank"], errors="ignore")
        names = ("sequence", "chrom", "pos", "position", "line", "allele", "alt", "haplotype", "flags")
        places = [name for name in names if name in top]
        thinned = _joined([*self.thinned, top]).drop_duplicates(places).reset_index(drop=True)
        one = _joined(self.one)
        name = one["name"].iloc[0] if "name" in one and len(one) else str(self.key)
        return Selection(self.output, score, self.n, thinned, str(name), one)


def _joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Rows of all; parts without rows have no say in the types of the columns."""
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
