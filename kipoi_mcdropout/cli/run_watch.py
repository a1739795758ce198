"""Says on stderr how a run of ISM, or of a background, goes on."""

from __future__ import annotations

from typing import Any


def run_watch(n_sequences: int | None, here: bool) -> Any:
    """Follows a run; `here` where it is computed in this process."""
    from kipoi_mcdropout.cli.messages import mention_engine, say, warn
    from kipoi_mcdropout.cli.session import Progress
    from kipoi_mcdropout.runs.interrupt import raise_if_interrupted
    from kipoi_mcdropout.runs.ism.watch import Watch

    class Spoken(Watch):
        def __init__(self) -> None:
            super().__init__(warn)
            self.bar = Progress(n_sequences)

        def began(self, choice: Any, notes: Any) -> None:
            mention_engine(choice)
            for note in notes:
                say(f"note: {note}")

        def forwards(self, done: int, total: int) -> None:
            self.bar.update(done, total)

        def finished(self, record: Any, first: bool) -> None:
            raise_if_interrupted()
            super().finished(record, first)
            if not here:
                self.bar.sequence(record.effects)

        def close(self) -> None:
            self.bar.close()

    return Spoken()
