"""Turns lack of memory in a model's forward pass into an error of one line."""

from __future__ import annotations

from collections.abc import Callable

import torch

from kipoi_mcdropout.arrays.nested import Nested, n_rows
from kipoi_mcdropout.errors import UnitFailedError

_WORDS = ("DefaultCPUAllocator", "not enough memory", "can't allocate memory", "out of memory")


class ModelMemoryError(UnitFailedError, torch.OutOfMemoryError):
    """There is not enough memory for a forward pass of the model (exit code 1)."""


def name_memory(call: Callable[[Nested], Nested]) -> Callable[[Nested], Nested]:
    """`call`, with torch's errors about memory as ours."""

    def named(inputs: Nested) -> Nested:
        try:
            return call(inputs)
        except ModelMemoryError:
            raise
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise ModelMemoryError(_words(n_rows(inputs), error)) from error

    return named


def _words(n: int, error: BaseException) -> str:
    reason = " ".join(str(error).split()) or type(error).__name__
    if n == 1:
        return (
            f"there was not enough memory to run the model on one input; use a larger machine ({reason})"
        )
    return (
        f"there was not enough memory to run the model on {n} inputs at a time; lower the batch size "
        f"(--batch_size), or use a larger machine ({reason})"
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory has run out; torch raises a plain RuntimeError for it on the CPU."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)
