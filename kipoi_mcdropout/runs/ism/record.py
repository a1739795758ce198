"""The provenance of a run of ISM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kipoi_mcdropout.arrays.nested import Nested
from kipoi_mcdropout.dropout.device import describe_device
from kipoi_mcdropout.dropout.locked_model import POINT
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.effects.saturation import SaturationMutagenesis
from kipoi_mcdropout.effects.scores import scores_as_dict
from kipoi_mcdropout.engine.dtype_check import DtypeCheck, check_dtype_error, sample_sizes
from kipoi_mcdropout.files.provenance import input_files, provenance
from kipoi_mcdropout.model.model import Model
from kipoi_mcdropout.model.sequences import Sequences
from kipoi_mcdropout.model.settings import settings_as_dict
from kipoi_mcdropout.runs.session import without_shard
from kipoi_mcdropout.sequence.mutants import MutantBatch, substituted

METHOD = "mcdropout_ism"


@dataclass(frozen=True)
class Asked:
    """What only the command line knows of a run, for its record; None for a run from Python."""

    command: Sequence[str] | None = None
    output_sel_fn: str | None = None  # FILE.py::FUNCTION
    score_kwargs: Sequence[dict[str, Any]] | None = None


def _encoding(mutagenesis: SaturationMutagenesis, inputs: Nested) -> dict[str, Any]:
    """How the input holds the bases; the axis that was found, too."""
    axis = mutagenesis.layout(inputs).category_axis
    return {**mutagenesis.options.encoding.to_dict(), "category_axis": axis}


def dtype_check(model: Model, mutagenesis: SaturationMutagenesis, inputs: Nested) -> DtypeCheck | None:
    """What `dtype` rounds, on a few mutants of the first sequence; None where nothing is compared.

    Of a model with several members, that of the first.
    """
    options, locked = mutagenesis.options, model.adapter.locked
    if locked.dtype == "float32" or not options.verify:
        return None
    sequence = next(mutagenesis.sequences(inputs))
    edits, codes = sequence.substitutions, sequence.codes
    own = options.effects.n_draws // len(model.ensemble) if mutagenesis.plan(inputs).sites else 0
    n_mutants, n_draws = sample_sizes(len(edits.position), own)
    rows = np.linspace(0, len(edits.position) - 1, n_mutants).round().astype(np.int64)
    mutants = substituted(codes, edits.position[rows], edits.alt[rows])
    owner = np.zeros(len(rows), np.int64)
    batch = MutantBatch(sequence.inputs, sequence.key, sequence.layout, codes[None], owner, mutants)
    draws = range(n_draws) if n_draws else [POINT]
    selected = mutagenesis.targets(inputs).selected
    with locked.borrow():
        masks = MaskBank(options.seed)
        return check_dtype_error(locked, masks, batch, draws, selected, options.batch_size)


def run_record(
    model: Model,
    mutagenesis: SaturationMutagenesis,
    inputs: Nested,
    sequences: Sequences,
    asked: Asked,
) -> dict[str, Any]:
    """The record of a run, as plain values for JSON; see `files.provenance`.

    Parameters
    ----------
    model : Model
    mutagenesis : SaturationMutagenesis
    inputs : nested numpy.ndarray, batch first
        Those of a first batch.
    sequences : Sequences
    asked : Asked
    """
    options, choice = mutagenesis.options, mutagenesis.choice(inputs)
    own = settings_as_dict(model.settings)
    key = model.adapter.input_key(options.model_input, inputs)
    return provenance(
        model=model.name,
        source=model.source,
        identity=model.adapter.identity(),
        members=model.ensemble.described(),
        plan=mutagenesis.plan(inputs),
        seed=options.seed,
        n_draws=options.effects.n_draws,
        options={
            "method": METHOD,
            "model_input": key if options.model_input is None else options.model_input,
            **scores_as_dict(options.effects.scores),
            "score_kwargs": asked.score_kwargs,
            "outputs": len(mutagenesis.targets(inputs).labels),
            "output_names": own.get("outputs"),
            "readout": own.get("readout"),
            "target": list(options.targets),
            "label_axis": model.settings.label_axis,
            **_encoding(mutagenesis, inputs),
            "start": options.start,
            "end": options.end,
            "mask_scope": options.mask_scope,
            "test_ref_ref": options.include_reference,
            "batch_size": options.batch_size,
            "engine": options.engine,
            "engine_used": choice.engine,
            "memory_bytes": options.memory_bytes,
            "quantiles": list(options.effects.quantiles),
            "keep_draws": options.effects.keep_draws,
            **options.effects.until_as_dict(),
            **({"member_means": True} if options.member_means else {}),
            "ignore": list(model.settings.ignore),
            "dtype": model.settings.dtype,
            "device": describe_device(model.device),
            "allow_tf32": model.settings.allow_tf32,
            "output_sel_fn": asked.output_sel_fn,
            **sequences.recorded(),
        },
        engine_reason=choice.reason,
        files={**input_files(model.adapter.files), **input_files(sequences.arguments)},
        command=without_shard(asked.command),
    )
