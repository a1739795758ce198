"""Score every allele of a VCF: the effect on each model output, with the model's uncertainty."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from kipoi_mcdropout.arrays.outputs import Targets, as_targets
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.effects.scores import Score, get_score
from kipoi_mcdropout.effects.summary import EffectOptions
from kipoi_mcdropout.engine import DEFAULT_MEMORY_BYTES, Choice
from kipoi_mcdropout.errors import InputError, InputWarning, OutputError, TargetError
from kipoi_mcdropout.files.same_file import check_not_inputs
from kipoi_mcdropout.model.reference import ModelReference
from kipoi_mcdropout.model.sequence_model import SequenceModel, Unknown, sequence_model
from kipoi_mcdropout.runs.schedule import InProcess, Scheduler, Shard, Work, open_scheduler
from kipoi_mcdropout.runs.schedule.work import OnError, check_on_error
from kipoi_mcdropout.runs.session import without_shard
from kipoi_mcdropout.sequence.genome import Genome
from kipoi_mcdropout.vcf.place.chunks import AlleleWindows, chunk_alleles, gather
from kipoi_mcdropout.vcf.place.contigs import ContigNames, read_contig_map
from kipoi_mcdropout.vcf.place.placement import PlacementOptions, Placer, RefMismatch
from kipoi_mcdropout.vcf.place.survey import survey_records
from kipoi_mcdropout.vcf.place.views import ViewAverage
from kipoi_mcdropout.vcf.read.input_stream import is_stream
from kipoi_mcdropout.vcf.read.reader import VcfReader
from kipoi_mcdropout.vcf.run import outputs_as_dict, run_variants
from kipoi_mcdropout.vcf.run_record import run_record
from kipoi_mcdropout.vcf.scoring import EngineChoice, MakeEngine, VariantJob, VariantWork
from kipoi_mcdropout.vcf.units import Summaries, variant_units
from kipoi_mcdropout.vcf.write.annotate import DEFAULT_STATISTICS, MAX_FIELDS, InfoField, info_fields
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


def score_variants(
    model: Any,
    vcf: str | Path,
    fasta: str | Path,
    output: str | Path | None = None,
    table: str | Path | None = None,
    *,
    n_draws: int = 30,
    seed: int = 0,
    scores: Sequence[str | Score] = ("diff",),
    targets: str | int | Sequence[str | int] | None = None,
    quantiles: Sequence[float] = (),
    vcf_targets: str | int | Sequence[str | int] | None = None,
    vcf_statistics: Sequence[str] = DEFAULT_STATISTICS,
    info_prefix: str = "MCD",
    q_values: bool = False,
    rc: bool = False,
    shifts: Sequence[int] = (0,),
    normalize: bool = False,
    edge: Literal["pad", "skip"] = "pad",
    ref_mismatch: RefMismatch = "few",
    strict: bool = False,
    skipped: str | Path | None = None,
    region: str | None = None,
    contig_map: Mapping[str, str] | str | Path | None = None,
    length: int | None = None,
    category_axis: int | None = None,
    input_shape: Sequence[int | None] | None = None,
    unknown: Unknown = "uniform",
    alphabet: str | None = None,
    label_axis: int | None = None,
    batch_size: int = 32,
    engine: str | MakeEngine = "auto",
    memory_bytes: int | None = None,
    verify: bool = True,
    ignore: Sequence[str] = (),
    overwrite: bool = False,
    resume: bool = False,
    shard: Shard | None = None,
    scheduler: str | Scheduler = "none",
    on_error: OnError = "stop",
    command: Sequence[str] | None = None,
    progress: Callable[[Ledger], None] | None = None,
) -> VariantRun:
    """Score every ALT allele of every record of a VCF, or say why not.

    Parameters
    ----------
    model : kipoi model, nn.Module
        With one window of one-hot DNA as its input; borrowed, never changed.
    vcf : str or Path
        Plain, gzipped, bgzipped or BCF; "-" is standard input.
    fasta : str or Path
        The genome, plain or bgzipped.
    output : str or Path, optional
        Annotated VCF: `.vcf`, or `.vcf.gz` (bgzip), or "-" for standard output.
    table : str or Path, optional
        A row per scored allele, score and output: `.parquet`, `.tsv`, `.tsv.gz`.
    n_draws : int
        At least 2.
    seed : int
        0 <= seed < 2**64; all variants see the same masks in a draw.
    scores : sequence of str
        kipoi-interpret's and kipoi-veff's names: ref alt diff logit logit_ref logit_alt deepsea_effect.
    targets, vcf_targets : sequence of str or int, optional
        Outputs to compute, and those of them that the VCF carries (all of them, if they are few), by
        label, index from 0, or shell pattern.
    quantiles : sequence of float
        Of the effect over the draws, in the table.
    vcf_statistics : sequence of str
        What the VCF carries for each score and output (annotate.VCF_STATISTICS).
    info_prefix : str
        Of all INFO IDs that are added.
    q_values : bool
        Add Benjamini-Hochberg q-values to the table, over all its rows of a score.
    rc : bool
        Average the outputs for both strands inside each draw.
    shifts : sequence of int
        Average the outputs for windows moved by so many bases inside each draw.
    normalize : bool
        Trim and left-align each allele before it is placed.
    edge : "pad" or "skip"
        What is done where a window runs over an end of its contig.
    ref_mismatch : "few", "skip" or "error"
        What is done where REF is not the genome's. It is never scored: "few" skips it, but refuses the
        VCF if half of its REF or more differ, and leaves out contigs of which that is true; "skip" skips
        it however many there are; "error" stops at the first.
    strict : bool
        Raise SkippedAllelesError at the end if anything was skipped; the outputs are written.
    skipped : str or Path, optional
        Table (TSV) of the skipped alleles with the reasons.
    region : str, optional
        Only records that overlap it: CONTIG or CONTIG:FROM-TO, 1-based and inclusive.
    contig_map : mapping or path, optional
        From contigs of the VCF to those of the FASTA; a path is that of a file of two columns.
    length, category_axis, input_shape, unknown, alphabet, label_axis
        See `sequence_model.sequence_model`.
    batch_size : int
        Inputs in one forward pass.
    engine : "auto", "incremental", "full", or callable (LockedModel, MaskBank, batch_size) -> Engine
        "full" runs the model on whole windows, "incremental" computes alleles as changes of their
        reference, exactly; "auto" is whichever is estimated to be faster for this model.
    memory_bytes : int, optional
        What the incremental engine may hold at a time, about, above the weights (1 GB).
    verify : bool
        Recompute a small sample by the plain forward pass, and raise EngineMismatchError if the
        incremental engine differs by more than 1e-5 of the output's scale (float32).
    ignore : sequence of str
        Modules whose dropout is left off, and that of the modules inside them.
    overwrite : bool
        Replace outputs that exist.
    resume : bool
        Go on where a run that was killed stopped.
    shard : Shard, optional
        Do only this share of the records; `vcf.run.merge_variants` makes the outputs of all of them.
    scheduler : str or Scheduler
        Where alleles are computed: "none" (here), "local:N", an address or scheduler file of Dask; see
        `schedule.open_scheduler`. The numbers are the same.
    on_error : "stop" or "skip"
        What is done about a batch of alleles with which the model fails: "skip" counts them as skipped
        with the reason `failed`.
    command : sequence of str, optional
        The command line, for the record.
    progress : callable, optional
        Called with the ledger after each chunk.

    Returns
    -------
    VariantRun

    Raises
    ------
    SkippedAllelesError
        See `strict`; and where a VCF that came through a pipe has contigs that are not the genome's.
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
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1; got {batch_size}")
    check_on_error(on_error)
    paths = OutputPaths.check(vcf, output, table, skipped, overwrite, resume, shard)
    given = [path for path in (output, table, skipped) if path is not None]
    named = contig_map if isinstance(contig_map, (str, Path)) else None
    check_not_inputs(given, {"the genome": fasta, "the contig map": named})
    effects = EffectOptions(tuple(get_score(s) for s in scores), n_draws, tuple(quantiles))
    placement = dict(shifts=tuple(shifts), normalize=normalize, edge=edge, ref_mismatch=ref_mismatch)
    layout = dict(
        length=length, category_axis=category_axis, input_shape=input_shape, unknown=unknown,
        ignore=tuple(ignore), alphabet=alphabet, label_axis=label_axis,
    )  # fmt: skip
    sequences = sequence_model(model, **layout)  # type: ignore[arg-type]
    options = PlacementOptions(sequences.length, **placement)  # type: ignore[arg-type]
    with ExitStack() as stack:
        stack.enter_context(sequences.adapter.locked.borrow())
        genome = stack.enter_context(Genome(fasta))
        judged = not is_stream(vcf)  # `survey_records` reads a file before
        reader = stack.enter_context(VcfReader(vcf, region, genome.lengths, judged))
        mapping = _contig_map(contig_map)
        names = ContigNames(genome.lengths, reader.header.contig_lengths(), mapping)
        survey, records = survey_records(reader, region, genome, names, ref_mismatch)
        notices = [*reader.notices, *survey.notices]
        for notice in notices:
            warnings.warn(notice, InputWarning, stacklevel=2)
        chosen = sequences.targets(targets)
        fields = (
            []
            if output is None
            else _fields(info_prefix, effects, chosen, sequences, vcf_targets, vcf_statistics)
        )
        n_alleles = chunk_alleles(len(chosen.columns), len(effects.scores), n_draws, batch_size)
        wanted = EngineChoice(engine, batch_size, memory_bytes or DEFAULT_MEMORY_BYTES, verify)
        decided, runner, choice = wanted.decide(sequences, MaskBank(seed), n_alleles, n_draws)
        record = run_record(
            sequences, fasta, reader, seed=seed, n_draws=n_draws, command=without_shard(command),
            options={
                **placement, "rc": rc, "scores": [s.name for s in effects.scores],
                "targets": list(chosen.labels), "quantiles": list(quantiles), "region": region,
                "contig_map": mapping, "batch_size": batch_size, "length": sequences.length,
                "input_shape": list(sequences.layout.shape), "alphabet": sequences.layout.alphabet,
                "unknown": unknown, "ignore": list(ignore),
                "info_prefix": info_prefix, "vcf_statistics": list(vcf_statistics),
                "vcf_targets": list(as_targets(vcf_targets)),
                "q_values": q_values, "chunk_alleles": n_alleles,
                "engine": engine if isinstance(engine, str) else "custom",
                "engine_used": choice.engine, "memory_bytes": memory_bytes,
            },
            engine_reason=choice.reason,
        )  # fmt: skip
        if reader.path is not None:
            record["reference_check"] = survey.to_dict()
        contigs = {} if reader.header.declared("contig") else genome.lengths
        written = VariantLayout(
            info_prefix, tuple(fields), chosen.labels, tuple(quantiles), q_values, contigs
        )
        assembler = VariantAssembler(written, reader.header)
        here = VariantWork(sequences, chosen, effects, ViewAverage(runner), rc)
        if isinstance(scheduler, str):
            scheduler = open_scheduler(scheduler)
            stack.callback(scheduler.close)
        work: Work[AlleleWindows, Summaries] = Work(here)
        if not isinstance(scheduler, InProcess):
            work = _shareable(here, layout, seed, decided)
        units = variant_units(gather(records, n_alleles), Placer(genome, names, options))
        run_outputs = outputs_as_dict(paths, written, vcf, region, n_alleles)
        nothing_left = run_variants(
            units, work, scheduler, paths, record, run_outputs, assembler, on_error, progress
        )
    ledger = assembler.ledger
    later: list[str] = []
    if not nothing_left:
        later = [notice for notice in survey.notices if notice not in notices]  # of a stream
        if shard is None and (nothing := ledger.nothing_scored()) is not None:
            later.append(nothing)
        for notice in later:
            warnings.warn(notice, InputWarning, stacklevel=2)
        if (scored_by_chance := survey.scored_by_chance()) is not None:
            raise SkippedAllelesError(f"{scored_by_chance}\n{ledger.summary()}")
    if strict and ledger.n_skipped:
        raise SkippedAllelesError(
            f"strict: {ledger.n_skipped} of {ledger.alleles} alleles were skipped; the reasons are in "
            f"INFO and in the table of skipped alleles\n{ledger.summary()}"
        )
    return VariantRun(ledger, chosen.labels, record, choice, nothing_left, (*notices, *later))


def _fields(
    prefix: str,
    effects: EffectOptions,
    chosen: Targets,
    model: SequenceModel,
    wanted: str | int | Sequence[str | int] | None,
    statistics: Sequence[str],
) -> list[InfoField]:
    columns: Sequence[int] = range(len(chosen.columns))
    if wanted is not None:
        carried = model.targets(wanted)
        if missing := set(carried.columns) - set(chosen.columns):
            names = dict(zip(carried.columns, carried.labels, strict=True))
            raise TargetError(
                f"vcf_targets must be among the outputs that are computed; {names[min(missing)]!r} is "
                "not among targets"
            )
        columns = [chosen.columns.index(column) for column in carried.columns]
    scores = [score.name for score in effects.scores]
    n = len(scores) * len(columns) * len(statistics)
    if wanted is None and n > MAX_FIELDS:
        raise OutputError(
            f"the annotated VCF would have {n} INFO fields for {len(columns)} outputs; name those that "
            "it is to carry with vcf_targets (the table has all), or compute fewer with targets"
        )
    return info_fields(prefix, scores, chosen.labels, columns, statistics)


def _shareable(
    here: VariantWork,
    layout: Mapping[str, Any],
    seed: int,
    engine: EngineChoice,
) -> Work[AlleleWindows, Summaries]:
    """The work, for other processes too."""
    if not isinstance(engine.engine, str):
        raise InputError(f"other processes need the engine by its name; got {engine.engine!r}")
    reference = ModelReference.of(here.model.adapter)
    return Work(
        here, VariantJob(reference, dict(layout), here.targets, here.effects, seed, engine, here.rc)
    )


def _contig_map(given: Mapping[str, str] | str | Path | None) -> dict[str, str]:
    if given is None:
        return {}
    return dict(given) if isinstance(given, Mapping) else read_contig_map(given)
