"""Runs units one after the other in this process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kipoi_mcdropout.errors import McDropoutError
from kipoi_mcdropout.runs.schedule.work import Failure, Result, Tag, Unit, Work, one_line


class InProcess:
    """Computes each unit when its result is asked for."""

    def run(
        self, work: Work[Unit, Result], units: Iterable[tuple[Tag, Unit | None]]
    ) -> Iterator[tuple[Tag, Result | Failure | None]]:
        """See `Scheduler.run`."""
        for tag, unit in units:
            if unit is None:
                yield tag, None
                continue
            result: Result | Failure
            try:
                result = work.here(unit)
            except Exception as error:  # the user's model can raise anything
                if isinstance(error, McDropoutError) and error.stops_the_run:
                    raise
                result = Failure(one_line(error), error)
            yield tag, result
            del result  # before the next is computed: results can be large

    def close(self) -> None:
        """Does nothing: there are no processes to stop."""
