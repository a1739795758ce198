"""Messages of a run of ISM while it is computed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

from kipoi_mcdropout.effects.score_names import undefined
from kipoi_mcdropout.engine import Choice
from kipoi_mcdropout.errors import InputWarning
from kipoi_mcdropout.files.record import SequenceRecord

_SHOWN = 5


def _warn(message: str) -> None:
    warnings.warn(message, InputWarning, stacklevel=2)


class Watch:
    """Follows a run, and warns of what must be known before the results are used.

    Parameters
    ----------
    warn : callable
        Called with each message; by default it becomes an InputWarning.

    Attributes
    ----------
    n_bad : int
        Number of effects so far that are NaN.
    """

    def __init__(self, warn: Callable[[str], None] = _warn) -> None:
        self.warn = warn
        self.n_bad = 0

    def began(self, choice: Choice, notes: Sequence[str]) -> None:
        """Called before anything is computed, with the engine and the notes about dropout sites."""

    def forwards(self, done: int, total: int) -> None:
        """Called with the number of (mutant, draw) pairs just computed here, and that of the block."""

    def finished(self, record: SequenceRecord, first: bool) -> None:
        """Called with each finished block, and whether it is the first of its sequence."""
        if first:
            self._mention_unmutated(record)
        self._mention_bad_values(record)

    def _mention_unmutated(self, record: SequenceRecord) -> None:
        """Name the positions that are not mutated, because the reference has no base there."""
        missing = record.effects.substitutions.without_base
        if len(missing):
            shown = ", ".join(map(str, missing[:_SHOWN])) + (", ..." if len(missing) > _SHOWN else "")
            self.warn(
                f"sequence {record.name}: {len(missing)} positions are N in the reference and are not "
                f"mutated: {shown}"
            )

    def _mention_bad_values(self, record: SequenceRecord) -> None:
        """Count effects that are NaN, and name the first of each score."""
        for summary in record.effects.summaries:
            bad = (summary.counts["n_nonfinite"] + summary.counts["n_saturated"]) > 0
            self.n_bad += int(bad.sum())
            if bad.any():
                mutant, output = (int(i[0]) for i in bad.nonzero())
                nonfinite = int(summary.counts["n_nonfinite"][mutant, output])
                why = "the model's output is not finite" if nonfinite else undefined(summary.score.name)
                self.warn(
                    f"sequence {record.name}, score {summary.score.name}: {int(bad.sum())} effects are "
                    f"NaN, first for output {record.effects.targets.labels[output]!r} at position "
                    f"{int(record.effects.substitutions.position[mutant])}: {why}"
                )
