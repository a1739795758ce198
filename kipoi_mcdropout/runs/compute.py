"""Units in order: each computed by a scheduler, or taken from the store of a run that was stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from kipoi_mcdropout.errors import McDropoutError, UnitFailedError
from kipoi_mcdropout.runs.schedule import Failure, Scheduler, Work
from kipoi_mcdropout.runs.schedule.work import OnError
from kipoi_mcdropout.runs.session import RunSession
from kipoi_mcdropout.runs.unit_file import StoredUnit

Item = TypeVar("Item")
Load = TypeVar("Load")
Result = TypeVar("Result")
Kept = TypeVar("Kept", contravariant=True)
Computed = TypeVar("Computed", contravariant=True)


@dataclass(frozen=True)
class Unit(Generic[Item, Load]):
    """A piece of a run that is computed, kept and resumed as a whole.

    Attributes
    ----------
    number : int
        In the whole run, from 0, also where this run is a shard.
    inputs : str
        Digest of all that the unit is made from.
    item : Any
        What is needed to keep the result and to name the unit in messages; it stays in this process.
    load : callable
        Makes what the scheduler is given; None where there is nothing to compute.
    """

    number: int
    inputs: str
    item: Item
    load: Callable[[], Load | None]


class Codec(Protocol[Kept, Computed]):
    """Turns results into plain values for the store, and says what a unit is called."""

    def encode(self, item: Kept, result: Computed | Failure | None, /) -> StoredUnit:
        """The result of a unit; None where there was nothing to compute."""
        ...

    def name(self, item: Kept, /) -> str:
        """For messages, such as "sequence 4 (region4)"."""
        ...


@dataclass
class Counts:
    """Counts of the units of this run."""

    total: int = 0  # of the whole run
    good: int = 0  # with a result
    failed: int = 0
    first_failure: Failure | None = None

    def add(self, stored: StoredUnit, result: Any = None) -> None:
        """Count a unit; `result` is what the scheduler gave, where it was computed just now."""
        if stored.failed is not None:
            self.failed += 1
            if self.first_failure is None:
                self.first_failure = result if isinstance(result, Failure) else Failure(stored.failed)
        elif not stored.empty:
            self.good += 1


def compute_units(
    session: RunSession,
    units: Iterable[Unit[Item, Load]],
    work: Work[Load, Result],
    scheduler: Scheduler,
    codec: Codec[Item, Result],
    on_error: OnError,
    counts: Counts,
) -> Iterator[tuple[Unit[Item, Load], StoredUnit]]:
    """Compute the units of a run or shard that are not there yet, keep them, and give all in order.

    Parameters
    ----------
    on_error : "stop" or "skip"
        Whether a unit that cannot be computed stops the run, or is kept as failed.
    counts : Counts
        Is kept up to date.

    Raises
    ------
    UnitFailedError, McDropoutError
        If a unit failed and failures are to stop the run, or if every unit failed.
    DamagedUnitError
        If a unit that was kept is damaged.
    """
    store, shard = session.store, session.plan.shard

    def turns() -> Iterator[tuple[tuple[Unit[Item, Load], bool], Load | None]]:
        for unit in units:
            counts.total += 1
            if shard is None or shard.has(unit.number):
                kept = store.has(unit.number)
                yield (unit, kept), None if kept else unit.load()

    for (unit, kept), result in scheduler.run(work, turns()):
        if kept:
            stored = store.load(unit.number, unit.inputs)
        else:
            if isinstance(result, Failure) and on_error == "stop":
                raise unit_error(codec.name(unit.item), result, counts.good > 0)
            stored = codec.encode(unit.item, result)
            store.save(unit.number, unit.inputs, stored)
        counts.add(stored, result)
        del result  # before the next is computed: results can be large
        yield unit, stored
        del stored
    if shard is None:
        check_not_all_failed(counts)


def check_not_all_failed(counts: Counts) -> None:
    """Raise if no unit has a result: the reason is then none of single units."""
    failure = counts.first_failure
    if failure is None or counts.good:
        return
    reason = failure.reason.rstrip(".")
    text = f"all {counts.failed} units failed, so there is no result. The first: {reason}"
    raise _same_kind(failure, text)


def unit_error(name: str, failure: Failure, others_succeed: bool) -> Exception:
    """The error that stops a run at a unit; skipping is advised only where other units went well."""
    hint = ". Use --on_error skip to continue without it" if others_succeed else ""
    return _same_kind(failure, f"{name}: {failure.reason.rstrip('.')}{hint}")


def _same_kind(failure: Failure, text: str) -> Exception:
    error: Exception
    if isinstance(failure.error, McDropoutError):
        error = type(failure.error)(text)
    else:
        error = UnitFailedError(text)
    error.__cause__ = failure.error
    return error
