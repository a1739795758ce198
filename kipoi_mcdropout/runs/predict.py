"""Predict, to files or in memory: for Python and for the command alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kipoi_mcdropout.arrays.nested import Nested, n_rows
from kipoi_mcdropout.dropout.device import describe_device
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.dropout.sites import SitePlan
from kipoi_mcdropout.effects.asked_outputs import readout_for
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files import prediction_files
from kipoi_mcdropout.files.predictions import Predictions
from kipoi_mcdropout.files.provenance import input_files, provenance
from kipoi_mcdropout.files.record import PredictionRecord, metadata_rows
from kipoi_mcdropout.model.choose_inputs import Inputs, open_files
from kipoi_mcdropout.model.ensemble import decided_draws, draws_of
from kipoi_mcdropout.model.model import Model, as_model
from kipoi_mcdropout.model.predict import PredictionOptions, predict_batch
from kipoi_mcdropout.model.sequences import Sequences
from kipoi_mcdropout.model.settings import settings_as_dict
from kipoi_mcdropout.outputs.readout import Readout
from kipoi_mcdropout.outputs.targets import as_targets

METHOD = "mc_predict"


def mc_predict(
    model: Any,
    x: Inputs,
    n_draws: int | None = None,
    seed: int = 0,
    *,
    targets: str | int | Sequence[str | int] | None = None,
    label_axis: int | None = None,
    batch_size: int | None = None,
    keep_draws: bool = False,
    ignore: Sequence[str] = (),
    **outputs: Any,
) -> Predictions:
    """Mean and variance of a model's predictions under locked dropout.

    Parameters
    ----------
    model : Model, nn.Module, or what `kipoi.get_model` returns
        Borrowed, never changed.
    x : numpy.ndarray, or dict or list of them, batch first; or Regions, or FastaSequences
        All inputs of the model, or the files to read them from.
    n_draws : int, optional
        At least 2, or 0 for `point` alone: the other statistics are NaN then, and the model needs no
        dropout. By default 30, or as many as are right for the members of the model
        (`ensemble.default_draws`).
    seed : int
        0 <= seed < 2**64; all inputs of a draw see the same masks.
    targets : str, int, or sequence of them, optional
        Outputs to report, by label, index from 0, or shell pattern; all by default.
    label_axis : int, optional
        The axis of an output (without the batch) that the model's column labels name, where more than
        one has their length. Only for a model that is no `Model`, which has its own.
    batch_size : int, optional
        Inputs in one forward pass; by default as many as fit into 1 GB, at most 32.
    keep_draws : bool
        Also return every draw.
    ignore : sequence of str
        Modules whose dropout is left off, and that of the modules inside them. Only for a model that is
        no `Model`, which has its own.
    outputs
        `head`, `tracks`, `center_bins`, `reduce` and the other words of a `Readout`: what is read of the
        outputs of the model, and reduced, in each draw.

    Raises
    ------
    kipoi_mcdropout.errors.McDropoutError
        If the model cannot be run under locked dropout, or an argument is not as stated.
    """
    options = PredictionOptions(
        draws_of(n_draws), seed, as_targets(targets), batch_size, keep_draws
    )
    ready = as_model(model, ignore=tuple(ignore), label_axis=label_axis)
    readout = readout_for(Readout.of(outputs, "mc_predict"), ())
    ready = ready if readout is None else ready.reading(readout)
    sequences = open_files(ready, x)
    x = ready.adapter.arrays(x if sequences is None else sequences.all_inputs())
    if n_rows(x) == 0:
        raise InputError("at least one input is required; got an empty batch")
    options = replace(options, n_draws=decided_draws(options.n_draws, ready.ensemble, x))
    plan = _plan(ready, x, options)
    record = prediction_record(ready, sequences or Sequences(iter([{"inputs": x}])), options, plan, x)
    return Predictions.of(predict_batch(ready.ensemble, x, options, MaskBank(options.seed)), record)


def predict_to_files(
    model: Model,
    sequences: Sequences,
    options: PredictionOptions,
    outputs: Sequence[str | Path],
    *,
    overwrite: bool = False,
    command: Sequence[str] | None = None,
    began: Callable[[SitePlan], None] = lambda _: None,
    finished: Callable[[PredictionRecord], None] = lambda _: None,
) -> int:
    """Predict sequences batch by batch, and write what is finished; returns their number.

    Parameters
    ----------
    model : Model
    sequences : Sequences
    options : PredictionOptions
    outputs : sequence of str or Path
        .h5, .tsv, .tsv.gz, .parquet; they appear when all sequences are there.
    overwrite : bool
        Replace outputs that exist.
    command : sequence of str, optional
        The words of the command line, for the record.
    began : callable
        Called with the dropout sites before anything is computed.
    finished : callable
        Called with each batch of predictions when it is written.

    Raises
    ------
    kipoi_mcdropout.errors.McDropoutError
        If the model cannot be run under locked dropout, or an argument is not as stated. No output is
        left then.
    """
    first, sequences = sequences.peek()  # errors of the data or the model come before any file is made
    n_draws = decided_draws(options.n_draws, model.ensemble, first["inputs"])
    options = replace(options, n_draws=n_draws)
    plan = _plan(model, first["inputs"], options)
    record = prediction_record(model, sequences, options, plan, first["inputs"], command)
    began(plan)
    masks, n = MaskBank(options.seed), 0
    with prediction_files(outputs, record, overwrite) as files:
        for batch in sequences.batches:
            summary = predict_batch(model.ensemble, batch["inputs"], options, masks)
            rows = metadata_rows(batch, len(summary.mean))
            predicted = PredictionRecord(n, summary, rows)
            files.write(predicted)
            finished(predicted)
            n += len(rows)
    return n


def prediction_record(
    model: Model,
    sequences: Sequences,
    options: PredictionOptions,
    plan: SitePlan,
    inputs: Nested,
    command: Sequence[str] | None = None,
) -> dict[str, Any]:
    """The provenance of predictions, as plain values; `inputs` are those of a first batch."""
    adapter, settings = model.adapter, model.settings
    own = settings_as_dict(settings)
    with adapter.locked.borrow():
        outputs = adapter.example_outputs(adapter.arrays(inputs))
        chosen = adapter.targets(outputs, options.targets or None)
    return provenance(
        model=model.name,
        source=model.source,
        identity=adapter.identity(),
        members=model.ensemble.described(),
        plan=plan,
        seed=options.seed,
        n_draws=options.n_draws,
        options={
            "method": METHOD,
            "outputs": len(chosen.labels),
            "output_names": own.get("outputs"),
            "readout": own.get("readout"),
            "target": list(options.targets),
            "label_axis": settings.label_axis,
            "batch_size": options.batch_size,
            "keep_draws": options.keep_draws,
            "ignore": list(settings.ignore),
            "dtype": settings.dtype,
            "device": describe_device(model.device),
            "allow_tf32": settings.allow_tf32,
            **sequences.recorded(),
        },
        files={**input_files(adapter.files), **input_files(sequences.arguments)},
        command=command,
    )


def _plan(model: Model, inputs: Nested, options: PredictionOptions) -> SitePlan:
    """The dropout sites, as they are run on one input."""
    return model.ensemble.plan(inputs, options.n_draws)
