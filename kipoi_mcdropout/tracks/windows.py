"""The rows of one sequence at a time, of one score and some outputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.tracks.result import Labels, Outputs, Result, chosen_labels


@dataclass(frozen=True)
class Window:
    """The mutants of one sequence.

    Attributes
    ----------
    number : int
        Of the sequence, as in the result.
    labels : tuple of str
        The outputs.
    rows : DataFrame
        Of one score: a row for each substitution and output.
    """

    number: int
    labels: Labels
    rows: pd.DataFrame

    @property
    def name(self) -> str:
        """Of the sequence."""
        return str(self.rows["name"].iloc[0])


def iter_windows(result: Result, score: str, outputs: Outputs) -> Iterator[Window]:
    """The sequences of a result of `ism`, in the order of the result; one is held at a time.

    Mutants that equal the reference (`--test_ref_ref`) are left out.

    Raises
    ------
    InputError, TargetError
        If the rows of a sequence do not stand together, a sequence lacks an output, there is no such
        output, or nothing is left.
    """
    known = result.known_outputs
    labels = None if known is None else chosen_labels(known, outputs, result.name)
    found: set[str] = set()
    for number, rows in _sequences(result, score, labels):
        if labels is None:
            labels = chosen_labels(list(dict.fromkeys(rows["output"])), outputs, result.name)
            found = set(rows["output"])
        elif known is None and (more := set(rows["output"]) - found):
            raise InputError(
                f"sequence {number} of {result.name} has an output {sorted(more)[0]!r} that the first "
                "sequence lacks: rows were removed. Give the whole result"
            )
        rows = rows[rows["output"].isin(labels)]
        if missing := set(labels) - set(rows["output"]):
            raise InputError(
                f"sequence {number} of {result.name} lacks the output {sorted(missing)[0]!r}: rows were "
                "removed. Give the whole result"
            )
        yield Window(number, labels, rows)
    if labels is None:
        raise InputError(
            f"{result.name} has no substitution of score {score}: there is nothing to write"
        )


def _sequences(result: Result, score: str, labels: Labels | None) -> Iterator[tuple[int, pd.DataFrame]]:
    """The rows of each sequence, wherever the pieces are cut."""
    held: list[pd.DataFrame] = []
    current: int | None = None
    done: set[int] = set()
    for piece in result.read(labels, score):
        rows = piece[(piece["score"] == score) & (piece["ref"] != piece["alt"])]
        for key, part in rows.groupby("sequence", sort=False):
            number = int(str(key))
            if number != current and current is not None:
                yield current, pd.concat(held, ignore_index=True)
                done.add(current)
                held = []
            if number in done:
                raise InputError(
                    f"the rows of sequence {number} of {result.name} do not stand together: the table "
                    "was sorted anew, or joined from several. Give the result as it was written"
                )
            current = number
            held.append(part)
    if current is not None:
        yield current, pd.concat(held, ignore_index=True)
