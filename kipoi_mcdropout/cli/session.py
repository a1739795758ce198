"""Progress of a command, and errors of code that is not ours."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from kipoi_mcdropout.cli.messages import bar_is_off
from kipoi_mcdropout.errors import InputError, is_machine_failure


class Progress:
    """A progress bar on stderr with the time left; silent where stderr is no terminal."""

    def __init__(self, n_sequences: int | None) -> None:
        from tqdm import tqdm

        self._n_sequences = n_sequences
        self._bar = tqdm(unit="forward", unit_scale=True, disable=bar_is_off(), file=sys.stderr)

    def update(self, done: int, per_sequence: int) -> None:
        """Add (mutant, draw) pairs; each sequence is taken to need as many as this one."""
        if self._n_sequences is not None and self._bar.total is None:
            self._bar.total = self._n_sequences * per_sequence
        self._bar.update(done)

    def sequence(self, effects: Any) -> None:
        """Add a sequence that was computed elsewhere."""
        n = len(effects.substitutions.position) * (effects.summaries[0].n_draws + 1)
        self.update(n, n)

    def close(self) -> None:
        """Remove the bar's claim on the line."""
        self._bar.close()


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn errors of Kipoi and of the user's model or dataloader into ours, with `what` in front."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except (Exception, SystemExit) as error:  # anything can come from code that is not ours
        if is_machine_failure(error):
            raise
        detail = " ".join(str(error).split()) or type(error).__name__
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
        raise InputError(f"{what}: {kind}{detail}") from error
