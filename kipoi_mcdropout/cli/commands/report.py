"""`kipoi mcdropout report`: one HTML file that shows a result."""

from __future__ import annotations

import argparse

from kipoi_mcdropout.cli.arguments import Parser
from kipoi_mcdropout.errors import EXIT_OK

_DESCRIPTION = """\
Write one HTML file that shows a result: what was run, the dropout sites, what was skipped, whether the
draws were enough, the top effects, a genome browser, the plots, and Mendelian randomization with its
warnings in words.
The file is complete in itself and opens without a network. This command needs the extra 'plot'.

Give any of these files, in any order; the command recognises each by its content:
  the result of `ism` (.h5, .parquet, .tsv), or the table of `score_variants -t`, one of them
  the table of `score_variants --skipped`, or of failed sequences of `ism`, of the same run
  tables of `evaluate`
  tables of `mr` (-o, --save_instruments, --leave_one_out, --across_sequences), `export_mr`, or a
  folder that has them

exit codes: 0 done, 2 bad input (no report is written)."""


def get_parser(prog: str = "kipoi mcdropout report") -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = Parser(
        prog,
        _DESCRIPTION,
        f"{prog} out.h5 mr/ -o report.html\n"
        f"  {prog} variants.parquet skipped.tsv -o report.html --top 500 --annotation genes.gff3.gz",
    )
    parser.add_argument(
        "inputs", nargs="+", metavar="RESULT", help="files and folders to show, as listed above"
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="HTML", help="name of the report, .html"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    parser.add_argument(
        "--top", type=int, default=200, metavar="N", help="number of effects in the table (default 200)"
    )
    parser.add_argument(
        "--rank_by",
        choices=["z", "effect"],
        default="z",
        help="rank effects by |effect / sd| (z, the default) or by |effect| (effect)",
    )
    parser.add_argument("--title", default=None, help="title of the report (default: the model's name)")
    parser.add_argument(
        "--no_figures", action="store_true", help="write no plots; matplotlib is not needed then"
    )
    parser.add_argument(
        "--annotation",
        default=None,
        metavar="FILE",
        help="genes: GFF3, GTF or BED (4 to 12 columns), plain or .gz. Their names stand in the tables, "
        "and the genome browser shows them",
    )
    parser.add_argument(
        "--n_regions",
        type=int,
        default=10,
        metavar="N",
        help="number of regions in the genome browser, those of the top effects (default 10). 0 leaves "
        "the browser out; the file is then about 0.6 MB smaller",
    )
    return parser


def main(args: list[str], prog: str = "kipoi mcdropout report") -> int:
    """Run the command; returns its exit code."""
    options = get_parser(prog).parse_args(args)

    from kipoi_mcdropout.cli.messages import say
    from kipoi_mcdropout.reports import write_report

    facts = write_report(
        options.inputs,
        options.output,
        top=options.top,
        rank_by=options.rank_by,
        title=options.title,
        figures=not options.no_figures,
        annotation=options.annotation,
        n_regions=options.n_regions,
        overwrite=options.overwrite,
    )
    if facts.browser is not None and facts.browser.why_not and options.n_regions:
        say(f"note: no genome browser: {facts.browser.why_not}")
    for caution in facts.cautions:
        say(f"note: {caution.title}")
    say(f"report: {options.output}")
    return EXIT_OK
