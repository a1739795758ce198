"""Scores every allele of a VCF and writes the results, for Python and for the command alike."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kipoi_mcdropout.dropout.device import describe_device
from kipoi_mcdropout.dropout.locked_model import MOST_AT_A_TIME
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.effects.member_engines import draws_of_each
from kipoi_mcdropout.effects.member_names import asked_columns
from kipoi_mcdropout.effects.scores import scores_as_dict
from kipoi_mcdropout.effects.until import check_until
from kipoi_mcdropout.engine import Choice
from kipoi_mcdropout.engine.dtype_check import DtypeCheck
from kipoi_mcdropout.errors import InputError, InputWarning, OutputError
from kipoi_mcdropout.files.background import background_for
from kipoi_mcdropout.files.same_file import check_not_inputs
from kipoi_mcdropout.model.ensemble import decided_draws
from kipoi_mcdropout.model.model import Model
from kipoi_mcdropout.model.reference import ModelReference
from kipoi_mcdropout.model.settings import settings_as_dict
from kipoi_mcdropout.outputs.targets import Targets, as_targets
from kipoi_mcdropout.runs.options import RunOptions
from kipoi_mcdropout.runs.schedule import InProcess, Scheduler, Work
from kipoi_mcdropout.runs.session import without_shard
from kipoi_mcdropout.significance.add_intervals import with_conformal
from kipoi_mcdropout.vcf.bins import with_aligned_bins
from kipoi_mcdropout.vcf.carried_fields import carried_fields
from kipoi_mcdropout.vcf.opened import Opened
from kipoi_mcdropout.vcf.options import VariantEffects
from kipoi_mcdropout.vcf.place.chunks import AlleleWindows, chunk_alleles, gather
from kipoi_mcdropout.vcf.place.survey import Survey
from kipoi_mcdropout.vcf.read.source import AnySource
from kipoi_mcdropout.vcf.run import outputs_as_dict, run_variants
from kipoi_mcdropout.vcf.run_record import run_record
from kipoi_mcdropout.vcf.scoring import EngineChoice, VariantJob, VariantWork, which_are_random
from kipoi_mcdropout.vcf.units import Summaries, variant_units
from kipoi_mcdropout.vcf.write.annotate import InfoField
from kipoi_mcdropout.vcf.write.assemble import VariantAssembler, VariantLayout
from kipoi_mcdropout.vcf.write.ledger import Ledger, SkippedAllelesError
from kipoi_mcdropout.vcf.write.output_paths import OutputPaths


@dataclass(frozen=True)
class VariantRun:
    """What a run did.

    Attributes
    ----------
    ledger : Ledger
        Counts of the alleles that were scored, and that were skipped, by reason.
    labels : tuple of str
        Names of the outputs that were scored.
    provenance : dict
    engine : Choice or None
        The engine that computed the alleles, and why.
    nothing_left : bool
        The run that was to be resumed was complete already. The ledger is empty then.
    notices : tuple of str
        What must be known before the results are used.
    """

    ledger: Ledger
    labels: tuple[str, ...]
    provenance: dict[str, Any] = field(repr=False, default_factory=dict)
    engine: Choice | None = None
    nothing_left: bool = False
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Told:
    """The words of the command line, for the record; and a function that follows the run.

    `progress` is called with the ledger after each chunk of alleles.
    """

    command: Sequence[str] | None = None
    progress: Callable[[Ledger], None] | None = None


def score_vcf(
    model: Model,
    variants: AnySource,
    fasta: str | Path,
    paths: OutputPaths,
    wanted: VariantEffects,
    running: RunOptions,
    told: Told = Told(),
) -> VariantRun:
    """Score every ALT allele of some variants, or say why not; see `call.score_variants`.

    Parameters
    ----------
    model : Model
    variants : str, Path, sequence of str, or VariantSource
        A file, "-" for standard input, or names such as chr1:1000:A>G.
    fasta : str or Path
        The genome.
    paths : OutputPaths
        From `OutputPaths.check`.
    wanted : VariantEffects
        What is computed of each allele.
    running : RunOptions
    told : Told

    Returns
    -------
    VariantRun

    Raises
    ------
    SkippedAllelesError
        If alleles were skipped under `VcfOptions.strict`; or if a VCF that came through a pipe has
        contigs that are not the genome's. The outputs are there.
    UnitFailedError
        If the model could not be run on some alleles and `on_error` is "stop".
    kipoi_mcdropout.errors.McDropoutError
        If the model, an input or an argument is not as stated; no output is written.

    Warns
    -----
    InputWarning
        If something about the VCF or the FASTA must be known before the results are used, and if no
        allele was scored.
    """
    source = wanted.options.source_of(variants)
    check_not_inputs(
        paths.all(), {"the genome": fasta, "the contig map": wanted.options.contig_map_file}
    )
    model = with_aligned_bins(model, wanted.options)
    wanted, options = _checked(wanted, model, paths), wanted.options
    placement = options.placement(model.sequences.length, known_only=not model.sequences.knows_n)
    with ExitStack() as stack:
        stack.enter_context(model.adapter.locked.borrow())
        opened = Opened.of(stack, source, fasta, options, model.sequences.length)
        notices, survey = opened.notices, opened.survey
        for notice in notices:
            warnings.warn(notice, InputWarning, stacklevel=2)
        plan = _plan(model, wanted, running, survey, carries_vcf=paths.vcf is not None)
        plan, record = plan.recorded(
            run_record(
                model, fasta, seed=wanted.seed, n_draws=wanted.effects.n_draws,
                command=without_shard(told.command), source=source,
                options={**_recorded(plan, opened.names.contig_map), **source.recorded()},
                engine_reason=plan.choice.reason, dtype_check=plan.dtype_check,
            )
        )  # fmt: skip
        if not source.is_stream:
            record["reference_check"] = survey.to_dict()
        written = plan.layout(opened.undeclared_contigs, asked_columns(record), opened.n_samples)
        assembler = VariantAssembler(written, opened.reader.header)
        scheduler = stack.enter_context(running.open_scheduler())
        nothing_left = run_variants(
            variant_units(gather(opened.records, plan.n_alleles), opened.placer(placement)),
            plan.work(scheduler), scheduler, paths, record,
            outputs_as_dict(paths, written, source, options.region, opened.grouping, plan.n_alleles),
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
    return VariantRun(ledger, plan.targets.labels, record, plan.choice, nothing_left, tuple(notices))


def _checked(wanted: VariantEffects, model: Model, paths: OutputPaths) -> VariantEffects:
    """With a number of draws, where it was left to the model."""
    if wanted.vcf.member_means:
        model.ensemble.check_several("member_means (--member_means)")
        paths.check_table("member_means (--member_means)")
    if wanted.options.phased and paths.vcf is not None:
        raise OutputError(
            "phased (--phased) scores haplotypes, and an annotated VCF has a place for alleles only; "
            "give a table alone (-t, or output='table.parquet')"
        )
    n_draws = decided_draws(wanted.effects.n_draws, model.ensemble, model.sequences.example())
    check_until(wanted.effects.until, n_draws, n_members=len(model.ensemble))
    return replace(wanted, effects=replace(wanted.effects, n_draws=n_draws))


@dataclass(frozen=True)
class _Plan:
    """What is computed and how; it is decided before the first allele."""

    model: Model
    wanted: VariantEffects
    running: RunOptions
    targets: Targets
    fields: list[InfoField]
    n_alleles: int  # of a chunk
    engine: EngineChoice  # one for the whole run, by its name
    choice: Choice
    here: VariantWork
    dtype_check: DtypeCheck | None

    def layout(
        self, contigs: dict[str, int], member_columns: dict[str, int], n_samples: int | None
    ) -> VariantLayout:
        """How the outputs are written; see `VariantLayout`."""
        wanted = self.wanted
        return VariantLayout(
            wanted.vcf.info_prefix, tuple(self.fields), self.targets.labels, wanted.effects.quantiles,
            wanted.vcf.q_values, contigs, len(self.model.ensemble) > 1, self.targets.eps,
            member_columns, wanted.options.background is not None,
            None if wanted.options.conformal is None else wanted.options.conformal.to_dict(),
            n_samples,
        )  # fmt: skip

    def recorded(self, record: dict[str, Any]) -> tuple[_Plan, dict[str, Any]]:
        """The same with the background that is asked for, and the record of the run with it and with
        the calibrations.

        Raises
        ------
        InputError
            If one of them does not fit the run.
        """
        if (conformal := self.wanted.options.conformal) is not None:
            conformal.check_fits(record, self.targets.labels)
            record = with_conformal(record, conformal)
        path, effects = self.wanted.options.background, self.wanted.effects
        if path is None:
            return self, record
        scores = [score.name for score in effects.scores]
        ranking, record = background_for(path, record, self.targets.labels, scores)
        effects = replace(effects, ranking=ranking)
        wanted, here = replace(self.wanted, effects=effects), replace(self.here, effects=effects)
        return replace(self, wanted=wanted, here=here), record

    def work(self, scheduler: Scheduler) -> Work[AlleleWindows, Summaries]:
        """The function that computes one unit here and, for a cluster, the job that does it elsewhere.

        Raises
        ------
        InputError
            If there is a cluster, and the model or the engine cannot be sent to other processes.
        """
        if isinstance(scheduler, InProcess):
            return Work(self.here)
        if not self.engine.by_name:
            raise InputError(f"other processes need the engine by its name; got {self.engine.engine!r}")
        # The alphabet may be that of a dataloader, and a worker loads none.
        settings = self.model.settings
        if settings.vocabulary is None:
            settings = replace(settings, alphabet=self.model.sequences.layout.alphabet)
        job = VariantJob(
            tuple(ModelReference.of(member) for member in self.model.ensemble.first_in_front),
            settings, self.targets, self.wanted.effects, self.wanted.seed, self.engine,
            tuple(member.is_random for member in self.here.members), self.wanted.options.rc,
        )  # fmt: skip
        return Work(self.here, job)


def _plan(
    model: Model, wanted: VariantEffects, running: RunOptions, survey: Survey, carries_vcf: bool
) -> _Plan:
    """Choose the outputs, the INFO fields and the engine, within `borrow()` of the model.

    The survey of a file has all records, that of a stream none. Each allele is taken to have a reference
    of its own, unless windows are shared.
    """
    effects, sequences = wanted.effects, model.sequences
    chosen = sequences.targets(wanted.targets)
    model.ensemble.check_targets(sequences.example(), as_targets(wanted.targets), chosen)
    fields = carried_fields(wanted, chosen, model) if carries_vcf else []
    n_alleles = chunk_alleles(
        len(chosen.columns), len(effects.scores), effects.n_draws, running.batch_size or MOST_AT_A_TIME,
        0 if chosen.profiles is None else chosen.profiles.size,
    )  # fmt: skip
    memory = running.memory_on(model.device)
    asked = EngineChoice(running.engine, running.batch_size, memory, running.verify)
    masks = MaskBank(wanted.seed)
    is_random = which_are_random(model, effects.n_draws)
    n_records = survey.records
    at_once, n_chunks = min(n_alleles, n_records or n_alleles), -(-n_records // n_alleles) or 1
    n_refs = math.ceil(at_once * survey.share) if wanted.options.share_windows else at_once
    engine, choice = asked.decide(model, masks, at_once, n_refs, n_chunks, effects.n_draws, is_random)
    members = engine.members(model, masks, is_random, chosen.profiles)
    here = VariantWork(sequences, chosen, effects, members, wanted.options.rc)
    draws = draws_of_each(effects.n_draws, is_random)
    compared = engine.dtype_check(model, masks, at_once, draws, chosen.selected)
    return _Plan(model, wanted, running, chosen, fields, n_alleles, engine, choice, here, compared)


def _recorded(plan: _Plan, contig_map: dict[str, str]) -> dict[str, Any]:
    """The options of a run, for its record, as plain values for JSON."""
    wanted, running, sequences = plan.wanted, plan.running, plan.model.sequences
    own = settings_as_dict(plan.model.settings)
    return {
        **wanted.options.placement_as_dict(), **wanted.options.strands_as_dict(),
        **scores_as_dict(wanted.effects.scores), **wanted.effects.until_as_dict(),
        "targets": list(plan.targets.labels), "quantiles": list(wanted.effects.quantiles),
        "region": wanted.options.region, "contig_map": contig_map,
        "batch_size": running.batch_size, "length": sequences.length,
        "input_shape": list(sequences.layout.shape), "alphabet": sequences.layout.alphabet,
        "vocabulary": own.get("vocabulary"), "readout": own.get("readout"),
        "unknown": sequences.unknown_as, "ignore": list(plan.model.settings.ignore),
        "dtype": plan.model.settings.dtype, "device": describe_device(plan.model.device),
        "allow_tf32": plan.model.settings.allow_tf32,
        **({"extra_inputs": extra} if (extra := sequences.recorded()["extra_inputs"]) else {}),
        "info_prefix": wanted.vcf.info_prefix, "vcf_statistics": list(wanted.vcf.statistics),
        "vcf_targets": list(as_targets(wanted.vcf.targets)), "q_values": wanted.vcf.q_values,
        **({"phased": True} if wanted.options.phased else {}),
        **({"share_windows": share} if (share := wanted.options.share_windows) else {}),
        **({"member_means": True} if wanted.vcf.member_means else {}),
        "chunk_alleles": plan.n_alleles,
        "engine": running.engine if isinstance(running.engine, str) else "custom",
        "engine_used": plan.choice.engine, "memory_bytes": running.memory_on(plan.model.device),
    }  # fmt: skip


def _judge(ledger: Ledger, survey: Survey, told: list[str], is_shard: bool) -> list[str]:
    """Warn of what is known only when all alleles are scored; returns these notices.

    Raises
    ------
    SkippedAllelesError
        If the VCF came through a pipe and has contigs that are not the genome's.
    """
    later = [notice for notice in survey.notices if notice not in told]  # of a stream
    if not is_shard and (nothing := ledger.nothing_scored()) is not None:
        later.append(nothing)
    for notice in later:
        warnings.warn(notice, InputWarning, stacklevel=3)
    if (scored_by_chance := survey.scored_by_chance()) is not None:
        raise SkippedAllelesError(f"{scored_by_chance}\n{ledger.summary()}")
    return later
