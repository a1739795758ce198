"""Computes the units of a run and writes the files of effects; or writes them from finished shards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kipoi_mcdropout.effects.saturation import SequenceEffects
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files import effect_writers
from kipoi_mcdropout.files.group import OutputGroup, Writers
from kipoi_mcdropout.files.record import SequenceBlocks, SequenceRecord
from kipoi_mcdropout.runs.compute import Counts, Unit, check_not_all_failed, compute_units
from kipoi_mcdropout.runs.intervals import complete_by
from kipoi_mcdropout.runs.ism.assemble import EffectsAssembler
from kipoi_mcdropout.runs.ism.codec import IsmCodec, decode
from kipoi_mcdropout.runs.ism.paths import IsmPaths
from kipoi_mcdropout.runs.ism.units import Block
from kipoi_mcdropout.runs.merge import ShardedRun
from kipoi_mcdropout.runs.q_values import UnitQs, is_ranked
from kipoi_mcdropout.runs.schedule import Scheduler, Work
from kipoi_mcdropout.runs.schedule.work import OnError
from kipoi_mcdropout.runs.session import RunPlan, RunSession, absolute
from kipoi_mcdropout.runs.unit_file import StoredUnit

KIND = "ism"
OpenFiles = Callable[
    [OutputGroup, Sequence[Path], dict[str, Any]], AbstractContextManager[Writers[SequenceBlocks]]
]


@dataclass
class IsmRun:
    """What a run did."""

    n_sequences: int = 0  # of this run, or of the shard
    failed: list[dict[str, Any]] = field(default_factory=list)  # sequence, name, reason
    nothing_left: bool = False  # the run that was to be resumed was complete


def run_ism(
    units: Iterable[Unit[Block, Any]],
    work: Work[Any, SequenceEffects],
    scheduler: Scheduler,
    paths: IsmPaths,
    record: dict[str, Any],
    *,
    on_error: OnError = "stop",
    done: Callable[[SequenceRecord, bool], None] = lambda _record, _first: None,
    open_files: OpenFiles = effect_writers,
) -> IsmRun:
    """Mutate every sequence and write its effects.

    Parameters
    ----------
    units : iterable of Unit
        From `units.ism_units`.
    work : Work
        Computes a `BlockTask`, or what else the units load.
    scheduler : Scheduler
    paths : IsmPaths
    record : dict
        Provenance.
    on_error : "stop" or "skip"
        What is done about a sequence on which the model fails: "stop" raises, "skip" leaves it out and
        names it in `paths.failed`.
    done : callable
        Called with each block that is finished, and whether it is the first of its sequence.
    open_files : callable
        Opens the outputs; see `files.effect_writers`.

    Returns
    -------
    IsmRun

    Raises
    ------
    UnitFailedError
        If the model could not be run on a sequence and `on_error` is "stop", or it could be run on no
        sequence. An error of this package keeps its own class.
    InputError
        If the run that is to be resumed is damaged, or had other inputs or options.
    """
    from kipoi_mcdropout.files.read import read_provenance

    with RunSession(_plan(paths, record), read_provenance) as session:
        if session.nothing_left:
            return IsmRun(nothing_left=True)
        counts = Counts()

        def stored() -> Iterator[tuple[int, StoredUnit]]:
            pairs = compute_units(session, units, work, scheduler, IsmCodec(), on_error, counts)
            for unit, result in pairs:
                if result.failed is None:
                    done(decode(result), unit.item.number == 0)
                yield unit.number, result
                del result  # before the next is computed: results can be large

        store = session.store
        assembler = _assemble(
            session, paths, stored(), lambda n: store.load(n, None), store.release, open_files
        )
        session.finish(counts.total, counts.failed, _obsolete(paths, assembler))
    return IsmRun(len(assembler.sequences), list(assembler.failed.values()))


def merge_ism(shards: ShardedRun, overwrite: bool = False) -> IsmRun:
    """Write the outputs that the run without shards would have written.

    Raises
    ------
    InputError
        If the file of a unit is missing or damaged.
    UnitFailedError
        If every sequence failed.
    """
    state = shards.state
    if state.kind != KIND:
        raise InputError(f"the shards must be of {KIND}; they are of {state.kind}")
    paths = IsmPaths(tuple(Path(path) for path in state.outputs["files"]), overwrite)
    counts = Counts()

    def stored() -> Iterator[tuple[int, StoredUnit]]:
        for number in range(shards.n_units):
            unit = shards.load(number)
            counts.add(unit)
            yield number, unit
        check_not_all_failed(counts)

    with RunSession(_plan(paths, state.record, completes=True)) as session:
        if session.nothing_left:
            return IsmRun(nothing_left=True)
        assembler = _assemble(session, paths, stored(), shards.load)
        session.finish(shards.n_units, counts.failed, _obsolete(paths, assembler))
    return IsmRun(len(assembler.sequences), list(assembler.failed.values()))


def _plan(paths: IsmPaths, record: dict[str, Any], completes: bool = False) -> RunPlan:
    """The run for its session; `completes` where shards that are finished are merged."""
    return RunPlan(
        KIND, record, paths.outputs, {"files": absolute(paths.outputs)}, paths.overwrite,
        paths.resume or completes, paths.shard, resumable=paths.first is not None,
    )  # fmt: skip


def _assemble(
    session: RunSession,
    paths: IsmPaths,
    stored: Iterable[tuple[int, StoredUnit]],
    load: Callable[[int], StoredUnit],
    release: Callable[[int], None] = lambda _number: None,
    open_files: OpenFiles = effect_writers,
) -> EffectsAssembler:
    """Write all units to the outputs, and the table of failures; a shard only counts its units."""
    if paths.shard is not None:
        assembler = EffectsAssembler(None, load)
        assembler.add_all(stored)
        return assembler
    q_values = UnitQs() if is_ranked(session.record) else None
    if q_values is not None:
        stored = q_values.after_all(stored, load)
    with open_files(session.group, paths.outputs, session.record) as writers:
        complete = complete_by(session.record)
        assembler = EffectsAssembler(writers, load, release, q_values, complete)
        assembler.add_all(stored)
    assembler.write_failures(session.group, paths.failed)
    return assembler


def _obsolete(paths: IsmPaths, assembler: EffectsAssembler) -> list[Path]:
    """The table of failures of an earlier run, where the outputs replace its outputs."""
    return [paths.failed] if paths.failed and paths.overwrite and not assembler.failed else []
