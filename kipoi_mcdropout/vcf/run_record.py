"""What is recorded about a run over a VCF."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kipoi_mcdropout.engine.dtype_check import DtypeCheck
from kipoi_mcdropout.files.provenance import input_files, provenance
from kipoi_mcdropout.model.model import Model
from kipoi_mcdropout.vcf.read.source import VariantSource


def run_record(
    model: Model,
    fasta: str | Path,
    *,
    source: VariantSource,
    seed: int,
    n_draws: int,
    command: Sequence[str] | None,
    options: Mapping[str, Any],
    engine_reason: str,
    dtype_check: DtypeCheck | None = None,
) -> dict[str, Any]:
    """The provenance of a run, as plain values, within `borrow()` of the model."""
    record = provenance(
        model=model.name,
        source=model.source,
        identity=model.adapter.identity(),
        members=model.ensemble.described(),
        plan=model.ensemble.plan(model.sequences.example(), n_draws),
        seed=seed,
        n_draws=n_draws,
        options=options,
        engine_reason=engine_reason,
        files=input_files({**model.adapter.files, "fasta": fasta, "vcf": source.file}),
        command=command,
    )
    return record if dtype_check is None else {**record, "dtype_check": dtype_check.to_dict()}
