"""Errors that a user can meet, and the exit codes of the command line.

Every error says what was required, what came, and what to do next.
"""

from __future__ import annotations

import errno

EXIT_OK = 0
EXIT_FAILURE = 1  # an unexpected error: a traceback is shown
EXIT_BAD_INPUT = 2  # wrong arguments, model, or data; nothing was written
EXIT_STRICT = 3  # nothing was scored, or --strict was asked for and something was skipped
EXIT_PIPE_CLOSED = 141  # whoever read our standard output has stopped, as `head` does
EXIT_SIGNAL = 128  # and the signal's number, as shells report it: 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP


class McDropoutError(ValueError):
    """Base of all errors raised on purpose by this package (exit code 2)."""

    stops_the_run = False  # where True, going on with other data (--on_error skip) would be wrong


class ModelError(McDropoutError):
    """The model cannot be run under locked dropout masks."""


class NoRandomSiteError(ModelError):
    """Nothing in the model is random, so there is no uncertainty to compute."""


class UnlockableDropoutError(ModelError):
    """A dropout of the model cannot be locked; the message names it."""


class BatchDependenceError(ModelError):
    """The outputs for an input depend on the other inputs in the batch."""

    stops_the_run = True


class InputError(McDropoutError):
    """The data given to the model is not what the method needs."""


class InputWarning(UserWarning):
    """The data are used, but you must know something about them before you use the results."""


class TargetError(McDropoutError):
    """There is no model output of this name."""


class OutputError(McDropoutError):
    """An output file cannot be written."""


class NonFiniteOutputError(ModelError):
    """The model returned NaN or infinite values for the reference sequence."""


# Errors of the system that say that a path given is wrong; other OSErrors are failures of the machine.
WRONG_PATH = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)


def is_machine_failure(error: BaseException) -> bool:
    """Whether the machine failed (exit code 1), for example by a full disk, and not the input."""
    if isinstance(error, OSError):
        return error.errno is not None and not isinstance(error, WRONG_PATH) and error.errno in _FAILURES
    return isinstance(error, MemoryError)


_FAILURES = tuple(
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EIO", "EMFILE", "ENFILE", "ENOMEM", "ESTALE")
    if hasattr(errno, name)
)


class UnitFailedError(RuntimeError):
    """A unit could not be computed, in this process or by any worker, and the run stops (exit code 1).

    The finished part is kept, for `--resume`.
    """


KEPT = "No output was written. The finished part is kept: run the same command with --resume"
NOTHING_KEPT = "No output was written"


def kept_words(error: BaseException) -> str:
    """A sentence on what is left of a run that an error has stopped; the run adds it to the error."""
    return getattr(error, "kept_words", NOTHING_KEPT)


class ModelForwardError(RuntimeError):
    """The model's own code raised an error in its forward pass; it is named with the line of code.

    On the command line: exit code 2, or a `UnitFailedError` once units are being computed.
    """
