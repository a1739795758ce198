"""`kipoi mcdropout calibrate`: predicted effects and their sd against measured ones."""

from __future__ import annotations

import argparse

from kipoi_mcdropout.cli.arguments import Parser
from kipoi_mcdropout.errors import EXIT_OK

_DESCRIPTION = """\
Compare predicted effects with measured ones: coverage of the 50, 80 and 95 % intervals before and after
recalibration, the histogram of the probability integral transform, and the factor for the sd that makes
the mean squared standardised error 1."""


def get_parser(prog: str = "kipoi mcdropout calibrate") -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = Parser(prog, _DESCRIPTION, f"{prog} out.h5 measured.tsv --target DNase -o calibration.tsv")
    parser.add_argument("result", metavar="RESULT", help="of `ism` or the table of `score_variants`")
    parser.add_argument(
        "measured",
        nargs="?",
        metavar="TSV",
        help="columns variant (chrom:position:ref:alt), effect, se; none with --sd_scale",
    )
    parser.add_argument("--target", required=True, metavar="OUTPUT", help="model output")
    parser.add_argument("--score", default=None, help="which of the result's scores (its only one)")
    parser.add_argument(
        "--align",
        choices=["none", "linear"],
        default="none",
        help="'linear': first find the line between the two scales (default none)",
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="coverage table, .tsv, or -")
    parser.add_argument(
        "--scaled",
        metavar="FILE",
        help="also write the result's table with effect_sd times sd_scale, .tsv, or -",
    )
    parser.add_argument(
        "--sd_scale",
        type=float,
        metavar="FACTOR",
        help="what --scaled multiplies effect_sd by, e.g. found on other variants (the one found here)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    return parser


def main(args: list[str], prog: str = "kipoi mcdropout calibrate") -> int:
    """Run the command; returns its exit code."""
    options = get_parser(prog).parse_args(args)

    import pandas as pd

    from kipoi_mcdropout.atomic import check_free, check_outputs, write_tsv
    from kipoi_mcdropout.calibration import calibrate, scale_sd
    from kipoi_mcdropout.cli.messages import say
    from kipoi_mcdropout.errors import InputError
    from kipoi_mcdropout.results import read_effects, read_provenance, scores_of

    _check_words(options)
    wanted = [path for path in (options.output, options.scaled) if path is not None]
    check_free(check_outputs(wanted, (".tsv",)), options.overwrite)
    predicted = read_effects(options.result, [options.target], options.score)
    if len(scores := scores_of(predicted)) > 1:
        raise InputError(f"--score must be one of the result's scores: {', '.join(scores)}")
    if "pos" in predicted and predicted["pos"].notna().all():
        predicted["position"] = predicted["pos"]
    result = None
    if options.measured is not None:
        measured = pd.read_table(options.measured, comment="#")
        result = calibrate(measured, predicted, output=options.target, align=options.align)
        write_tsv(result.coverage, options.output, options.overwrite)
    if options.scaled:
        made = {} if result is None else result.provenance()
        factor = options.sd_scale if result is None or options.sd_scale else result.sd_scale
        record = {**read_provenance(options.result), "calibration": {**made, "sd_scale": factor}}
        scaled = scale_sd(predicted, factor)
        write_tsv(scaled, options.scaled, options.overwrite, provenance=record)
    if result is None:
        say(f"effect_sd times {options.sd_scale:g}: {options.scaled}")
        return EXIT_OK
    counts = " ".join(map(str, result.pit_counts))
    say(f"{result.n} variants; lambda {result.variance_scale:.4g}, sd_scale {result.sd_scale:.4g}")
    say(f"PIT histogram, 10 bins: {counts}")
    if result.n_no_spread:
        say(f"{result.n_no_spread} variants are left out: they have no interval, as no draw differs")
    if result.n_only_measured:
        say(f"{result.n_only_measured} measured variants have no prediction and are left out")
    return EXIT_OK


def _check_words(options: argparse.Namespace) -> None:
    """Raise InputError where arguments do not go together."""
    from kipoi_mcdropout.errors import InputError

    if options.sd_scale is not None and not options.scaled:
        raise InputError("--sd_scale is what --scaled applies; give --scaled FILE too")
    if options.measured is None and options.sd_scale is None:
        raise InputError("give a table of measured effects, or --sd_scale with a factor found before")
    if (options.measured is None) != (options.output is None):
        raise InputError("-o is for the coverage of measured effects: give both of them or neither")
