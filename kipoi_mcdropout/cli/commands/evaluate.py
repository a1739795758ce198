"""`kipoi mcdropout evaluate`: agreement of predicted and measured effects, and whether the sd helps."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from kipoi_mcdropout.cli.arguments import Parser
from kipoi_mcdropout.errors import EXIT_OK

if TYPE_CHECKING:
    from kipoi_mcdropout.significance.evaluation import EvaluationResult

_DESCRIPTION = """\
Compare predicted effects with measured ones: correlations (Pearson, Spearman), the share of right signs,
and the area under the curve of precision and recall (auPRC) for a column of labels. Then put the
variants in order, the most certain first, by |effect|, by |z| = |effect| / sd, by the sd, and by the
share of draws that agree on the sign, and compare how many errors are at the top of each order. All
numbers have intervals by the bootstrap, in which neighbouring variants are drawn together."""


def get_parser(prog: str = "kipoi mcdropout evaluate") -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = Parser(
        prog, _DESCRIPTION, f"{prog} out.h5 measured.tsv --target DNase -o table.tsv --plot curves.png"
    )
    parser.add_argument("result", metavar="RESULT", help="result of `ism`, or table of `score_variants`")
    parser.add_argument(
        "measured",
        metavar="TSV",
        help="table with columns variant (chrom:position:ref:alt, position from 1, forward strand) and "
        "effect, with decimal points; effect may be missing if --label is given",
    )
    parser.add_argument("--target", required=True, metavar="OUTPUT", help="model output")
    parser.add_argument("--score", default=None, help="score to use; needed if the result has several")
    parser.add_argument(
        "--label",
        metavar="COLUMN",
        help="column of TSV with 1 for the variants to be found and 0 for the others, for auPRC",
    )
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="FILE",
        help="table to write: .tsv, or - for standard output",
    )
    parser.add_argument(
        "--plot", nargs="+", default=[], metavar="FILE", help="figure to write: .png .svg .pdf"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    _add_how(parser)
    return parser


def _add_how(parser: argparse.ArgumentParser) -> None:
    """How the comparison is made."""
    parser.add_argument(
        "--coverage",
        type=float,
        default=0.5,
        metavar="SHARE",
        help="share of the variants, the most certain, in which orders are compared (default 0.5)",
    )
    parser.add_argument(
        "--min_measured",
        type=float,
        default=0.0,
        metavar="SIZE",
        help="leave out measured effects of at most this size where signs are compared (default 0)",
    )
    parser.add_argument(
        "--sd",
        choices=["total", "within", "between"],
        default="total",
        help="which spread is the sd, for a model with several members: of all draws (default), of the "
        "masks within one member, or between members",
    )
    parser.add_argument(
        "--cluster",
        metavar="COLUMN",
        help="column of TSV that names what is drawn together in the bootstrap, such as the element "
        "(default: stretches of --block_bp bases)",
    )
    parser.add_argument(
        "--block_bp",
        type=int,
        default=20,
        metavar="BP",
        help="variants in the same stretch of so many bases are drawn together (default 20)",
    )
    parser.add_argument(
        "--n_bootstrap", type=int, default=2000, metavar="N", help="number of samples (default 2000)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap (default 0)")
    parser.add_argument(
        "--level", type=float, default=0.95, help="level of the intervals (default 0.95)"
    )


def main(args: list[str], prog: str = "kipoi mcdropout evaluate") -> int:
    """Run the command; returns its exit code."""
    options = get_parser(prog).parse_args(args)

    from kipoi_mcdropout.files.atomic import check_free, check_outputs, write_tsv
    from kipoi_mcdropout.files.effects import read
    from kipoi_mcdropout.files.measured import read_measured
    from kipoi_mcdropout.significance.evaluation import EvaluationOptions, evaluate

    figures = _checked_figures(options.plot)
    check_free([*check_outputs([options.output], (".tsv",)), *figures], options.overwrite)
    how = EvaluationOptions(
        options.coverage, options.min_measured, options.block_bp, options.n_bootstrap, options.seed,
        options.level, options.sd,
    )  # fmt: skip
    texts = [name for name in (options.label, options.cluster) if name is not None]
    measured = read_measured(options.measured, texts, needs_effect=options.label is None)
    effects = read(options.result)
    result = evaluate(
        effects, measured, target=options.target, score=options.score, label=options.label,
        cluster=options.cluster, options=how,
    )  # fmt: skip
    made = {**effects.provenance, "evaluation": result.provenance()}
    if options.plot:
        _draw(result, options, made)
    write_tsv(_for_a_file(result), options.output, options.overwrite, provenance=made)
    _tell(result)
    return EXIT_OK


def _checked_figures(paths: list[str]) -> list[Any]:
    if not paths:
        return []
    from kipoi_mcdropout.files.atomic import check_outputs
    from kipoi_mcdropout.plots.save import SUFFIXES
    from kipoi_mcdropout.plots.style import require

    require("matplotlib")
    return check_outputs(paths, SUFFIXES)


def _draw(result: EvaluationResult, options: argparse.Namespace, made: dict[str, Any]) -> None:
    from kipoi_mcdropout.plots import plot_evaluation, save_figure

    save_figure(
        plot_evaluation(result.table), options.plot, overwrite=options.overwrite, provenance=made
    )


def _for_a_file(result: EvaluationResult) -> Any:
    """The table, with what holds for all rows repeated in each."""
    return result.table.assign(
        target=result.target,
        score=result.score,
        cautions=";".join(caution.code for caution in result.cautions),
    )


def _tell(result: EvaluationResult) -> None:
    """Print what was found, and the warnings."""
    from kipoi_mcdropout.cli.messages import say, warn

    say(f"{result.n} variants in {result.n_clusters} clusters of neighbours")
    for n, words in (
        (result.n_only_measured, "measured variants have no prediction and are left out"),
        (
            result.n_repeated,
            "rows are left out: their variant lies nearer to the middle of another window",
        ),
        (result.n_without_sign, "measured effects are too small to have a sign"),
        (result.n_predicted_zero, "predicted effects are 0: they count half in the sign accuracy"),
    ):
        if n:
            say(f"{n} {words}")
    for _, row in result.table[result.table["order"] == ""].iterrows():
        name, limits = row["quantity"].replace("_", " "), f"{row['lower']:.3f} to {row['upper']:.3f}"
        say(f"{name} {row['value']:.3f} ({100 * row['level']:.3g} % interval {limits})")
    for sentence in result.sentences:
        say(sentence)
    for code, message in result.cautions:
        warn(f"warning: {code}: {message}")
