"""`kipoi mcdropout calibrate`: predicted effects and their sd against measured ones."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from kipoi_mcdropout.cli.arguments import Parser
from kipoi_mcdropout.errors import EXIT_OK

if TYPE_CHECKING:
    import pandas as pd

    from kipoi_mcdropout.significance.calibration import CalibrationResult

_DESCRIPTION = """\
Compare predicted effects with measured ones: the share of measured effects inside the 50, 80 and 95 %
intervals before and after recalibration; lambda, the mean of ((measured - predicted) / spread)**2, which
is 1 where the spread is right; sd_scale, the factor for the sd that makes lambda 1; and the histogram of
the probability integral transform (PIT: the predicted probability of a value below the measured one; the
histogram is flat where the intervals are right). Warnings say what makes these numbers meaningless, such
as effects that are not correlated."""


def get_parser(prog: str = "kipoi mcdropout calibrate") -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = Parser(prog, _DESCRIPTION, f"{prog} out.h5 measured.tsv --target DNase -o calibration.tsv")
    parser.add_argument("result", metavar="RESULT", help="result of `ism`, or table of `score_variants`")
    parser.add_argument(
        "measured",
        nargs="?",
        metavar="TSV",
        help="table with columns variant (chrom:position:ref:alt, position from 1, forward strand), "
        "effect and, if known, se (standard error), with decimal points; not needed with "
        "--sd_scale",
    )
    parser.add_argument("--target", required=True, metavar="OUTPUT", help="model output")
    parser.add_argument("--score", default=None, help="score to use; needed if the result has several")
    parser.add_argument(
        "--align",
        choices=["none", "linear"],
        default="none",
        help="'linear': first fit a line between the predicted and the measured scale (default none)",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="table of coverage to write: .tsv, or - for standard output",
    )
    parser.add_argument(
        "--scaled",
        metavar="FILE",
        help="also write the result's table with effect_sd multiplied by sd_scale: .tsv, or - for "
        "standard output",
    )
    parser.add_argument(
        "--sd_scale",
        type=float,
        metavar="FACTOR",
        help="factor by which --scaled multiplies effect_sd, e.g. one found on other variants (default: "
        "the sd_scale of this comparison)",
    )
    _add_interval_arguments(parser)
    parser.add_argument(
        "--sd",
        choices=["total", "within", "between"],
        default="total",
        help="which spread to compare with the errors, for a model with several members: of all draws "
        "(default), of the masks within one member, or between members",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    return parser


def _add_interval_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--conformal",
        dest="conformal_output",
        metavar="FILE",
        help="also write a calibration of intervals and of the sign's probability: .json",
    )
    parser.add_argument(
        "--bins",
        nargs="+",
        type=float,
        default=[],
        metavar="EFFECT",
        help="with --conformal: where groups by |predicted effect| end, e.g. 0.05 0.5 for three groups "
        "(default: groups that hold half of the effects, then a quarter, 15, 7 and 3 percent of them; "
        "those with fewer than 100 effects are merged)",
    )
    parser.add_argument(
        "--level",
        type=float,
        default=0.95,
        help="with --conformal: level that each group must have enough effects for; --bins with fewer "
        "are merged, with a warning (default 0.95)",
    )


def main(args: list[str], prog: str = "kipoi mcdropout calibrate") -> int:
    """Run the command; returns its exit code."""
    options = get_parser(prog).parse_args(args)

    from kipoi_mcdropout.cli.messages import say
    from kipoi_mcdropout.files.atomic import check_free, check_outputs, write_tsv
    from kipoi_mcdropout.files.measured import read_measured
    from kipoi_mcdropout.files.read import one_score, read_effects, read_provenance
    from kipoi_mcdropout.significance.calibration import calibrate, scale_sd, with_spread

    _check_words(options)
    wanted = [path for path in (options.output, options.scaled) if path is not None]
    check_free(check_outputs(wanted, (".tsv",)), options.overwrite)
    if options.conformal_output is not None:
        check_free(check_outputs([options.conformal_output], (".json",)), options.overwrite)
    whole = read_effects(options.result, [options.target], options.score)
    one_score(whole, options.score)
    _check_one_output(whole["output"], options.target)
    record = read_provenance(options.result)
    predicted = with_spread(whole, options.sd)
    result = None
    if options.measured is not None:
        measured = read_measured(options.measured)
        result = calibrate(measured, predicted, align=options.align)
        made = {**record, "calibration": {**result.provenance(), "sd": options.sd}}
        if options.output is not None:
            write_tsv(result.table(), options.output, options.overwrite, provenance=made)
    if options.scaled:
        made = {} if result is None else result.provenance()
        factor = options.sd_scale if result is None or options.sd_scale else result.sd_scale
        made = {**record, "calibration": {**made, "sd_scale": factor}}
        scaled = scale_sd(predicted, factor)
        write_tsv(scaled, options.scaled, options.overwrite, provenance=made)
    if result is None:
        say(f"effect_sd multiplied by {options.sd_scale:g}: {options.scaled}")
    else:
        _tell(result)
    if options.conformal_output is not None:
        _write_intervals(options, measured, whole, record, prog, args)
    return EXIT_OK


def _write_intervals(
    options: argparse.Namespace,
    measured: pd.DataFrame,
    predicted: pd.DataFrame,
    record: dict[str, Any],
    prog: str,
    args: list[str],
) -> None:
    """Write the calibration of intervals, and say what is in it."""
    from kipoi_mcdropout.cli.messages import say, warn
    from kipoi_mcdropout.files.calibration import calibration_record, write_calibration
    from kipoi_mcdropout.significance.conformal import describe_group
    from kipoi_mcdropout.significance.interval_calibration import calibrate_intervals

    made = calibration_record(record, options.measured, [*prog.split(), *args])
    calibration = calibrate_intervals(
        measured, predicted, record, align=options.align, sd=options.sd, bins=options.bins,
        level=options.level, made=made,
    )  # fmt: skip
    write_calibration(calibration, options.conformal_output, options.overwrite)
    groups = calibration.groups
    say(f"intervals by {calibration.n} effects: {options.conformal_output}")
    widths = groups.half_widths[:, groups.levels.index(options.level)]
    for number, (n, width) in enumerate(zip(groups.n, widths, strict=True)):
        where = describe_group(groups.edges, number)
        say(f"  {where}: {n} effects, {options.level:g} interval effect +- {width:.3g} spreads")
    for code, message in calibration.cautions:
        warn(f"warning: {code}: {message}")


def _tell(result: CalibrationResult) -> None:
    """Print the results and their warnings."""
    from kipoi_mcdropout.cli.messages import say, warn

    say(f"{result.n} variants; lambda {result.variance_scale:.4g}, sd_scale {result.sd_scale:.4g}")
    say(
        f"correlation of measured and predicted effects {result.correlation.r:.3g} (95 % interval "
        f"{result.correlation.lower:.3g} to {result.correlation.upper:.3g})"
    )
    if result.align == "linear":
        say(f"the line: measured = {result.intercept:.4g} + {result.slope:.4g} * predicted")
    say(f"PIT histogram, 10 bins: {' '.join(map(str, result.pit_counts))}")
    for n, words in (
        (
            result.n_no_spread,
            "variants are left out: their effect is the same in all draws, so they have no interval",
        ),
        (result.n_only_measured, "measured variants have no prediction and are left out"),
        (
            result.n_repeated,
            "rows are left out: their variant lies nearer to the middle of another window",
        ),
    ):
        if n:
            say(f"{n} {words}")
    for code, message in result.cautions:
        warn(f"warning: {code}: {message}")


def _check_one_output(outputs: pd.Series, target: str) -> None:
    from kipoi_mcdropout.errors import InputError

    names = list(outputs.unique())
    if len(names) != 1:
        raise InputError(f"--target must name one output; {target!r} names {', '.join(names)}")


def _check_words(options: argparse.Namespace) -> None:
    """Raise InputError if arguments cannot be combined."""
    from kipoi_mcdropout.errors import InputError

    if options.sd_scale is not None and not options.scaled:
        raise InputError("--sd_scale is used by --scaled only; give --scaled FILE too")
    if options.measured is None and options.sd_scale is None:
        raise InputError("give a table of measured effects, or --sd_scale with a factor found before")
    made = [path for path in (options.output, options.conformal_output) if path is not None]
    if (options.measured is None) != (not made):
        raise InputError(
            "-o and --conformal write what measured effects say: give one of them (or both) and "
            "the table of measured effects, or neither"
        )
    if options.bins and options.conformal_output is None:
        raise InputError("--bins is used by --conformal only; give --conformal FILE too")
