"""`kipoi mcdropout significance`: the effects of a result against those of a background."""

from __future__ import annotations

import argparse

from kipoi_mcdropout.cli.arguments import Parser
from kipoi_mcdropout.cli.table_arguments import add_result, add_table_output, table_output
from kipoi_mcdropout.errors import EXIT_OK

_DESCRIPTION = """\
Compare the effects of a result with those of a background: random substitutions in sequences that should
mean nothing (`kipoi mcdropout background`). The table has the columns of the result and

  p_empirical            (1 + number of background effects at least as large) / (1 + number of all)
  p_empirical_signed     the same for each direction by itself: twice the smaller of the two p
  percentile             percentage of the background effects that are smaller, the sign left out
  percentile_signed      the same with the sign: 50 is the middle of the background
  percentile_sd, percentile_signed_sd
                         sd of the percentile over the draws: each draw is ranked among the background
                         effects of the same draw; only for a result written with --keep_draws
  q_empirical            p_empirical adjusted for the number of effects on the output (Benjamini and
                         Hochberg)
  sign_probability       share of the draws that agree with the sign of the mean effect
  sign_probability_mcse  its Monte Carlo error

`ism` and `score_variants` with --background give the same columns, and need not keep the draws."""


def get_parser(prog: str = "kipoi mcdropout significance") -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = Parser(prog, _DESCRIPTION, f"{prog} out.h5 --background null.parquet -o significance.tsv")
    add_result(parser)
    parser.add_argument(
        "--background",
        required=True,
        metavar="FILE",
        help="a file of `kipoi mcdropout background`, made with the model, draws, scores and positions "
        "of the result",
    )
    add_table_output(parser)
    return parser


def main(args: list[str], prog: str = "kipoi mcdropout significance") -> int:
    """Run the command; returns its exit code."""
    options = get_parser(prog).parse_args(args)

    from kipoi_mcdropout.cli.messages import say
    from kipoi_mcdropout.files.significance import write_significance

    path = table_output(options)
    ranked = write_significance(options.result, options.background, path, options.overwrite)
    say(f"{ranked.n_rows} effects: {path}")
    if not ranked.with_draws:
        say(
            "note: the result has no draws, so percentile_sd and percentile_signed_sd are left out. "
            "Give --background to the run itself, or write HDF5 with --keep_draws"
        )
    return EXIT_OK
