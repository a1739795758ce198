"""Messages of the commands on stderr, and their level of detail; standard output is for results."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
import traceback
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kipoi_mcdropout.errors import InputWarning

if TYPE_CHECKING:
    from kipoi_mcdropout.engine import Choice

_QUIET, _NORMAL, _VERBOSE = 0, 1, 2
_level = _NORMAL


def add_message_arguments(parser: argparse._ArgumentGroup) -> None:
    """--quiet and --verbose, which every command has."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "-q", "--quiet", action="store_true", help="print only warnings and errors, and no progress bar"
    )
    group.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="also print how the results are computed, and tracebacks of errors",
    )


def set_level(options: argparse.Namespace) -> None:
    """From parsed arguments."""
    global _level
    _level = _QUIET if options.quiet else _VERBOSE if options.verbose else _NORMAL
    # Kipoi logs each file that it reads, which is not useful; it reports problems as warnings.
    logging.getLogger("kipoi").setLevel(logging.INFO if _level == _VERBOSE else logging.WARNING)


def say(message: str) -> None:
    """A line for the user."""
    if _level >= _NORMAL:
        _print(message)


def warn(message: str) -> None:
    """Print a warning, also with --quiet."""
    _print(message)


def detail(message: str) -> None:
    """Print a line with --verbose only."""
    if _level >= _VERBOSE:
        _print(message)


def mention_engine(choice: Choice | None) -> None:
    """Print the chosen engine with --verbose; print a warning if an engine failed."""
    if choice is not None:
        (warn if choice.problem else detail)(f"engine: {choice}")


def show_traceback() -> None:
    """Print the traceback of the current error with --verbose."""
    if _level >= _VERBOSE:
        traceback.print_exc(file=sys.stderr)


@contextlib.contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Show each InputWarning of the library as one line of ours; other warnings as Python shows them."""
    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.simplefilter("always", InputWarning)
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *args: Any, **kwargs: Any) -> None:
            if issubclass(category, InputWarning):
                warn(f"warning: {message}")
            else:
                others(message, category, *args, **kwargs)

        warnings.showwarning = show
        yield


def bar_is_off() -> bool | None:
    """Value of tqdm's `disable`; with None, tqdm shows a bar only on a terminal."""
    return True if _level == _QUIET else None


def _print(message: str) -> None:
    print(f"kipoi_mcdropout: {message}", file=sys.stderr)
