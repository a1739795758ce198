"""From a chunk of records to what the outputs say of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from kipoi_mcdropout.effects import EffectOptions, EffectSummary, summarize_effects
from kipoi_mcdropout.engine import Engine
from kipoi_mcdropout.errors import McDropoutError, UnitFailedError
from kipoi_mcdropout.forward import LockedModel, MaskBank
from kipoi_mcdropout.incremental.choose import make_engine
from kipoi_mcdropout.model_reference import ModelReference
from kipoi_mcdropout.outputs import Targets
from kipoi_mcdropout.schedule import Failure, Scheduler, Work
from kipoi_mcdropout.schedule.work import OnError
from kipoi_mcdropout.vcf.annotate import Annotator, field_cells
from kipoi_mcdropout.vcf.chunks import AlleleWindows, Chunk, owners, to_batch
from kipoi_mcdropout.vcf.run_outputs import RunOutputs
from kipoi_mcdropout.vcf.sequence_model import SequenceModel, sequence_model
from kipoi_mcdropout.vcf.table import rows
from kipoi_mcdropout.vcf.views import ViewAverage

MakeEngine = Callable[[LockedModel, MaskBank, int], Engine]  # model, masks, batch_size
Summaries = list[EffectSummary]


@dataclass(frozen=True)
class EngineChoice:
    """How alleles are computed; see `incremental.make_engine`."""

    engine: str | MakeEngine
    batch_size: int
    memory_bytes: int
    verify: bool

    def make(self, model: LockedModel, masks: MaskBank) -> Engine:
        """The engine for a model."""
        if callable(self.engine):
            return self.engine(model, masks, self.batch_size)
        return make_engine(
            model, masks, self.batch_size, self.engine, self.memory_bytes, self.verify
        )


@dataclass(frozen=True)
class VariantWork:
    """The computation of a run, with a model that is borrowed here."""

    model: SequenceModel
    targets: Targets
    effects: EffectOptions
    engine: Engine
    rc: bool

    def __call__(self, windows: AlleleWindows) -> Summaries:
        """Run the model on some alleles.

        Raises
        ------
        NonFiniteOutputError
            If the model gives no number for a reference.
        """
        batch = to_batch(self.model, windows, self.rc)
        return summarize_effects(self.engine, batch, self.targets, self.effects)


@dataclass(frozen=True)
class VariantJob:
    """All that another process needs to do the same with its own copy of the model."""

    model: ModelReference
    layout: dict[str, Any]  # arguments of `sequence_model`
    targets: Targets
    effects: EffectOptions
    seed: int
    engine: EngineChoice
    rc: bool

    def __call__(self) -> Callable[[AlleleWindows], Summaries]:
        """Load the model; the function borrows it for some alleles at a time."""
        sequences = sequence_model(self.model.load(), **self.layout)
        locked = sequences.adapter.locked
        engine = ViewAverage(self.engine.make(locked, MaskBank(self.seed)))
        work = VariantWork(sequences, self.targets, self.effects, engine, self.rc)

        def run(windows: AlleleWindows) -> Summaries:
            with locked.borrow():
                return work(windows)

        return run


@dataclass(frozen=True)
class ChunkWriter:
    """Turns the results of chunks into the lines and rows of the outputs."""

    annotator: Annotator
    labels: tuple[str, ...]
    quantiles: tuple[float, ...]
    on_error: OnError

    def write(self, chunk: Chunk, result: Summaries | Failure | None, outputs: RunOutputs) -> None:
        """Write the records of a chunk, and note that they are done.

        Raises
        ------
        UnitFailedError, McDropoutError
            If the chunk failed and failures are to stop the run.
        """
        if isinstance(result, Failure):
            if self.on_error == "stop":
                raise _failed(chunk, result)
            chunk, result = chunk.failed(result.reason), None
        cells: list[list[str]] = []
        if result is not None:
            owner = owners(chunk.scored)
            outputs.write_rows(rows(chunk.scored, owner, self.labels, result, self.quantiles))
            cells = field_cells(self.annotator.fields, result, owner)
        done = 0
        for record, outcomes in chunk.records:
            n = outputs.ledger.add(outcomes)
            mine = [texts[done : done + n] for texts in cells] if n else []
            outputs.write_record(record, outcomes, self.annotator.line(record, outcomes, mine))
            done += n
        outputs.checkpoint()


def score_chunks(
    scheduler: Scheduler, work: Work[AlleleWindows, Summaries], chunks: Iterable[Chunk]
) -> Iterator[tuple[Chunk, Summaries | Failure | None]]:
    """Results of chunks, in order; None for those that have nothing to score."""
    units = ((chunk, AlleleWindows.of(chunk.scored) if chunk.scored else None) for chunk in chunks)
    return scheduler.run(work, units)


def _failed(chunk: Chunk, failure: Failure) -> Exception:
    """The error that stops the run, with the place."""
    reason = failure.reason.rstrip(".")
    text = f"{reason}. The batch has {chunk.place}. Give --on_error skip to go on without it"
    if isinstance(failure.error, McDropoutError):
        error: Exception = type(failure.error)(text)
    else:
        error = UnitFailedError(text)
    error.__cause__ = failure.error
    return error
