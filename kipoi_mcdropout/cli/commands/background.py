"""`kipoi mcdropout background`: effects of random substitutions that should mean nothing."""

from __future__ import annotations

import argparse
from typing import Any

from kipoi_mcdropout.cli.arguments import (
    Parser,
    add_draw_arguments,
    add_engine_arguments,
    add_run_arguments,
)
from kipoi_mcdropout.cli.data_arguments import add_data_arguments
from kipoi_mcdropout.cli.model_arguments import add_model, describe_model
from kipoi_mcdropout.cli.readout_arguments import (
    add_readout_arguments,
    readout_words,
    with_readout,
)
from kipoi_mcdropout.cli.score_arguments import add_scores
from kipoi_mcdropout.errors import EXIT_OK

_DESCRIPTION = """\
Compute the effects of random substitutions in sequences that should mean nothing: the given sequences
with their dinucleotides shuffled (Altschul and Erickson 1985), or, with --from_regions, windows of the
genome with the same GC content. `significance`, and `ism` and `score_variants` with --background, then
say how often such a substitution has an effect as large as yours.

Give the model, --n_draws, --seed, --scores, --start and --end of the run that is to be compared. The
file records them, and a run that differs is refused. For `score_variants` add --for_variants: then the
middle of the window is mutated, where a variant lies.

Random positions of a genome flatter: most of a genome is unlike your windows, and a substitution there
does little, so that your effects look large beside it. Shuffles of your own windows, or windows with
their GC content, are a fairer comparison."""


def get_parser(prog: str = "kipoi mcdropout background") -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = Parser(
        prog,
        _DESCRIPTION,
        f"{prog} example/model -f genome.fa --regions regions.bed \\\n"
        "    --n_draws 30 --seed 0 --scores diff -o null.parquet",
    )
    add_model(parser)
    add_data_arguments(parser)
    _add_sampling(parser)
    add_readout_arguments(parser)
    add_draw_arguments(parser)
    add_engine_arguments(parser)
    add_run_arguments(parser, "a window", shards=False)
    parser.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="file to write, .parquet"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    return parser


def _add_sampling(parser: argparse.ArgumentParser) -> None:
    """What is mutated, and how the effects are measured."""
    add_scores(parser)
    parser.add_argument(
        "--n_effects",
        type=int,
        default=10_000,
        metavar="N",
        help="number of substitutions in all (default 10000); the smallest p is 1 / (N + 1)",
    )
    parser.add_argument(
        "--per_window",
        type=int,
        default=25,
        metavar="N",
        help="substitutions in one window (default 25); fewer, in more windows, are more independent "
        "of each other and need more time",
    )
    parser.add_argument(
        "--sample_seed",
        type=int,
        default=0,
        metavar="SEED",
        help="number that fixes the shuffles and the choice of substitutions (default 0)",
    )
    parser.add_argument(
        "--from_regions",
        action="store_true",
        help="do not shuffle: take windows of the genome that touch no region and have the GC content "
        "of one (with -f and --regions)",
    )
    parser.add_argument(
        "--for_variants",
        action="store_true",
        help="mutate only the middle of the window, within 12 bp of where score_variants puts a variant",
    )
    parser.add_argument(
        "--start", type=int, default=0, help="first position to mutate, from 0 (default 0)"
    )
    parser.add_argument(
        "--end",
        type=int,
        default=None,
        help="position after the last one to mutate (default: the length)",
    )


def main(args: list[str], prog: str = "kipoi mcdropout background") -> int:
    """Run the command; returns its exit code."""
    options = get_parser(prog).parse_args(args)

    from kipoi_mcdropout.cli.data import Data
    from kipoi_mcdropout.cli.messages import say
    from kipoi_mcdropout.cli.run_watch import run_watch
    from kipoi_mcdropout.effects.scores import parse_scores
    from kipoi_mcdropout.effects.summary import EffectOptions
    from kipoi_mcdropout.model.ensemble import draws_of
    from kipoi_mcdropout.model.model import Model
    from kipoi_mcdropout.runs.background import make_background
    from kipoi_mcdropout.runs.background.make import background_paths
    from kipoi_mcdropout.runs.ism.record import Asked

    wanted, running = _wanted(options)
    paths = background_paths(options.output, running)
    data = Data(options, only_of_files=("length",))
    scores = parse_scores(options.scores, pseudocount=options.pseudocount)
    effects = EffectOptions(scores, draws_of(options.n_draws))
    description = describe_model(options)
    loaded = data.load_model(description)
    own = with_readout(data.settings(description.settings, loaded), readout_words(options))
    model = Model.of(loaded, own)
    watch = run_watch(wanted.n_windows, options.scheduler == "none")
    asked = Asked([*prog.split(), *args])
    with data.sources(model, wanted) as sequences:
        try:
            run, n = make_background(
                model, sequences, effects, options.seed, options.target, wanted, running, paths, watch,
                asked,
            )  # fmt: skip
        finally:
            watch.close()
    if run.nothing_left:
        say(f"this run was already complete; nothing was done: {options.output}")
    else:
        say(f"{n} substitutions in {run.n_sequences} windows: {options.output}")
    return EXIT_OK


def _wanted(options: argparse.Namespace) -> tuple[Any, Any]:
    """What is to be computed, and how."""
    from kipoi_mcdropout.runs.background import BackgroundOptions
    from kipoi_mcdropout.runs.options import RunOptions

    wanted = BackgroundOptions(
        options.n_effects, options.per_window, options.sample_seed, options.from_regions,
        options.for_variants, options.start, options.end,
    )  # fmt: skip
    running = RunOptions(
        options.batch_size, options.engine, options.memory, not options.no_verify, options.scheduler,
        options.on_error, options.overwrite, options.resume,
    )  # fmt: skip
    return wanted, running
