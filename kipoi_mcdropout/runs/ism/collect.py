"""A run of ISM whose effects stay in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from kipoi_mcdropout.effects.saturation import SequenceEffects
from kipoi_mcdropout.files.group import Writers
from kipoi_mcdropout.files.record import SequenceBlocks, SequenceRecord
from kipoi_mcdropout.runs.compute import Counts, Unit, check_not_all_failed, unit_error
from kipoi_mcdropout.runs.intervals import Complete
from kipoi_mcdropout.runs.ism.assemble import EffectsAssembler
from kipoi_mcdropout.runs.ism.codec import IsmCodec, decode
from kipoi_mcdropout.runs.ism.run import IsmRun
from kipoi_mcdropout.runs.ism.units import Block, BlockTask
from kipoi_mcdropout.runs.q_values import UnitQs
from kipoi_mcdropout.runs.schedule import Failure, Scheduler, Work
from kipoi_mcdropout.runs.schedule.work import OnError
from kipoi_mcdropout.runs.unit_file import StoredUnit


class _Kept:
    """Keeps what a writer would write."""

    def __init__(self) -> None:
        self.sequences: list[SequenceBlocks] = []

    def write(self, sequence: SequenceBlocks) -> None:
        """Keep a sequence."""
        self.sequences.append(sequence)

    def close(self) -> None:
        """There is nothing to close."""


def collect_ism(
    units: Iterable[Unit[Block, BlockTask]],
    work: Work[BlockTask, SequenceEffects],
    scheduler: Scheduler,
    on_error: OnError,
    done: Callable[[SequenceRecord, bool], None],
    ranked: bool = False,
    complete: Complete = lambda record: record,
) -> tuple[IsmRun, list[SequenceBlocks]]:
    """The effects of all sequences, with the numbers as the files hold them.

    The arguments are those of `run.run_ism`, which writes files; `ranked` where the effects are compared
    with a background. `complete` adds to each block what else is not in the store.

    Raises
    ------
    UnitFailedError
        If the model could not be run on a sequence and `on_error` is "stop", or it could be run on no
        sequence. An error of this package keeps its own class.
    """
    codec, counts, kept = IsmCodec(), Counts(), _Kept()
    stored: dict[int, StoredUnit] = {}

    def computed() -> Iterator[tuple[int, StoredUnit]]:
        for unit, result in scheduler.run(work, ((unit, unit.load()) for unit in units)):
            if isinstance(result, Failure) and on_error == "stop":
                raise unit_error(codec.name(unit.item), result, False)
            stored[unit.number] = codec.encode(unit.item, result)
            counts.add(stored[unit.number], result)
            if stored[unit.number].failed is None:
                done(decode(stored[unit.number]), unit.item.number == 0)
            yield unit.number, stored[unit.number]

    writers: Writers[SequenceBlocks] = Writers()
    writers.add(kept)
    q_values = UnitQs() if ranked else None
    units_done = computed() if q_values is None else q_values.after_all(computed(), stored.__getitem__)
    assembler = EffectsAssembler(
        writers, stored.__getitem__, q_values=q_values, complete=complete
    )
    assembler.add_all(units_done)
    check_not_all_failed(counts)
    return IsmRun(len(assembler.sequences), list(assembler.failed.values())), kept.sequences
