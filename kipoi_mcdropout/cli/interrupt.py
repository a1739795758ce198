"""Ctrl-C, also where Python loses it."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_came = False


@contextlib.contextmanager
def interrupts() -> Iterator[None]:
    """Remember SIGINT while a command runs.

    Python drops a KeyboardInterrupt that is raised inside a callback of the garbage collector, so it is
    raised again by the next `raise_if_interrupted`.
    """
    global _came
    _came = False
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # ignored, or somebody else's business
        yield
        return
    signal.signal(signal.SIGINT, _remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def raise_if_interrupted() -> None:
    """Raise KeyboardInterrupt if Ctrl-C has come; long runs call this between their units."""
    if _came:
        raise KeyboardInterrupt


def _remember(number: int, frame: FrameType | None) -> None:
    global _came
    _came = True
    raise KeyboardInterrupt
