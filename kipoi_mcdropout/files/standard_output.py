"""Keeps everything but results away from standard output.

Kipoi logs to standard output, and models, dataloaders and C libraries print there. While a command runs
(`reserve`) all of that goes to standard error; only `results()` reaches standard output.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TextIO

from kipoi_mcdropout.errors import OutputError

_STDOUT, _STDERR = 1, 2  # file descriptors
_results: TextIO | None = None
_closed: TextIO | None = None  # stands in for a standard output that was closed


def results() -> TextIO:
    """The text stream on which results leave; `.buffer` is its binary stream.

    Raises
    ------
    OutputError
        If the program was started with standard output closed.
    """
    stream = sys.stdout if _results is None else _results
    if stream is None or stream is _closed:
        raise OutputError("standard output is closed; give the name of a file with -o")
    return stream


def flush() -> None:
    """Flush the results, so that an error of the reader is raised now."""
    if _results is not None and _results is not _closed:
        _results.flush()


@contextlib.contextmanager
def reserve() -> Iterator[None]:
    """Send everything that is printed to standard error, but for `results()`.

    Standard streams that are closed (`2>&-`) are opened on the null device first: what would be printed
    is lost, and no file of the run gets the descriptor of a stream.
    """
    global _results
    if _results is not None:  # a command that runs inside another
        yield
        return
    fill_closed_streams()
    stdout = sys.stdout
    with contextlib.ExitStack() as stack:
        if stdout is _closed or not _is_descriptor(stdout, _STDOUT):
            _results = stdout
        else:
            _results = stack.enter_context(_moved(stdout))
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        try:
            yield
        finally:
            _results = None


def fill_closed_streams() -> None:
    """Open each closed standard stream on the null device."""
    global _closed
    for descriptor in (0, _STDOUT, _STDERR):
        try:
            os.fstat(descriptor)
        except OSError:  # the lowest free descriptor is the one that is given out
            os.open(os.devnull, os.O_RDWR)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = _closed = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def _is_descriptor(stream: TextIO, descriptor: int) -> bool:
    try:
        return stream.fileno() == descriptor
    except (OSError, ValueError):  # in memory, as in a test or a notebook
        return False


@contextlib.contextmanager
def _moved(stdout: TextIO) -> Iterator[TextIO]:
    """The standard output on a descriptor of its own; its old descriptor leads to standard error."""
    stdout.flush()
    kept = os.dup(_STDOUT)
    os.dup2(_STDERR, _STDOUT)
    text = {"encoding": "utf-8", "errors": "surrogateescape", "newline": "\n"}
    stream = open(kept, "w", closefd=False, **text)  # type: ignore[call-overload]  # noqa: SIM115
    try:
        yield stream
    finally:
        with contextlib.suppress(OSError):
            stdout.flush()  # what was printed, to standard error
        with contextlib.suppress(OSError):  # nobody reads any more, or the disk is full: told before
            stream.close()
        os.dup2(kept, _STDOUT)
        os.close(kept)
