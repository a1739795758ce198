"""q-values of effects that were compared with a background: they need the p of all units first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from kipoi_mcdropout.effects.columns import P_EMPIRICAL, Q_EMPIRICAL
from kipoi_mcdropout.effects.streamed_q import StreamedQs
from kipoi_mcdropout.effects.summary import EffectSummary
from kipoi_mcdropout.runs.summaries import decode_summaries
from kipoi_mcdropout.runs.unit_file import StoredUnit


class UnitQs:
    """Benjamini and Hochberg's q-values of P_EMPIRICAL, over all effects on an output by a score."""

    def __init__(self) -> None:
        self._q = StreamedQs()

    def add(self, stored: StoredUnit) -> None:
        """The p of a unit; one that failed has none."""
        if "scores" in stored.about:
            for summary in decode_summaries(stored.about, stored.arrays):
                for column, p in enumerate(summary.mutant[P_EMPIRICAL].T):
                    self._q.add((summary.score.name, column), p)

    def put_into(self, summaries: Sequence[EffectSummary]) -> None:
        """Add the q-values, once the p of all units were added."""
        for summary in summaries:
            p = summary.mutant[P_EMPIRICAL]
            q = summary.mutant[Q_EMPIRICAL] = p.copy()
            for column in range(p.shape[1]):
                q[:, column] = self._q.q((summary.score.name, column), p[:, column])

    def after_all(
        self, units: Iterable[tuple[int, StoredUnit]], load: Callable[[int], StoredUnit]
    ) -> Iterator[tuple[int, StoredUnit]]:
        """The units again, when the p of all of them were added; `load` gives one by its number."""
        numbers = []
        for number, stored in units:
            self.add(stored)
            numbers.append(number)
            del stored  # before the next is computed: results can be large
        for number in numbers:
            yield number, load(number)


def is_ranked(record: dict[str, object]) -> bool:
    """Whether a run compares its effects with a background, by its record."""
    options = record["options"]
    return isinstance(options, dict) and "background" in options
