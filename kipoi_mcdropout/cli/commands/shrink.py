"""`kipoi mcdropout shrink`: adds shrunken effects and the local false sign rate to a result."""

from __future__ import annotations

import argparse

from kipoi_mcdropout.cli.arguments import Parser
from kipoi_mcdropout.cli.table_arguments import add_result, add_table_output, table_output
from kipoi_mcdropout.errors import EXIT_OK

_DESCRIPTION = """\
Add shrunken effects to a result, by adaptive shrinkage over all effects of an output (Stephens 2017; the
R package ashr with mixcompdist = "normal"): effect_posterior, the effect drawn towards 0 by as much as
its sd and the other effects suggest, and lfsr, the local false sign rate: the probability that the true
effect does not have this sign.
The sd of a result is the disagreement of the draws of one model. It is not the error of an experiment,
and it is often too small: correct it first (`calibrate --scaled`), or use lfsr only to rank effects."""


def get_parser(prog: str = "kipoi mcdropout shrink") -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = Parser(prog, _DESCRIPTION, f"{prog} out.h5 --target DNase -o shrunken.tsv")
    add_result(parser)
    parser.add_argument(
        "--target",
        nargs="+",
        default=None,
        metavar="OUTPUT",
        help="model outputs, by label, index from 0, or pattern (default: all)",
    )
    parser.add_argument("--score", default=None, help="score to use (default: all that the result has)")
    add_table_output(parser)
    return parser


def main(args: list[str], prog: str = "kipoi mcdropout shrink") -> int:
    """Run the command; returns its exit code."""
    options = get_parser(prog).parse_args(args)

    from kipoi_mcdropout.cli.messages import say
    from kipoi_mcdropout.files.read import read_effects, read_provenance
    from kipoi_mcdropout.files.save import write_effects
    from kipoi_mcdropout.significance.add_shrinkage import add_shrinkage

    path = table_output(options)
    record = read_provenance(options.result)
    table, fits = add_shrinkage(read_effects(options.result, options.target, options.score))
    write_effects(table, path, {**record, "shrinkage": fits}, options.overwrite)
    for fit in fits[:5]:
        without = f"; {fit['n_no_spread']} without an sd get no number" if fit["n_no_spread"] else ""
        say(
            f"{fit['output']} ({fit['score']}): {fit['n']} effects, of which about "
            f"{fit['share_zero']:.0%} are 0{without}"
        )
    if len(fits) > 5:
        say(f"... and {len(fits) - 5} more outputs and scores: see the table's provenance")
    return EXIT_OK
