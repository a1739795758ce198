"""`kipoi mcdropout intervals`: adds intervals that hold a stated share of measurements to a result."""

from __future__ import annotations

import argparse

from kipoi_mcdropout.cli.arguments import Parser
from kipoi_mcdropout.cli.interval_arguments import add_conformal_arguments
from kipoi_mcdropout.cli.table_arguments import add_result, add_table_output, table_output
from kipoi_mcdropout.errors import EXIT_OK

_DESCRIPTION = """\
Add calibrated intervals to a result: ci_lower and ci_upper, which hold the stated share of measured
effects, and sign_probability_calibrated, the probability that a measured effect has the sign of
effect_mean. The calibration comes from `calibrate --conformal` and must be of the same model, score and
output. Effects of other outputs and scores get no number. `ism` and `score_variants` have the same
options."""


def get_parser(prog: str = "kipoi mcdropout intervals") -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = Parser(
        prog, _DESCRIPTION, f"{prog} out.h5 --conformal calibration.json --level 0.95 -o intervals.tsv"
    )
    add_result(parser)
    add_conformal_arguments(parser, required=True)
    add_table_output(parser)
    return parser


def main(args: list[str], prog: str = "kipoi mcdropout intervals") -> int:
    """Run the command; returns its exit code."""
    options = get_parser(prog).parse_args(args)

    from kipoi_mcdropout.cli.messages import say
    from kipoi_mcdropout.files.calibration import read_conformal
    from kipoi_mcdropout.files.read import read_effects, read_provenance
    from kipoi_mcdropout.files.save import write_effects
    from kipoi_mcdropout.significance.add_intervals import add_intervals, with_conformal

    path = table_output(options)
    conformal = read_conformal(options.conformal, options.level)
    record = read_provenance(options.result)
    table = add_intervals(read_effects(options.result), record, conformal)
    write_effects(table, path, with_conformal(record, conformal), options.overwrite)
    n = int(table["ci_lower"].notna().sum())
    say(f"{n} of {len(table)} effects have {options.level:g} intervals: {path}")
    return EXIT_OK
