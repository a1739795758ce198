"""Mutate every position of sequences, to files or in memory: for Python and for the commands alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kipoi_mcdropout.effects.asked_outputs import asked_outputs
from kipoi_mcdropout.effects.saturation import IsmOptions
from kipoi_mcdropout.effects.scores import Score
from kipoi_mcdropout.effects.summary import EffectOptions
from kipoi_mcdropout.effects.until import Until
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.background import BackgroundSource, background_for
from kipoi_mcdropout.files.effects import Effects
from kipoi_mcdropout.model.choose_inputs import Inputs, choose_inputs, open_inputs
from kipoi_mcdropout.model.ensemble import draws_of
from kipoi_mcdropout.model.model import Model, as_model
from kipoi_mcdropout.model.sequences import Sequences
from kipoi_mcdropout.outputs.targets import as_targets
from kipoi_mcdropout.runs.intervals import complete_by
from kipoi_mcdropout.runs.ism.collect import collect_ism
from kipoi_mcdropout.runs.ism.paths import IsmPaths
from kipoi_mcdropout.runs.ism.prepare import prepare
from kipoi_mcdropout.runs.ism.record import Asked
from kipoi_mcdropout.runs.ism.run import IsmRun, run_ism
from kipoi_mcdropout.runs.ism.units import ism_units
from kipoi_mcdropout.runs.ism.watch import Watch
from kipoi_mcdropout.runs.options import RunOptions
from kipoi_mcdropout.significance.add_intervals import ConformalOptions, with_conformal


@dataclass(frozen=True)
class MutationOptions:
    """What is mutated, and what is kept beside the statistics.

    Parameters
    ----------
    start, end : int
        Window of positions to mutate, 0-based and half-open; by default the whole sequence.
    include_reference : bool
        Also report each reference base "mutated" to itself; its effect is exactly 0.
    mask_scope : {"run", "sequence"}
        Whether all sequences of a draw share the masks, or each has its own.
    quantiles : sequence of float
        Quantiles of the effect over the draws to report.
    keep_draws : bool
        Also keep the effect of every draw.
    background : str, Path or Background, optional
        A background, or its file (`background`), among whose effects each effect is ranked: p-values,
        percentiles and q-values are added. It must be of the same model, draws, scores and positions.
    until : float, optional
        Share to which each mean effect is to be known; then n_draws is the most that a mutant gets, and
        each gets only as many as it needs. See `effects.until.Until`.
    threshold : float, or sequence of float with one for each score, optional
        The smallest effect that matters, for `until`, in the units of the score.
    member_means : bool
        Also report the mean effect of each member in tables, in columns `effect_mean_1`,
        `effect_mean_2`, ..., in the order in which the members were given. HDF5 always has them.
    conformal : ConformalOptions, optional
        Calibrations that give each effect of their outputs an interval and the probability that its
        sign is right; see `files.calibration.read_conformal`.
    """

    start: int = 0
    end: int | None = None
    include_reference: bool = False
    mask_scope: str = "run"
    quantiles: Sequence[float] = ()
    keep_draws: bool = False
    background: BackgroundSource | None = None
    until: float | None = None
    threshold: float | Sequence[float] | None = None
    member_means: bool = False
    conformal: ConformalOptions | None = None


def ism(
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
    output: str | Path | Sequence[str | Path] | None = None,
    options: MutationOptions = MutationOptions(),
    running: RunOptions = RunOptions(),  # noqa: B008
    **outputs: Any,
) -> Effects:
    """Effect of every single substitution of sequences, with the model's uncertainty.

    The model is run with its dropout on, under many draws of the masks. In one draw the reference and
    all its mutants see the same masks.

    Parameters
    ----------
    model : Model, nn.Module, or what `kipoi.get_model` returns
        Borrowed, never changed.
    x : numpy.ndarray, or dict or list of them, batch first; or Regions, or FastaSequences
        All inputs of the model, or the files to read them from; or give `fasta` and `regions`, or
        `sequences`.
    fasta, regions : str or Path
        A genome, and a BED file (0-based, half-open): the same as x = `Regions(fasta, regions)`. Windows
        of the length of the model's input, about the centre of each region, are read from the forward
        strand.
    sequences : str or Path
        A FASTA file with a sequence for each input: the same as x = `FastaSequences(sequences)`.
    n_draws : int, optional
        Number of draws, at least 2; or 0 for the effects with dropout off alone. By default 30, or as
        many as are right for the members of the model (`ensemble.default_draws`).
    seed : int
        0 <= seed < 2**64. The result is a function of model, inputs, seed and n_draws alone.
    scores : str or sequence of str
        Any of ref, alt, diff, logit, logit_ref, logit_alt, deepsea_effect, log2fc, applied within each
        draw.
    targets : str, int, or sequence of them, optional
        Outputs to report, by label, index or shell pattern; all by default.
    output : str, Path, or sequence of them, optional
        Files to write: .h5, .tsv, .tsv.gz, .parquet, .h5ad (AnnData). Without any, the effects are kept
        in memory.
    options : MutationOptions
    running : RunOptions
    outputs
        `head`, `tracks`, `center_bins`, `reduce` and the other words of a `Readout`: what is read of the
        outputs of the model, and reduced, in each draw. And `pseudocount`, of the score log2fc.

    Returns
    -------
    Effects

    Raises
    ------
    kipoi_mcdropout.errors.McDropoutError
        If the model cannot be run under locked dropout, or an argument is not as stated.
    """
    ready, parsed = asked_outputs(as_model(model), scores, outputs, "ism")
    paths = _paths(output, running)
    inputs = open_inputs(ready, choose_inputs(x, fasta, regions, sequences))
    effects = EffectOptions(
        parsed, draws_of(n_draws), tuple(options.quantiles), options.keep_draws,
        Until.of(options.until, options.threshold, len(parsed)),
    )  # fmt: skip
    settings = ism_options(ready, effects, seed, targets, options, running)
    return mutate(
        ready, inputs, settings, running, paths, background=options.background,
        conformal=options.conformal,
    ).effects  # fmt: skip


def ism_options(
    model: Model,
    effects: EffectOptions,
    seed: int,
    targets: Any,
    options: MutationOptions,
    running: RunOptions,
) -> IsmOptions:
    """All options that the results of a run depend on, in one object.

    Raises
    ------
    InputError
        If one of them is not as stated.
    """
    if options.member_means:
        model.ensemble.check_several("member_means (--member_means)")
    return IsmOptions(
        model.settings.model_input, effects, seed, as_targets(targets), model.encoding,
        options.start, options.end, options.include_reference, options.mask_scope, running.batch_size,
        running.engine, running.memory_on(model.device), running.verify, options.member_means,
    )  # fmt: skip


@dataclass(frozen=True)
class Mutated:
    """What a run did, and its effects."""

    run: IsmRun
    effects: Effects
    n_draws: int


def mutate(
    model: Model,
    sequences: Sequences,
    options: IsmOptions,
    running: RunOptions,
    paths: IsmPaths | None,
    watch: Watch | None = None,
    asked: Asked = Asked(),  # noqa: B008 (it cannot be changed)
    background: BackgroundSource | None = None,
    conformal: ConformalOptions | None = None,
) -> Mutated:
    """Mutate sequences, with options that were checked before; `ism` and the command both call it.

    Parameters
    ----------
    model : Model
    sequences : Sequences
    options : IsmOptions
        From `ism_options`.
    running : RunOptions
    paths : IsmPaths or None
        The files of the effects; None keeps the effects in memory.
    watch : Watch, optional
        Follows the run.
    asked : Asked
        The command line, for the record.
    background : str, Path or Background, optional
        The background, or its file, with which the effects are compared.
    conformal : ConformalOptions, optional
        See `MutationOptions`.

    Raises
    ------
    InputError, ModelError, UnitFailedError
        See `run.run_ism`.
    """
    watch = Watch() if watch is None else watch
    prepared = prepare(model, sequences, options, asked)
    mutagenesis, record = prepared.mutagenesis, prepared.record
    if background is not None:
        scores = [score.name for score in options.effects.scores]
        ranking, record = background_for(background, record, prepared.labels, scores)
        mutagenesis.rank_against(ranking)
    if conformal is not None:
        conformal.check_fits(record, prepared.labels)
        record = with_conformal(record, conformal)
    watch.began(prepared.choice, prepared.notes)
    units = ism_units(prepared.sequences.batches, mutagenesis)
    n_draws = mutagenesis.options.effects.n_draws
    with running.open_scheduler() as scheduler:
        work = prepared.work(scheduler, watch, asked)
        if paths is None:
            run, blocks = collect_ism(
                units, work, scheduler, running.on_error, watch.finished, background is not None,
                complete_by(record),
            )  # fmt: skip
            return Mutated(run, Effects.of(blocks, record), n_draws)
        run = run_ism(
            units, work, scheduler, paths, record, on_error=running.on_error, done=watch.finished
        )
    return Mutated(run, Effects.at(paths.outputs), n_draws)


def _paths(output: Any, running: RunOptions) -> IsmPaths | None:
    """The files to write, checked; None where the effects stay in memory."""
    if output is None:
        if running.needs_files is not None:
            raise InputError(
                f"{running.needs_files} needs files to write; give output=, such as output='ism.h5'"
            )
        return None
    outputs = [output] if isinstance(output, (str, Path)) else list(output)
    return IsmPaths.check(outputs, running.overwrite, running.shard, running.resume)
