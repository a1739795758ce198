"""From batches of a dataloader to files of effects, one sequence after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from kipoi_mcdropout.errors import InputError, McDropoutError, OutputError, UnitFailedError
from kipoi_mcdropout.ism_run.spool import NoSpool, Spool, inputs_digest
from kipoi_mcdropout.nested import Nested, n_rows, take
from kipoi_mcdropout.saturation import SequenceEffects
from kipoi_mcdropout.schedule import Failure, Scheduler, Shard, Work
from kipoi_mcdropout.schedule.work import OnError
from kipoi_mcdropout.writers import SUFFIXES, effect_files
from kipoi_mcdropout.writers.atomic import (
    STDOUT,
    check_free,
    check_outputs,
    make_folder_beside,
    write_tsv,
)
from kipoi_mcdropout.writers.journal import fingerprint
from kipoi_mcdropout.writers.record import (
    SequenceRecord,
    metadata_rows,
    range_of,
    sequence_name,
)
from kipoi_mcdropout.writers.shards import shard_folder, write_run

KIND = "ism"
FAILED_SUFFIX = ".failed.tsv"


@dataclass(frozen=True)
class IsmPaths:
    """The outputs of a run, or of which it is a shard."""

    outputs: tuple[Path, ...]
    overwrite: bool = False
    shard: Shard | None = None

    @classmethod
    def check(
        cls, outputs: Sequence[str | Path], overwrite: bool, shard: Shard | None = None
    ) -> IsmPaths:
        """Paths that can be made; else OutputError."""
        paths = cls(tuple(check_outputs(outputs, SUFFIXES)), overwrite, shard)
        check_free(paths.outputs, overwrite)
        if shard is not None and STDOUT in map(str, paths.outputs):
            raise OutputError("a shard needs files, not standard output; give names with -o")
        return paths

    @property
    def first(self) -> Path | None:
        """The first output that is a file."""
        return next((path for path in self.outputs if str(path) != STDOUT), None)

    def spool_folder(self) -> Path | None:
        """The folder of finished sequences, made if it is not there; OutputError where it cannot be.

        None where there is no output beside which it could be.
        """
        if self.first is None:
            return None
        if self.shard is not None:
            return shard_folder(self.first, self.shard)
        return make_folder_beside(self.first, f".{self.first.name}.spool")

    @property
    def failed(self) -> Path | None:
        """The table of the sequences that could not be computed, if there are any."""
        return self.first and self.first.with_name(self.first.name + FAILED_SUFFIX)


@dataclass
class IsmRun:
    """What a run did."""

    n_sequences: int = 0  # of this run, or of the shard
    failed: list[dict[str, Any]] = field(default_factory=list)  # sequence, name, reason


@dataclass(frozen=True)
class _Item:
    """One sequence on its way."""

    index: int
    metadata: dict[str, Any]
    digest: str


def run_ism(
    batches: Iterable[dict[str, Any]],
    work: Work[Nested, SequenceEffects],
    scheduler: Scheduler,
    paths: IsmPaths,
    record: dict[str, Any],
    *,
    resume: bool = False,
    on_error: OnError = "stop",
    done: Callable[[SequenceRecord], None] = lambda record: None,
) -> IsmRun:
    """Mutate every sequence and write its effects.

    Parameters
    ----------
    batches : iterable of dict
        As Kipoi's dataloaders give them.
    work : Work
        From the inputs of one sequence to its effects.
    scheduler : Scheduler
    paths : IsmPaths
    record : dict
        Provenance.
    resume : bool
        Take finished sequences from where a run that was stopped has left them.
    on_error : "stop" or "skip"
        What is done about a sequence with which the model fails: "skip" names it in `paths.failed`.
    done : callable
        Called with each sequence that is finished.

    Returns
    -------
    IsmRun

    Raises
    ------
    UnitFailedError
        If the model could not be run on a sequence, under `on_error="stop"`; the same for errors of
        this package, by their own class.
    InputError
        If what is to be resumed was begun with other inputs or options.
    """
    folder = paths.spool_folder()
    if folder is None and resume:
        raise InputError("a run to standard output alone cannot be resumed; give a file with -o")
    spool = NoSpool() if folder is None else Spool(folder, fingerprint(record), resume)
    run = IsmRun()
    total = 0

    def units() -> Iterator[tuple[_Item, Nested | None]]:
        nonlocal total
        for inputs, metadata in _sequences(batches):
            index, total = total, total + 1
            if paths.shard is None or paths.shard.has(index):
                item = _Item(index, metadata, inputs_digest(inputs))
                yield item, None if spool.has(index) else inputs

    with ExitStack() as stack:
        stack.push(_remove_if_empty(spool))
        files = None
        if paths.shard is None:
            files = stack.enter_context(effect_files(paths.outputs, record, paths.overwrite))
        elif folder is not None:
            write_run(folder, KIND, paths.shard, record, {"files": _absolute(paths.outputs)})
        for item, result in scheduler.run(work, units()):
            run.n_sequences += 1
            if isinstance(result, Failure):
                if on_error == "stop":
                    raise _failed(item, result)
                run.failed.append(_failure_row(item, result))
                spool.save_failure(run.failed[-1])
                continue
            if result is None:
                sequence = spool.load(item.index, item.digest)
            else:
                sequence = SequenceRecord(item.index, result, item.metadata, range_of(item.metadata))
                spool.save(sequence, item.digest)
            if files is not None:
                files.write(sequence)
            done(sequence)
    if paths.shard is not None:
        spool.complete(total)
    else:
        spool.remove()
        write_failures(paths, run.failed)
    return run


def write_failures(paths: IsmPaths, failed: list[dict[str, Any]]) -> None:
    """Name the sequences that could not be computed in a table beside the outputs, if there are any."""
    if paths.failed is None:
        return
    if failed:
        write_tsv(pd.DataFrame(failed), paths.failed, overwrite=True)
    elif paths.overwrite:
        paths.failed.unlink(missing_ok=True)  # of an earlier run


def _sequences(batches: Iterable[dict[str, Any]]) -> Iterator[tuple[Nested, dict[str, Any]]]:
    """Inputs and metadata of each sequence."""
    for batch in batches:
        n = n_rows(batch["inputs"])
        for i, metadata in enumerate(metadata_rows(batch, n)):
            yield take(batch["inputs"], slice(i, i + 1)), metadata


def _failure_row(item: _Item, failure: Failure) -> dict[str, Any]:
    name = sequence_name(item.metadata, item.index)
    return {"sequence": item.index, "name": name, "reason": failure.reason}


def _failed(item: _Item, failure: Failure) -> Exception:
    """The error that stops the run, with the sequence."""
    name = _failure_row(item, failure)["name"]
    text = f"sequence {item.index} ({name}): {failure.reason}"
    hint = "Give --on_error skip to go on without it"
    if isinstance(failure.error, McDropoutError):
        error: Exception = type(failure.error)(f"{text.rstrip('.')}. {hint}")
    else:
        error = UnitFailedError(f"{text.rstrip('.')}. {hint}")
    error.__cause__ = failure.error
    return error


def _absolute(paths: Iterable[Path]) -> list[str]:
    return [str(path.absolute()) for path in paths]


def _remove_if_empty(spool: Spool | NoSpool) -> Callable[..., None]:
    """A run that fails before anything was done leaves nothing."""

    def leave(kind: object, error: object, traceback: object) -> None:
        if kind is not None and spool.is_empty():
            spool.remove()

    return leave
