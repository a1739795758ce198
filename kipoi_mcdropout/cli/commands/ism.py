"""`kipoi mcdropout ism`, and what `kipoi interpret ism --method mcdropout_ism` runs."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from kipoi_mcdropout.cli.arguments import (
    Parser,
    add_background,
    add_draw_arguments,
    add_engine_arguments,
    add_member_means,
    add_output_arguments,
    add_run_arguments,
    add_until_arguments,
    parse_json,
    parse_shard,
)
from kipoi_mcdropout.cli.data_arguments import add_data_arguments_beside_function
from kipoi_mcdropout.cli.interval_arguments import add_conformal_arguments, asked_conformal
from kipoi_mcdropout.cli.model_arguments import MODEL_FLAGS, add_model, describe_model
from kipoi_mcdropout.cli.readout_arguments import (
    READOUT_FLAGS,
    add_readout_arguments,
    with_readout,
)
from kipoi_mcdropout.cli.score_arguments import add_scores
from kipoi_mcdropout.errors import EXIT_OK, InputError

METHOD = "mcdropout_ism"
_DESCRIPTION = """\
Compute the effect of every single substitution on every model output, with the model's uncertainty. The
model is run for many draws of dropout masks. In each draw, reference and mutants share the same
masks."""


def get_parser(prog: str = "kipoi mcdropout ism") -> argparse.ArgumentParser:
    """Parser of the command; the flags that `kipoi interpret ism` has mean the same here."""
    parser = Parser(
        prog,
        _DESCRIPTION,
        f"{prog} example/model -f genome.fa --regions regions.bed \\\n"
        "    --n_draws 30 --seed 0 --target DNase -o out.h5 out.tsv",
    )
    add_model(parser)
    add_data_arguments_beside_function(parser)
    _add_score_arguments(parser)
    add_readout_arguments(parser)
    add_draw_arguments(parser)
    add_until_arguments(parser, "mutant")
    _add_mutation_arguments(parser)
    add_conformal_arguments(parser)
    add_engine_arguments(parser)
    add_run_arguments(parser, "a sequence")
    add_output_arguments(parser, ".h5 .tsv .tsv.gz .parquet .h5ad, any number of them")
    return parser


def _add_score_arguments(parser: argparse.ArgumentParser) -> None:
    """How an effect is measured, by the words of kipoi-interpret."""
    parser.add_argument(
        "--method",
        "--imp_score",
        choices=[METHOD],
        default=METHOD,
        help=f"method; must be {METHOD} here",
    )
    parser.add_argument(
        "--imp_score_kwargs",
        default=None,
        metavar="JSON",
        help="arguments of the method as JSON, such as '{\"n_draws\": 100}'; they replace the flags",
    )
    add_scores(parser)
    parser.add_argument(
        "-k",
        "--score_kwargs",
        nargs="+",
        default=None,
        metavar="JSON",
        help="one JSON object per score, as in kipoi-interpret; {} for none",
    )
    parser.add_argument(
        "--output_sel_fn",
        default=None,
        metavar="FILE::FUNCTION",
        help="a Python function that is applied to the outputs for each input before scoring",
    )


def _add_mutation_arguments(parser: argparse.ArgumentParser) -> None:
    """What is mutated, and what is kept beside the statistics."""
    parser.add_argument(
        "--start", type=int, default=0, help="first position to mutate, from 0 (default 0)"
    )
    parser.add_argument(
        "--end",
        type=int,
        default=None,
        help="position after the last one to mutate (default: the length)",
    )
    parser.add_argument(
        "--mask_scope",
        default="run",
        metavar="SCOPE",
        help="run: in a draw, all sequences share the masks (default); sequence: each sequence has "
        "masks of its own",
    )
    parser.add_argument(
        "--quantiles",
        nargs="+",
        type=float,
        default=[],
        metavar="Q",
        help="quantiles of the effect over the draws to report, e.g. 0.05",
    )
    parser.add_argument(
        "--keep_draws", action="store_true", help="also write the effect of every draw (HDF5 only)"
    )
    add_background(parser)
    add_member_means(parser)
    parser.add_argument("--test_ref_ref", action="store_true", help="also 'mutate' each base to itself")


def main(args: list[str], prog: str = "kipoi mcdropout ism") -> int:
    """Run the command; returns its exit code."""
    options = get_parser(prog).parse_args(args)
    keywords = _keywords(options)

    from kipoi_mcdropout.cli.data import Data
    from kipoi_mcdropout.cli.run_watch import run_watch
    from kipoi_mcdropout.runs.ism import IsmPaths, load_function

    data = Data(options, only_of_files=("length",))
    shard = parse_shard(options.shard)
    paths = IsmPaths.check(options.output, options.overwrite, shard, options.resume)
    conformal = asked_conformal(options)

    from kipoi_mcdropout.runs.ism.mutate import mutate
    from kipoi_mcdropout.runs.ism.record import Asked

    selection = keywords["output_sel_fn"]
    function = None if selection is None else load_function(selection)
    description = describe_model(options, **{k: v for k, v in keywords.items() if k in MODEL_FLAGS})
    loaded = data.load_model(description)
    prepared = _Prepared(loaded, keywords, options, function)
    prepared.with_settings(description.settings)  # its errors come before those of the data
    # Arguments of a dataloader may give another order of the bases than the model's default.
    own = data.settings(description.settings, loaded)
    model, settings, running = prepared.with_settings(own)
    sequences = data.open(model)
    n = sequences.n
    watch = run_watch(n if n is None or shard is None else n // shard.of, options.scheduler == "none")
    asked = Asked([*prog.split(), *args], selection, keywords["score_kwargs"])
    try:
        done = mutate(
            model, sequences, settings, running, paths, watch, asked, options.background, conformal
        )
    finally:
        watch.close()
    draws = f"at most {done.n_draws}" if settings.effects.stops_early else str(done.n_draws)
    _report(done.run, f"{draws} draws", paths, watch.n_bad)
    return EXIT_OK


@dataclass(frozen=True)
class _Prepared:
    """What is known before the data: the loaded model and the words of the command."""

    loaded: list[Any]  # the model, and its other members
    keywords: dict[str, Any]
    options: argparse.Namespace
    select: Any

    def with_settings(self, settings: Any) -> Any:
        """The model, and all options in their places.

        Raises
        ------
        InputError
            If one of them is not as stated.
        """
        from kipoi_mcdropout.effects.scores import parse_scores
        from kipoi_mcdropout.effects.summary import EffectOptions
        from kipoi_mcdropout.effects.until import Until
        from kipoi_mcdropout.model.ensemble import draws_of
        from kipoi_mcdropout.model.model import Model
        from kipoi_mcdropout.runs.ism.mutate import MutationOptions, ism_options
        from kipoi_mcdropout.runs.options import RunOptions

        get, options = self.keywords.__getitem__, self.options
        try:
            scores = parse_scores(get("scores"), get("score_kwargs"), get("pseudocount"))
            effects = EffectOptions(
                scores, draws_of(get("n_draws")), tuple(get("quantiles")), get("keep_draws"),
                Until.of(options.until, options.threshold, len(scores)),
            )  # fmt: skip
            mutation = MutationOptions(
                get("start"), get("end"), get("test_ref_ref"), get("mask_scope"),
                member_means=options.member_means,
            )  # fmt: skip
            running = RunOptions(
                get("batch_size"), get("engine"), get("memory_bytes"), get("verify"), options.scheduler,
                options.on_error, options.overwrite, options.resume, parse_shard(options.shard),
            )  # fmt: skip
            words = {name: get(name) for name in READOUT_FLAGS if get(name) is not None}
            model = Model.of(self.loaded, with_readout(settings, words, scores), self.select)
            chosen = ism_options(model, effects, get("seed"), get("targets"), mutation, running)
        except TypeError as error:
            if options.imp_score_kwargs is None:
                raise
            raise InputError(f"a value in --imp_score_kwargs has a wrong type: {error}") from error
        return model, chosen, running


def _keywords(options: argparse.Namespace) -> dict[str, Any]:
    """Arguments of MCDropoutISM."""
    keywords: dict[str, Any] = {
        "model_input": options.model_input,
        "scores": options.scores,
        "score_kwargs": None
        if options.score_kwargs is None
        else [parse_json(text, "--score_kwargs") for text in options.score_kwargs],
        "batch_size": options.batch_size,
        "output_sel_fn": options.output_sel_fn,
        "category_axis": options.category_axis,
        "test_ref_ref": options.test_ref_ref,
        "n_draws": options.n_draws,
        "seed": options.seed,
        "targets": options.target,
        "start": options.start,
        "end": options.end,
        "mask_scope": options.mask_scope,
        "quantiles": options.quantiles,
        "keep_draws": options.keep_draws,
        "ignore": options.ignore,
        "engine": options.engine,
        "memory_bytes": options.memory,
        "verify": not options.no_verify,
        "alphabet": options.alphabet,
        "label_axis": options.label_axis,
        "vocabulary": options.vocabulary,
        "dtype": options.dtype,
        "device": options.device,
        "allow_tf32": options.allow_tf32,
        "pseudocount": options.pseudocount,
        **{name: getattr(options, name) for name in READOUT_FLAGS},
    }
    if options.imp_score_kwargs is not None:
        extra = parse_json(options.imp_score_kwargs, "--imp_score_kwargs")
        if unknown := set(extra) - set(keywords):
            raise InputError(
                f"--imp_score_kwargs has unknown {sorted(unknown)}; known are {sorted(keywords)}"
            )
        keywords.update(extra)
    return keywords


def _report(run: Any, draws: str, paths: Any, n_bad: int) -> None:
    from kipoi_mcdropout.cli.messages import say, warn
    from kipoi_mcdropout.runs.session import shard_folder

    where = ", ".join(map(str, paths.outputs))
    if paths.shard is not None:
        where = str(shard_folder(paths.first, paths.shard))
    if run.nothing_left:
        say(f"this run was already complete; nothing was done: {where}")
        return
    say(f"{run.n_sequences} sequences, {draws}: {where}")
    if run.failed:
        warn(
            f"{len(run.failed)} sequences failed and are left out; the first failed because: "
            f"{run.failed[0]['reason']}"
        )
    if n_bad:
        warn(f"{n_bad} effects are NaN: see the columns n_nonfinite and n_saturated")
