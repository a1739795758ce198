"""A run over a VCF from its units to its outputs, whole or from shards."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.provenance import file_checksum
from kipoi_mcdropout.runs.compute import Counts, check_not_all_failed, compute_units
from kipoi_mcdropout.runs.merge import ShardedRun
from kipoi_mcdropout.runs.schedule import Scheduler, Work
from kipoi_mcdropout.runs.schedule.work import OnError
from kipoi_mcdropout.runs.session import RunPlan, RunSession
from kipoi_mcdropout.runs.unit_file import StoredUnit
from kipoi_mcdropout.vcf.place.chunks import AlleleWindows, gather
from kipoi_mcdropout.vcf.place.grouping import Grouping
from kipoi_mcdropout.vcf.read.source import VariantSource
from kipoi_mcdropout.vcf.units import (
    RecordGroup,
    Summaries,
    VariantCodec,
    VariantUnit,
    decode,
    variant_units,
)
from kipoi_mcdropout.vcf.write.assemble import VariantAssembler, VariantLayout
from kipoi_mcdropout.vcf.write.ledger import Ledger
from kipoi_mcdropout.vcf.write.output_paths import OutputPaths

KIND = "score_variants"


def outputs_as_dict(
    paths: OutputPaths,
    layout: VariantLayout,
    source: VariantSource,
    region: str | None,
    grouping: Grouping,
    n_alleles: int,
) -> dict[str, Any]:
    """All that a merge needs to write the outputs from the units and the VCF, for run.json."""
    return {
        "files": paths.to_dict(), "layout": asdict(layout), "source": source.to_dict(),
        "region": region, "grouping": asdict(grouping), "chunk_alleles": n_alleles,
    }  # fmt: skip


def run_variants(
    units: Iterable[VariantUnit],
    work: Work[AlleleWindows, Summaries],
    scheduler: Scheduler,
    paths: OutputPaths,
    record: dict[str, Any],
    outputs: dict[str, Any],
    assembler: VariantAssembler,
    on_error: OnError,
    progress: Callable[[Ledger], None] | None,
) -> bool:
    """Compute all units and write the outputs; True if the run was complete before.

    Parameters
    ----------
    outputs : dict
        From `outputs_as_dict`.
    assembler : VariantAssembler
        Its ledger has the counts afterwards.

    Raises
    ------
    UnitFailedError, McDropoutError
        See `compute.compute_units`.
    """
    plan = _plan(paths, record, outputs)
    with RunSession(plan, paths.provenance_of) as session:
        if session.nothing_left:
            return True
        counts = Counts()
        pairs = compute_units(session, units, work, scheduler, VariantCodec(), on_error, counts)

        def add_all() -> None:
            for unit, stored in pairs:
                assembler.add(unit.item.records, decode(stored))
                session.store.release(unit.number)
                if progress is not None:
                    progress(assembler.ledger)

        if paths.shard is None:
            with assembler.writing(session, paths):
                add_all()
        else:
            add_all()
        session.finish(counts.total, counts.failed)
    return False


def merge_variants(shards: ShardedRun, overwrite: bool = False) -> Ledger:
    """Write the outputs that the run without shards would have written; the VCF is read again.

    Raises
    ------
    InputError
        If the VCF is not there or has changed, or a unit is missing or damaged.
    UnitFailedError
        If every unit failed.
    """
    state = shards.state
    if state.kind != KIND:
        raise InputError(f"the shards must be of {KIND}; they are of {state.kind}")
    outputs = state.outputs
    paths = OutputPaths.from_dict(outputs["files"], overwrite)
    source = VariantSource.from_dict(outputs["source"])
    if source.file is not None:
        _check_source(source.file, state.record)
    grouping = Grouping(**outputs["grouping"])
    counts = Counts()
    with (
        RunSession(_plan(paths, state.record, outputs, completes=True)) as session,
        source.open(outputs["region"], margin=grouping.margin) as reader,
    ):
        assembler = VariantAssembler(VariantLayout.from_dict(outputs["layout"]), reader.header)
        if session.nothing_left:
            return assembler.ledger
        units = variant_units(
            gather(grouping.apply(reader, reader), outputs["chunk_alleles"]), placer=None
        )
        with assembler.writing(session, paths):
            for unit, stored in shards.take(units):
                _add(assembler, unit.item, stored)
                counts.add(stored)
            check_not_all_failed(counts)
        session.finish(shards.n_units, counts.failed)
    return assembler.ledger


def _add(assembler: VariantAssembler, group: RecordGroup, stored: StoredUnit) -> None:
    assembler.add(group.records, decode(stored))


def _plan(
    paths: OutputPaths, record: dict[str, Any], outputs: dict[str, Any], completes: bool = False
) -> RunPlan:
    return RunPlan(
        KIND, record, paths.all(), outputs, paths.overwrite, paths.resume or completes, paths.shard,
        paths.resumable,
    )  # fmt: skip


def _check_source(source: Path, record: dict[str, Any]) -> None:
    wanted = record["files"]["vcf"]["sha256"]
    if not source.is_file():
        raise InputError(f"merge reads the VCF {source} again, but the file is missing. Put it back")
    if file_checksum(source) != wanted:
        raise InputError(
            f"the VCF {source} has changed since the shards were made. Put back the original VCF, or "
            "run the shards again"
        )
