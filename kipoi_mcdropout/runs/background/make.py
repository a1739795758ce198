"""Make a background: for Python and for the command alike."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kipoi_mcdropout.effects.asked_outputs import asked_outputs
from kipoi_mcdropout.effects.score_names import NO_EFFECT
from kipoi_mcdropout.effects.scores import Score
from kipoi_mcdropout.effects.summary import EffectOptions
from kipoi_mcdropout.errors import InputError, InputWarning
from kipoi_mcdropout.files.atomic import check_free, check_outputs
from kipoi_mcdropout.files.background import SUFFIXES, background_writers, read_background
from kipoi_mcdropout.files.record import SequenceRecord
from kipoi_mcdropout.files.scratch import scratch_folder
from kipoi_mcdropout.model.choose_inputs import Inputs, choose_inputs, open_inputs
from kipoi_mcdropout.model.ensemble import draws_of
from kipoi_mcdropout.model.model import Model, as_model
from kipoi_mcdropout.model.regions import Regions
from kipoi_mcdropout.model.sequences import Sequences
from kipoi_mcdropout.runs.background.matched_regions import matched_regions
from kipoi_mcdropout.runs.background.options import BackgroundOptions
from kipoi_mcdropout.runs.background.units import background_units
from kipoi_mcdropout.runs.ism.mutate import MutationOptions, ism_options
from kipoi_mcdropout.runs.ism.paths import IsmPaths
from kipoi_mcdropout.runs.ism.prepare import prepare
from kipoi_mcdropout.runs.ism.record import Asked
from kipoi_mcdropout.runs.ism.run import IsmRun, run_ism
from kipoi_mcdropout.runs.ism.watch import Watch
from kipoi_mcdropout.runs.options import RunOptions
from kipoi_mcdropout.significance.background import Background
from kipoi_mcdropout.significance.same_run import METHOD


def background(
    model: Any,
    x: Inputs | None = None,
    *,
    fasta: str | Path | None = None,
    regions: str | Path | None = None,
    sequences: str | Path | None = None,
    n_draws: int | None = None,
    seed: int = 0,
    scores: str | Score | Sequence[str | Score] = ("diff",),
    targets: str | int | Sequence[str | int] | None = None,
    output: str | Path | None = None,
    options: BackgroundOptions = BackgroundOptions(),  # noqa: B008 (it cannot be changed)
    running: RunOptions = RunOptions(),  # noqa: B008
    **outputs: Any,
) -> Background:
    """Effects of random substitutions in sequences that should mean nothing.

    The sequences are dinucleotide shuffles of those that are given. Model, draws, seed, scores and
    positions must be those of the run whose effects are to be compared; the file says what they were.

    Parameters
    ----------
    model, x, fasta, regions, sequences, n_draws, seed, scores, targets, running, outputs
        As for `ism`. The sequences are those of the run.
    output : str or Path, optional
        File to write, .parquet. Without it the background is in memory only.
    options : BackgroundOptions

    Returns
    -------
    Background

    Raises
    ------
    kipoi_mcdropout.errors.McDropoutError
        If the model cannot be run under locked dropout, or an argument is not as stated.
    """
    ready, parsed = asked_outputs(as_model(model), scores, outputs, "background")
    effects = EffectOptions(parsed, draws_of(n_draws))
    inputs = choose_inputs(x, fasta, regions, sequences)
    with contextlib.ExitStack() as stack:
        if output is None and running.needs_files is not None:
            raise InputError(f"{running.needs_files} needs a file to write; give output='null.parquet'")
        folder = stack.enter_context(scratch_folder())
        path = folder / "background.parquet" if output is None else Path(output)
        paths = background_paths(path, running)
        opened = stack.enter_context(sources(ready, inputs, options))
        make_background(ready, opened, effects, seed, targets, options, running, paths)
        return read_background(path)


def background_paths(path: str | Path, running: RunOptions) -> IsmPaths:
    """The output, after a check that it can be written.

    Raises
    ------
    OutputError
        If it cannot be made or exists.
    InputError
        If only a shard of it is to be made.
    """
    if running.shard is not None:
        raise InputError("a background is made in one run; leave out the shard")
    (checked,) = check_outputs([path], SUFFIXES)
    check_free([checked], running.overwrite or running.resume)
    return IsmPaths((checked,), running.overwrite, None, running.resume)


@contextlib.contextmanager
def sources(model: Model, inputs: Inputs, options: BackgroundOptions) -> Iterator[Sequences]:
    """The sequences that the windows are made of.

    Raises
    ------
    InputError
        If files cannot be read; or windows of the genome are asked for without genome and regions.
    """
    if not options.from_regions:
        yield open_inputs(model, inputs)
        return
    if not isinstance(inputs, Regions):
        raise InputError(
            "from_regions takes windows of the genome; give fasta and regions (-f and --regions)"
        )
    own = inputs.open(model)
    first, _ = own.peek()
    key = model.adapter.input_key(model.settings.model_input, first["inputs"])
    length = model.encoding.layout(first["inputs"] if key is None else first["inputs"][key]).n_positions
    with scratch_folder() as folder:
        bed = folder / "matched.bed"
        n = options.on(length).n_windows
        matched_regions(inputs.fasta, inputs.regions, n, length, options.sample_seed, bed)
        there = Regions(inputs.fasta, bed).open(model)
        said = {"fasta_file": str(inputs.fasta), "regions": str(inputs.regions)}
        yield replace(there, arguments=said)


def make_background(
    model: Model,
    sequences: Sequences,
    effects: EffectOptions,
    seed: int,
    targets: Any,
    options: BackgroundOptions,
    running: RunOptions,
    paths: IsmPaths,
    watch: Watch | None = None,
    asked: Asked = Asked(),  # noqa: B008 (it cannot be changed)
) -> tuple[IsmRun, int]:
    """Compute and write a background; `background` and the command both call it.

    Parameters
    ----------
    sequences : Sequences
        From `sources`.
    effects : EffectOptions
    paths : IsmPaths
        From `background_paths`.

    Returns
    -------
    tuple of (IsmRun, int)
        What the run did, and the number of substitutions.

    Warns
    -----
    InputWarning
        If there are fewer substitutions than asked for, as windows have too many N.
    """
    _check_scores(effects)
    watch = Watch() if watch is None else watch
    mutation = MutationOptions(options.start, options.end)
    effects = replace(effects, keep_draws=True)
    prepared = prepare(
        model, sequences, ism_options(model, effects, seed, targets, mutation, running), asked
    )
    layout = prepared.mutagenesis.layout(prepared.inputs)
    length = layout.n_positions
    options = options.on(length, layout.n_bases)
    start, end = options.start, length if options.end is None else options.end
    prepared.mutagenesis.set_positions(start, end)
    n_draws = prepared.mutagenesis.options.effects.n_draws
    made_of = {"windows": options.windows, "n_effects": options.n_effects,
               "n_windows": options.n_windows, "sample_seed": options.sample_seed}  # fmt: skip
    said = {"method": METHOD, "start": start, "end": end, "length": length,
            "keep_draws": n_draws > 0, "background_of": made_of}  # fmt: skip
    record = {**prepared.record, "options": {**prepared.record["options"], **said}}
    watch.began(prepared.choice, prepared.notes)
    batches, n = prepared.sequences.batches, prepared.sequences.n
    count = _Count(watch)
    with running.open_scheduler() as scheduler:
        run = run_ism(
            background_units(batches, n, prepared.mutagenesis, options),
            prepared.work(scheduler, watch, asked), scheduler, paths, record,
            on_error=running.on_error, done=count, open_files=background_writers,
        )  # fmt: skip
    if not run.nothing_left and count.n < options.n_effects:
        warnings.warn(
            f"the background has {count.n} substitutions, and not the {options.n_effects} that were "
            "asked for: windows have too many N, or failed",
            InputWarning,
            stacklevel=2,
        )
    return run, count.n


class _Count:
    """Counts the substitutions of finished units, of which the watch is told."""

    def __init__(self, watch: Watch) -> None:
        self.n, self._watch = 0, watch

    def __call__(self, record: SequenceRecord, _first: bool) -> None:
        self.n += len(record.effects.substitutions.position)
        self._watch.finished(record, False)  # nobody asked for each position, so N are not mentioned


def _check_scores(effects: EffectOptions) -> None:
    if wrong := [score.name for score in effects.scores if score.name in NO_EFFECT]:
        raise InputError(
            f"a background is of scores that are effects, such as diff and logit; {wrong[0]} is a "
            "prediction. Leave it out"
        )
