"""Which rows of a table of effects a plot shows: of one output, one score and maybe one sequence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kipoi_mcdropout.effects.rounding import SHARE_OF_LARGEST
from kipoi_mcdropout.effects.row_identity import mutant_names
from kipoi_mcdropout.effects.row_identity import sequence_names as sequence_names
from kipoi_mcdropout.effects.score_names import preferred_score
from kipoi_mcdropout.effects.z import z_values as z_values
from kipoi_mcdropout.errors import InputError, TargetError

MOST_POINTS = 100_000
ROUNDING = SHARE_OF_LARGEST
_SHOWN = 8  # names listed in an error


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of one output and one score, numbered anew, and the names of both."""

    table: pd.DataFrame
    output: str
    score: str
    kept: NDArray[np.int64]  # their places in the table given

    def take(self, index: NDArray[np.int64]) -> Rows:
        """Some of the rows, by integer index."""
        table = self.table.iloc[index].reset_index(drop=True)
        return Rows(table, self.output, self.score, self.kept[index])


def choose_rows(
    table: pd.DataFrame, output: str | None, score: str | None, needed: Sequence[str], kind: str
) -> Rows:
    """The rows of one output and score.

    Parameters
    ----------
    table : DataFrame
        As `read.read_effects` gives.
    output : str, optional
        May be left out if the table has one.
    score : str, optional
        Left out: `score_names.preferred_score`.
    needed : sequence of str
        Columns that must be there.
    kind : str
        Of the plot, for errors.

    Raises
    ------
    InputError
        If the table lacks a column or the score, or has no rows, or has several outputs and none
        is named.
    TargetError
        If the output is not in the table.
    """
    needed = list(dict.fromkeys(["output", "score", *needed]))
    missing = [name for name in needed if name not in table or table[name].isna().all()]
    if missing and len(table):
        raise InputError(
            f"plot {kind} needs {', '.join(needed)} in the table of effects; it lacks "
            f"{', '.join(missing)}. Use a result of `ism` or the table (-t) of `score_variants`, run "
            "with --n_draws 2 or more"
        )
    if not len(table):
        raise InputError(f"plot {kind} needs effects; the table has no rows")
    output = _choose_output(table, output)
    score = choose_score(table, score)
    mask = (table["output"].astype(str) == output) & (table["score"].astype(str) == score)
    kept = np.flatnonzero(mask.to_numpy())
    return Rows(table.iloc[kept].reset_index(drop=True), output, score, kept)


def choose_score(table: pd.DataFrame, score: str | None) -> str:
    """The score to show.

    Raises
    ------
    InputError
        If the table lacks it.
    """
    known = list(dict.fromkeys(table["score"].astype(str)))
    if score is None:
        return preferred_score(known)
    if score not in known:
        listed = ", ".join(known)
        raise InputError(f"--score must be one of the result's scores, {listed}; got {score!r}")
    return score


def one_sequence(rows: Rows, sequence: str | int | None) -> tuple[Rows, str]:
    """The rows of one sequence, by its name or number, and its name; the first if none is given.

    In the table of a VCF, which has no sequences, a chromosome is one.

    Raises
    ------
    InputError
        If there is no such sequence.
    """
    keys = sequence_names(rows.table)
    names = list(dict.fromkeys(keys))
    name = names[0] if sequence is None else _sequence_named(rows.table, names, str(sequence))
    return rows.take(np.flatnonzero((keys == name).to_numpy())), name


def positions(table: pd.DataFrame) -> tuple[pd.Series, str]:
    """Where each mutant is, and what that counts: in the sequence from 0, or in the genome from 1."""
    if "position" in table and table["position"].notna().all():
        return table["position"].astype(int), "position in the sequence (from 0)"
    if "pos" in table and table["pos"].notna().all():
        return table["pos"].astype(int), "position in the genome (from 1)"
    raise InputError("the table of effects needs a column position or pos; it has neither")


def in_window(rows: Rows, start: int | None, end: int | None) -> Rows:
    """Rows with start <= position < end.

    Raises
    ------
    InputError
        If there are none.
    """
    if start is None and end is None:
        return rows
    where, _ = positions(rows.table)
    low = where.min() if start is None else start
    high = where.max() + 1 if end is None else end
    inside = np.flatnonzero((where >= low) & (where < high))
    if not len(inside):
        raise InputError(
            f"--start {low} to --end {high} contains no mutant; positions are {where.min()} to "
            f"{where.max()}"
        )
    return rows.take(inside)


def is_substitution(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether each row puts one base in the place of one base."""
    lengths = (table[name].astype(str).str.len() for name in ("ref", "alt"))
    is_single: NDArray[np.bool_] = np.logical_and.reduce([length.to_numpy() == 1 for length in lengths])
    return is_single


def variant_names(table: pd.DataFrame) -> list[str]:
    """The ID of each variant where it has one, else `mutant_names`."""
    if not len(table):
        return []
    spelt = mutant_names(table)
    if "id" not in table:
        return spelt.tolist()
    ids = table["id"].astype(str)
    names: list[str] = spelt.where(ids.isin([".", "", "None", "nan"]), ids).tolist()
    return names


def thin(n: int, most: int = MOST_POINTS) -> tuple[NDArray[np.int64], str]:
    """Which of n points to draw, in order, at most `most`, and a remark where that is not all."""
    if n <= most:
        return np.arange(n), ""
    chosen = np.sort(np.random.default_rng(0).choice(n, most, replace=False))
    return chosen, f"{most:,} of {n:,} points, at random"


def _choose_output(table: pd.DataFrame, output: str | None) -> str:
    known = list(dict.fromkeys(table["output"].astype(str)))
    listed = ", ".join(known[:_SHOWN]) + (", ..." if len(known) > _SHOWN else "")
    if output is None:
        if len(known) > 1:
            raise InputError(f"one output is required; the table has {len(known)}: {listed}. Name one")
        return known[0]
    if output not in known:
        raise TargetError(f"output {output!r} is not in the table; it has {len(known)}: {listed}")
    return output


def _sequence_named(table: pd.DataFrame, names: list[str], wanted: str) -> str:
    if wanted in names:
        return wanted
    if "sequence" in table:
        numbers = table["sequence"].astype(str)
        if (numbers == wanted).any():
            name: str = sequence_names(table)[numbers == wanted].iloc[0]
            return name
    listed = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    raise InputError(
        f"sequence {wanted!r} is not in the table; it has {len(names)}: {listed}. Give --sequence a "
        "name or a number from 0"
    )
