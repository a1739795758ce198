"""`kipoi mcdropout multiqc`: a summary of a run that MultiQC shows."""

from __future__ import annotations

import argparse

from kipoi_mcdropout.cli.arguments import Parser
from kipoi_mcdropout.errors import EXIT_OK

_DESCRIPTION = """\
Write a summary of a run for MultiQC: what was scored and skipped, the number of draws and the error of
the sd that follows from it, and the warnings of `report`. MultiQC finds files whose names end in
_mqc.json in the folder that it is given, and makes one table of those of many runs.
For a VCF, the ledger (alleles scored, and skipped by reason) goes into a second file beside it,
..._ledger_mqc.json, which MultiQC shows as a bar.

exit codes: 0 done, 2 bad input (nothing is written)."""


def get_parser(prog: str = "kipoi mcdropout multiqc") -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = Parser(prog, _DESCRIPTION, f"{prog} variants.parquet skipped.tsv -o variants_mqc.json")
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="RESULT",
        help="result of `ism`, or table of `score_variants` (if you like, with that of --skipped)",
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="name of the summary, ..._mqc.json"
    )
    parser.add_argument(
        "--sample",
        default=None,
        metavar="NAME",
        help="name of the row in MultiQC's table (default: that of the result)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    return parser


def main(args: list[str], prog: str = "kipoi mcdropout multiqc") -> int:
    """Run the command; returns its exit code."""
    options = get_parser(prog).parse_args(args)

    from kipoi_mcdropout.cli.messages import say
    from kipoi_mcdropout.reports.multiqc import write_multiqc

    for path in write_multiqc(
        options.inputs, options.output, sample=options.sample, overwrite=options.overwrite
    ):
        say(f"for MultiQC: {path}")
    return EXIT_OK
