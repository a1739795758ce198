"""What is recorded about a run over a VCF."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kipoi_mcdropout.files.provenance import input_files, provenance
from kipoi_mcdropout.model.sequence_model import SequenceModel
from kipoi_mcdropout.vcf.read.reader import VcfReader


def run_record(
    model: SequenceModel,
    fasta: str | Path,
    reader: VcfReader,
    *,
    seed: int,
    n_draws: int,
    command: Sequence[str] | None,
    options: Mapping[str, Any],
    engine_reason: str,
) -> dict[str, Any]:
    """The provenance of a run, as plain values, within `borrow()` of the model."""
    adapter = model.adapter
    pair = model.inputs(np.zeros((2, model.length), np.uint8))
    named = adapter.model
    return provenance(
        model=str(getattr(named, "name", None) or type(adapter.locked.module).__name__),
        source=str(getattr(named, "source_name", None) or "python"),
        identity=adapter.identity(),
        plan=adapter.locked.plan_for(adapter.tensors(pair), n_draws),
        seed=seed,
        n_draws=n_draws,
        options=options,
        engine_reason=engine_reason,
        files=input_files({**adapter.files, "fasta": fasta, "vcf": reader.path}),
        command=command,
    )
