"""Ctrl-C, and the signals with which job systems and closed terminals stop a command."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from kipoi_mcdropout.files.held_signals import SIGNALS

_came: int | None = None
_is_running = False  # a command


@contextlib.contextmanager
def interrupts() -> Iterator[None]:
    """Turn the signals into KeyboardInterrupt while a command runs, and remember them.

    Python drops a KeyboardInterrupt that is raised inside a callback of the garbage collector, so it is
    raised again by the next `raise_if_interrupted`. Signals that are ignored (as under nohup), or
    handled by somebody else, are left alone.
    """
    global _came, _is_running
    _came = None
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual: tuple[Any, ...] = (signal.default_int_handler, signal.SIG_DFL)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    mine = {number: handler for number, handler in before.items() if handler in usual}
    for number in mine:
        signal.signal(number, _remember)
    try:
        _is_running = True
        yield
    finally:
        _is_running = False
        for number, handler in mine.items():
            signal.signal(number, handler)


def raise_if_interrupted() -> None:
    """Raise KeyboardInterrupt if a signal has come; long runs call this between units and as they wait.

    Does nothing outside `interrupts`.
    """
    if _is_running and _came is not None:
        raise KeyboardInterrupt


def signal_that_came() -> int:
    """Number of the signal that stopped the command; the number of Ctrl-C if no signal was recorded."""
    return int(signal.SIGINT) if _came is None else _came


def _remember(number: int, _frame: FrameType | None) -> None:
    global _came
    _came = number
    raise KeyboardInterrupt
