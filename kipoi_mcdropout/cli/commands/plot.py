"""`kipoi mcdropout plot KIND`: a figure of a result."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kipoi_mcdropout.cli.arguments import Parser
from kipoi_mcdropout.cli.instruments import add_instrument_arguments, load_instruments
from kipoi_mcdropout.errors import EXIT_OK, InputError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_DESCRIPTION = """\
Draw a figure of a result for print. Text has 6 to 8 pt at the width of a journal's column or page;
colours are safe for the colour-blind. The same result always gives the same bytes. The metadata of the
file say how the result was made. `kipoi mcdropout plot KIND -h` explains each kind."""

# Kind: what it shows, and words that an example of it needs.
KINDS = {
    "mean_variance": ("variance of predictions against their mean", "out.h5 --target FOXA2"),
    "ism": ("heat map of effects with the sequence's logo and the sd", "out.h5 --target FOXA2"),
    "effects": ("effect against position, with intervals", "out.h5 --target FOXA2 --sequence 0"),
    "ref_alt_covariance": ("effect sd: shared against independent masks", "out.h5 --target FOXA2"),
    "convergence": ("mean and sd against the number of draws", "out.h5 --target FOXA2"),
    "members": ("effects of each member; sd within against between", "out.h5 --target FOXA2"),
    "volcano": ("|effect| / sd against effect", "variants.parquet --target FOXA2"),
    "mr": ("exposure against outcome, funnel, leave-one-out", "out.h5 --exposure FOXA2 --outcome DNase"),
    "calibration": (
        "coverage and PIT (see the glossary)",
        "out.h5 --measured measured.tsv --target DNase",
    ),
}
_ONE_PANEL = ("mean_variance", "effects", "ref_alt_covariance", "volcano")  # an Axes per output
_HEIGHT_MM = {
    "mean_variance": 85, "ism": 92, "effects": 65, "ref_alt_covariance": 82, "volcano": 75, "mr": 88,
}  # fmt: skip
_PANEL_HEIGHT_MM = 75
_LEAST_WIDTH_MM = {
    "ism": 80, "effects": 80, "convergence": 150, "members": 110, "mr": 150, "calibration": 110,
}  # fmt: skip
_WIDE = ("ism", "effects", "convergence", "members", "mr", "calibration")
_WITHOUT_TARGET = 4  # outputs that are all shown where none is named
_MOST_PANELS = 12
_NOT_RECORDED = ("output", "overwrite", "quiet", "verbose")


def get_parser(prog: str = "kipoi mcdropout plot") -> argparse.ArgumentParser:
    """Parser of the command, with one of its own for each kind."""
    parser = Parser(prog, _DESCRIPTION, f"{prog} mean_variance out.h5 --target FOXA2 -o fig.png fig.pdf")
    kinds = parser.add_subparsers(
        dest="kind", required=True, metavar="KIND", parser_class=Parser, prog=prog
    )
    for kind, (words, example) in KINDS.items():
        own = kinds.add_parser(
            kind,
            help=words,
            description=f"{words[0].upper()}{words[1:]}.",
            example=f"{prog} {kind} {example} -o fig.png fig.svg",
        )
        _add_arguments(own, kind)
    return parser


def main(args: list[str], prog: str = "kipoi mcdropout plot") -> int:
    """Run the command; returns its exit code."""
    options = get_parser(prog).parse_args(args)

    from kipoi_mcdropout.cli.messages import say
    from kipoi_mcdropout.files.atomic import check_free, check_outputs
    from kipoi_mcdropout.plots import save_figure
    from kipoi_mcdropout.plots.save import SUFFIXES
    from kipoi_mcdropout.plots.style import require

    require("matplotlib")
    check_free(check_outputs(options.output, SUFFIXES), options.overwrite)
    figure = _draw(options)
    shown = {key: value for key, value in vars(options).items() if key not in _NOT_RECORDED}
    record = {**_provenance(options.result), "plot": shown}
    save_figure(figure, options.output, overwrite=options.overwrite, provenance=record, dpi=options.dpi)
    say(f"{options.kind}: {', '.join(options.output)}")
    return EXIT_OK


def _add_arguments(parser: argparse.ArgumentParser, kind: str) -> None:
    if kind == "mr":
        _add_mr_arguments(parser)
    else:
        _add_table_arguments(parser, kind)
    parser.add_argument(
        "-o", "--output", nargs="+", required=True, metavar="FILE", help="files to write: .png .svg .pdf"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    width = "183" if kind in _WIDE else "89 for one panel, else 183"
    parser.add_argument(
        "--width_mm", type=float, metavar="MM", help=f"width of the figure (default {width})"
    )
    parser.add_argument(
        "--dpi",
        type=int,
        default=300,
        help="dots per inch of .png files, and of figures with many points (default 300)",
    )


def _add_mr_arguments(parser: argparse.ArgumentParser) -> None:
    add_instrument_arguments(parser)
    parser.add_argument(
        "--convention",
        choices=["twosamplemr", "mendelianrandomization"],
        default="twosamplemr",
        help="R package whose formulas to use where the packages differ (default twosamplemr)",
    )
    parser.add_argument(
        "--leave_out",
        choices=["mutant", "sequence"],
        help="what to leave out in turn (default: a sequence, if there are many mutants from several "
        "sequences)",
    )


def _add_table_arguments(parser: argparse.ArgumentParser, kind: str) -> None:
    sources = {
        "ism": "result of `ism`",
        "convergence": "result of `ism`: an .h5 file written with --keep_draws",
    }
    parser.add_argument(
        "result",
        metavar="RESULT",
        help=sources.get(kind, "result of `ism`, or table of `score_variants`"),
    )
    one = kind in ("ism", "calibration")
    parser.add_argument(
        "--target",
        nargs=None if one else "+",
        required=kind == "calibration",
        metavar="OUTPUT",
        help="model output, by label, index or pattern"
        + ("" if one else f"; a panel each (default: all, if at most {_WITHOUT_TARGET})"),
    )
    parser.add_argument("--score", help="score to show (default: diff if the result has it, else logit)")
    _add_arguments_of_kind(parser, kind)


def _add_arguments_of_kind(parser: argparse.ArgumentParser, kind: str) -> None:
    if kind == "calibration":
        parser.add_argument(
            "--measured",
            required=True,
            metavar="TSV",
            help="table of measured effects, as for `calibrate`: variant, effect, se",
        )
        parser.add_argument(
            "--align",
            choices=["none", "linear"],
            default="none",
            help="as for `calibrate` (default none)",
        )
    if kind in ("ism", "effects"):
        parser.add_argument(
            "--sequence",
            metavar="NAME",
            help="name of the sequence, or its number from 0 (default: the first)",
        )
        parser.add_argument(
            "--start", type=int, metavar="POS", help="first position to show, as on the axis"
        )
        parser.add_argument("--end", type=int, metavar="POS", help="position after the last one to show")
    if kind in ("ism", "effects", "volcano", "convergence"):
        parser.add_argument(
            "--min_z",
            type=float,
            default=2.0,
            metavar="Z",
            help="effects with |effect| / sd below this are shown as weak (default 2)",
        )
    if kind == "effects":
        parser.add_argument(
            "--level",
            type=float,
            default=0.95,
            help="share of the draws that an interval covers (default 0.95)",
        )
    if kind == "volcano":
        parser.add_argument(
            "--labels",
            type=int,
            default=10,
            metavar="N",
            help="number of mutants to label with their names (default 10)",
        )
    if kind == "convergence":
        words = "relative error that is acceptable (default 0.15)"
        parser.add_argument("--tolerance", type=float, default=0.15, help=words)


def _draw(options: argparse.Namespace) -> Figure:
    _check(options)
    if options.kind == "mr":
        return _draw_mr(options)
    table = _read(options)
    if options.kind == "calibration":
        return _draw_calibration(options, table)
    outputs = list(dict.fromkeys(table["output"].astype(str)))
    if options.kind == "ism" and len(outputs) > 1:
        raise InputError(f"plot ism shows one output; name one with --target: {_listed(outputs)}")
    if len(outputs) > (_MOST_PANELS if options.target else _WITHOUT_TARGET):
        raise InputError(_too_many(len(outputs), _listed(outputs)))
    figure, places = _figure(options, len(outputs))
    for output, ax in zip(outputs, places, strict=True):
        _draw_output(options, table, output, ax)
    return figure


def _draw_output(options: argparse.Namespace, table: pd.DataFrame, output: str, ax: Any) -> None:
    from kipoi_mcdropout import plots
    from kipoi_mcdropout.plots.rows import choose_score

    common: dict[str, Any] = {"output": output, "score": options.score, "ax": ax}
    if options.kind in ("ism", "effects"):
        common.update(sequence=options.sequence, start=options.start, end=options.end)
    if "min_z" in options:
        common["min_z"] = options.min_z
    if options.kind == "convergence":
        from kipoi_mcdropout.files.read import read_draws

        score = choose_score(table, options.score)
        rows = table[(table["output"].astype(str) == output) & (table["score"] == score)]
        draws = read_draws(options.result, [output], score)
        plots.plot_convergence(rows.reset_index(drop=True), draws, tolerance=options.tolerance, **common)
        return
    if options.kind == "members":
        score = choose_score(table, options.score)
        rows = table[table["score"].astype(str) == score].reset_index(drop=True)
        means, names = _member_means(options, score)
        plots.plot_members(rows, means, names=names, **common)
        return
    if options.kind == "volcano":
        common["n_labels"] = options.labels
    if options.kind == "effects":
        common["level"] = options.level
    getattr(plots, f"plot_{options.kind}")(table, **common)


def _member_means(options: argparse.Namespace, score: str) -> tuple[Any, tuple[str, ...]]:
    """A column for each row of the score in the table of `_read`, and the names of the members.

    None in place of the means for a table that does not have them.
    """
    from kipoi_mcdropout.effects.member_names import asked_columns, names_of
    from kipoi_mcdropout.files.open_hdf5 import is_hdf5
    from kipoi_mcdropout.files.read import read_member_means, read_provenance

    record = read_provenance(options.result)
    if not is_hdf5(Path(options.result)) and not asked_columns(record):
        return None, ()
    return read_member_means(options.result, options.target, score), names_of(record)


def _draw_mr(options: argparse.Namespace) -> Figure:
    from kipoi_mcdropout.plots import plot_mr

    many = load_instruments(options)
    figure, places = _figure(options, len(many))
    by_sequence = None if options.leave_out is None else options.leave_out == "sequence"
    for instruments, ax in zip(many, places, strict=True):
        plot_mr(instruments, convention=options.convention, by_sequence=by_sequence, ax=ax)
    return figure


def _draw_calibration(options: argparse.Namespace, table: pd.DataFrame) -> Figure:
    from kipoi_mcdropout.cli.messages import warn
    from kipoi_mcdropout.files.measured import read_measured
    from kipoi_mcdropout.plots import plot_calibration
    from kipoi_mcdropout.plots.rows import choose_rows
    from kipoi_mcdropout.significance.calibration import calibrate

    rows = choose_rows(table, None, options.score, ("effect_mean", "effect_sd"), "calibration")
    measured = read_measured(options.measured)
    result = calibrate(measured, rows.table, output=rows.output, align=options.align)
    for code, message in result.cautions:
        warn(f"warning: {code}: {message}")
    figure, (ax,) = _figure(options, 1)
    plot_calibration(result, ax=ax)
    return figure


def _figure(options: argparse.Namespace, n: int) -> tuple[Figure, list[Any]]:
    """A figure with n places: beside each other where they are of a column's width."""
    from kipoi_mcdropout.plots.style import COLUMN_MM, PAGE_MM, new_figure

    columns = 1 if options.kind in _WIDE else min(n, 2)
    rows = math.ceil(n / columns)
    width = options.width_mm or (PAGE_MM if options.kind in _WIDE or columns == 2 else COLUMN_MM)
    figure = new_figure(width, rows * _HEIGHT_MM.get(options.kind, _PANEL_HEIGHT_MM))
    return figure, [figure.add_subplot(rows, columns, i + 1) for i in range(n)]


def _read(options: argparse.Namespace) -> pd.DataFrame:
    """The effects that are asked for."""
    from kipoi_mcdropout.files.read import read_effects

    n_outputs = _provenance(options.result).get("options", {}).get("outputs", 0)
    if not options.target and isinstance(n_outputs, int) and n_outputs > _WITHOUT_TARGET:
        raise InputError(_too_many(n_outputs, "see `kipoi mcdropout audit`"))
    wanted = [options.target] if isinstance(options.target, str) else options.target
    return read_effects(options.result, wanted, options.score)


def _provenance(result: str) -> dict[str, Any]:
    """The provenance of the result; None for a table that other software has written again."""
    from kipoi_mcdropout.files.read import read_provenance

    try:
        return read_provenance(result)
    except InputError:
        return {}


def _check(options: argparse.Namespace) -> None:
    least = _LEAST_WIDTH_MM.get(options.kind, 60)
    if options.width_mm is not None and not least <= options.width_mm <= 1000:
        raise InputError(
            f"--width_mm of plot {options.kind} must lie between {least} and 1000; got "
            f"{options.width_mm:g}"
        )
    if getattr(options, "labels", 0) < 0:
        raise InputError(f"--labels must be 0 or more; got {options.labels}")
    if not 30 <= options.dpi <= 2400:
        raise InputError(f"--dpi must lie between 30 and 2400; got {options.dpi}")


def _too_many(n: int, listed: str) -> str:
    return (
        f"{n} outputs are too many to show: name up to {_MOST_PANELS} with --target, by label, index or "
        f"pattern ({listed})"
    )


def _listed(outputs: list[str]) -> str:
    return ", ".join(outputs[:8]) + (", ..." if len(outputs) > 8 else "")
