"""Adds the intervals of a calibration to the effects of a run, as its outputs are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from kipoi_mcdropout.effects.summary import EffectSummary
from kipoi_mcdropout.files.record import SequenceRecord
from kipoi_mcdropout.significance.add_intervals import ConformalOptions

Complete = Callable[[SequenceRecord], SequenceRecord]


def summaries_with_intervals(
    summaries: Sequence[EffectSummary], labels: Sequence[str], conformal: ConformalOptions
) -> list[EffectSummary]:
    """Copies with `INTERVAL_STATISTICS` among the statistics of the mutants.

    Parameters
    ----------
    summaries : sequence of EffectSummary
        With the numbers as the outputs hold them, so that intervals that are added to a table later
        are the same.
    labels : sequence of str
        Of the outputs.
    conformal : ConformalOptions
    """
    return [
        replace(one, mutant={**one.mutant, **conformal.columns(one.score.name, labels, one.mutant)})
        for one in summaries
    ]


def complete_by(record: Mapping[str, Any]) -> Complete:
    """What adds the intervals that the provenance of a run asks for; it changes nothing if none."""
    conformal = ConformalOptions.of_record(record)

    def complete(sequence: SequenceRecord) -> SequenceRecord:
        if conformal is None:
            return sequence
        effects = sequence.effects
        summaries = summaries_with_intervals(effects.summaries, effects.targets.labels, conformal)
        return replace(sequence, effects=replace(effects, summaries=summaries))

    return complete
