"""Score every allele of a VCF into files: the one way for Python and for commands."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kipoi_mcdropout.arrays.outputs import Targets, as_targets
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.engine import Choice
from kipoi_mcdropout.errors import InputError, InputWarning, OutputError, TargetError
from kipoi_mcdropout.files.same_file import check_not_inputs
from kipoi_mcdropout.model.model import Model
from kipoi_mcdropout.model.reference import ModelReference
from kipoi_mcdropout.model.sequence_model import SequenceModel
from kipoi_mcdropout.runs.options import RunOptions
from kipoi_mcdropout.runs.schedule import InProcess, Scheduler, Work
from kipoi_mcdropout.runs.session import without_shard
from kipoi_mcdropout.sequence.genome import Genome
from kipoi_mcdropout.vcf.options import VariantEffects
from kipoi_mcdropout.vcf.place.chunks import AlleleWindows, chunk_alleles, gather
from kipoi_mcdropout.vcf.place.contigs import ContigNames
from kipoi_mcdropout.vcf.place.placement import Placer
from kipoi_mcdropout.vcf.place.survey import Survey, survey_records
from kipoi_mcdropout.vcf.place.views import ViewAverage
from kipoi_mcdropout.vcf.read.input_stream import is_stream
from kipoi_mcdropout.vcf.read.reader import VcfReader
from kipoi_mcdropout.vcf.run import outputs_as_dict, run_variants
from kipoi_mcdropout.vcf.run_record import run_record
from kipoi_mcdropout.vcf.scoring import EngineChoice, VariantJob, VariantWork
from kipoi_mcdropout.vcf.units import Summaries, variant_units
from kipoi_mcdropout.vcf.write.annotate import MAX_FIELDS, InfoField, info_fields
from kipoi_mcdropout.vcf.write.assemble import VariantAssembler, VariantLayout
from kipoi_mcdropout.vcf.write.ledger import Ledger, SkippedAllelesError
from kipoi_mcdropout.vcf.write.output_paths import OutputPaths


@dataclass(frozen=True)
class VariantRun:
    """What a run did."""

    ledger: Ledger
    labels: tuple[str, ...]  # of the outputs that were scored
    provenance: dict[str, Any] = field(repr=False, default_factory=dict)
    engine: Choice | None = None
    nothing_left: bool = False  # the run that was to be resumed was complete; the ledger is empty
    notices: tuple[str, ...] = ()  # what must be known before the results are used


@dataclass(frozen=True)
class Told:
    """The command line, for the record; and what is called with the ledger after each chunk."""

    command: Sequence[str] | None = None
    progress: Callable[[Ledger], None] | None = None


def score_vcf(
    model: Model,
    vcf: str | Path,
    fasta: str | Path,
    paths: OutputPaths,
    wanted: VariantEffects,
    running: RunOptions,
    told: Told = Told(),  # noqa: B008 (it cannot be changed)
) -> VariantRun:
    """Score every ALT allele of every record of a VCF, or say why not; see `call.score_variants`.

    Parameters
    ----------
    paths : OutputPaths
        From `OutputPaths.check`.

    Raises
    ------
    SkippedAllelesError
        See `VcfOptions.strict`; and where a VCF that came through a pipe has contigs that are not the
        genome's.
    UnitFailedError
        If the model could not be run on some alleles, under `on_error="stop"`.
    kipoi_mcdropout.errors.McDropoutError
        If the model, an input or an argument is not as stated; no output is written.

    Warns
    -----
    InputWarning
        If something about the VCF or the FASTA must be known before the results are used, and if no
        allele was scored.
    """
    if running.batch_size < 1:
        raise InputError(f"batch_size must be at least 1; got {running.batch_size}")
    check_not_inputs(
        paths.all(), {"the genome": fasta, "the contig map": wanted.options.contig_map_file}
    )
    options = wanted.options
    placement = options.placement(model.sequences.length)
    with ExitStack() as stack:
        stack.enter_context(model.adapter.locked.borrow())
        genome = stack.enter_context(Genome(fasta))
        judged = not is_stream(vcf)  # `survey_records` reads a file before
        reader = stack.enter_context(VcfReader(vcf, options.region, genome.lengths, judged))
        contig_map = options.contig_names()
        names = ContigNames(genome.lengths, reader.header.contig_lengths(), contig_map)
        survey, records = survey_records(reader, options.region, genome, names, options.ref_mismatch)
        notices = [*reader.notices, *survey.notices]
        for notice in notices:
            warnings.warn(notice, InputWarning, stacklevel=2)
        plan = _plan(model, wanted, running, carries_vcf=paths.vcf is not None)
        record = run_record(
            model.sequences, fasta, reader, seed=wanted.seed, n_draws=wanted.effects.n_draws,
            command=without_shard(told.command), options=_recorded(plan, contig_map),
            engine_reason=plan.choice.reason,
        )  # fmt: skip
        if reader.path is not None:
            record["reference_check"] = survey.to_dict()
        contigs = {} if reader.header.declared("contig") else genome.lengths
        written = VariantLayout(
            wanted.vcf.info_prefix, tuple(plan.fields), plan.targets.labels,
            wanted.effects.quantiles, wanted.vcf.q_values, contigs, plan.targets.eps,
        )  # fmt: skip
        assembler = VariantAssembler(written, reader.header)
        scheduler = stack.enter_context(running.open_scheduler())
        nothing_left = run_variants(
            variant_units(gather(records, plan.n_alleles), Placer(genome, names, placement)),
            plan.work(scheduler), scheduler, paths, record,
            outputs_as_dict(paths, written, vcf, options.region, plan.n_alleles),
            assembler, running.on_error, told.progress,
        )  # fmt: skip
    ledger = assembler.ledger
    if not nothing_left:
        notices += _judge(ledger, survey, notices, is_shard=paths.shard is not None)
    if wanted.vcf.strict and ledger.n_skipped:
        raise SkippedAllelesError(
            f"strict: {ledger.n_skipped} of {ledger.alleles} alleles were skipped; the reasons are in "
            f"INFO and in the table of skipped alleles\n{ledger.summary()}"
        )
    return VariantRun(
        ledger, plan.targets.labels, record, plan.choice, nothing_left, tuple(notices)
    )


@dataclass(frozen=True)
class _Plan:
    """What is computed and how, decided before the first allele."""

    model: Model
    wanted: VariantEffects
    running: RunOptions
    targets: Targets
    fields: list[InfoField]
    n_alleles: int  # of a chunk
    engine: EngineChoice  # one for the whole run, by its name
    choice: Choice
    here: VariantWork

    def work(self, scheduler: Scheduler) -> Work[AlleleWindows, Summaries]:
        """The computation, for other processes too where the scheduler has some."""
        if isinstance(scheduler, InProcess):
            return Work(self.here)
        if not isinstance(self.engine.engine, str):
            raise InputError(
                f"other processes need the engine by its name; got {self.engine.engine!r}"
            )
        job = VariantJob(
            ModelReference.of(self.model.adapter), self.model.settings, self.targets,
            self.wanted.effects, self.wanted.seed, self.engine, self.wanted.options.rc,
        )  # fmt: skip
        return Work(self.here, job)


def _plan(model: Model, wanted: VariantEffects, running: RunOptions, carries_vcf: bool) -> _Plan:
    """Within `borrow()` of the model."""
    effects, sequences = wanted.effects, model.sequences
    chosen = sequences.targets(wanted.targets)
    fields = _fields(wanted, chosen, sequences) if carries_vcf else []
    n_alleles = chunk_alleles(
        len(chosen.columns), len(effects.scores), effects.n_draws, running.batch_size
    )
    asked = EngineChoice(running.engine, running.batch_size, running.memory, running.verify)
    engine, runner, choice = asked.decide(sequences, MaskBank(wanted.seed), n_alleles, effects.n_draws)
    here = VariantWork(sequences, chosen, effects, ViewAverage(runner), wanted.options.rc)
    return _Plan(model, wanted, running, chosen, fields, n_alleles, engine, choice, here)


def _recorded(plan: _Plan, contig_map: dict[str, str]) -> dict[str, Any]:
    """The options of a run, for its record."""
    wanted, running, sequences = plan.wanted, plan.running, plan.model.sequences
    return {
        **wanted.options.placement_as_dict(), "rc": wanted.options.rc,
        "scores": [score.name for score in wanted.effects.scores],
        "targets": list(plan.targets.labels), "quantiles": list(wanted.effects.quantiles),
        "region": wanted.options.region, "contig_map": contig_map,
        "batch_size": running.batch_size, "length": sequences.length,
        "input_shape": list(sequences.layout.shape), "alphabet": sequences.layout.alphabet,
        "unknown": plan.model.settings.unknown, "ignore": list(plan.model.settings.ignore),
        "info_prefix": wanted.vcf.info_prefix, "vcf_statistics": list(wanted.vcf.statistics),
        "vcf_targets": list(as_targets(wanted.vcf.targets)), "q_values": wanted.vcf.q_values,
        "chunk_alleles": plan.n_alleles,
        "engine": running.engine if isinstance(running.engine, str) else "custom",
        "engine_used": plan.choice.engine, "memory_bytes": running.memory_bytes,
    }  # fmt: skip


def _judge(ledger: Ledger, survey: Survey, told: list[str], is_shard: bool) -> list[str]:
    """What is known only when all alleles are scored; warned of, or raised."""
    later = [notice for notice in survey.notices if notice not in told]  # of a stream
    if not is_shard and (nothing := ledger.nothing_scored()) is not None:
        later.append(nothing)
    for notice in later:
        warnings.warn(notice, InputWarning, stacklevel=3)
    if (scored_by_chance := survey.scored_by_chance()) is not None:
        raise SkippedAllelesError(f"{scored_by_chance}\n{ledger.summary()}")
    return later


def _fields(
    wanted: VariantEffects, chosen: Targets, model: SequenceModel
) -> list[InfoField]:
    effects, vcf = wanted.effects, wanted.vcf
    columns: Sequence[int] = range(len(chosen.columns))
    if vcf.targets is not None:
        carried = model.targets(vcf.targets)
        if missing := set(carried.columns) - set(chosen.columns):
            names = dict(zip(carried.columns, carried.labels, strict=True))
            raise TargetError(
                "VcfOptions.targets (--vcf_target) must be among the outputs that are computed; "
                f"{names[min(missing)]!r} is not among targets (--target)"
            )
        columns = [chosen.columns.index(column) for column in carried.columns]
    scores = [score.name for score in effects.scores]
    n = len(scores) * len(columns) * len(vcf.statistics)
    if vcf.targets is None and n > MAX_FIELDS:
        raise OutputError(
            f"the annotated VCF would have {n} INFO fields for {len(columns)} outputs; name those that "
            "it is to carry with VcfOptions.targets (--vcf_target; the table has all), or compute fewer "
            "with targets (--target)"
        )
    return info_fields(vcf.info_prefix, scores, chosen.labels, columns, vcf.statistics)
