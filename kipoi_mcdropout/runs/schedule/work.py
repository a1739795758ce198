"""The work of a scheduler, and its results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

from kipoi_mcdropout.errors import InputError, McDropoutError, ModelForwardError

Unit = TypeVar("Unit")
Result = TypeVar("Result")
Tag = TypeVar("Tag")
OnError = Literal["stop", "skip"]


@dataclass(frozen=True)
class Work(Generic[Unit, Result]):
    """A function of units, for this process and for others.

    Attributes
    ----------
    here : callable
        Unit to result, with what is loaded in this process.
    elsewhere : callable, optional
        Picklable, without arguments: makes the same function in another process, once for all its
        units. None where it is not needed.
    """

    here: Callable[[Unit], Result]
    elsewhere: Callable[[], Callable[[Unit], Result]] | None = None


@dataclass(frozen=True)
class Failure:
    """A unit that could not be computed."""

    reason: str  # one line
    error: BaseException | None = None  # where it happened in this process


class Scheduler(Protocol):
    """Computes units and gives their results in the order of the units."""

    def run(
        self, work: Work[Unit, Result], units: Iterable[tuple[Tag, Unit | None]]
    ) -> Iterator[tuple[Tag, Result | Failure | None]]:
        """Results of units, each with its tag, which stays in this process.

        A unit that is None needs no work; its result is None, in its place.
        """
        ...

    def close(self) -> None:
        """Stop the processes that were started."""
        ...


def one_line(error: BaseException) -> str:
    """An error in a line: its type, unless it is one of ours, and what it says."""
    ours = (McDropoutError, ModelForwardError)
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, ours) else f"{type(error).__name__}: {text}"


def check_on_error(on_error: Any) -> None:
    """Raise InputError unless it is "stop" or "skip"."""
    if on_error not in ("stop", "skip"):
        raise InputError(f'on_error must be "stop" or "skip"; got {on_error!r}')
