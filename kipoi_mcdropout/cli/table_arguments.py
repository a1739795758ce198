"""Arguments of the commands that read a result and write its table with more columns."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_result(parser: argparse.ArgumentParser) -> None:
    """The result that is read."""
    parser.add_argument("result", metavar="RESULT", help="result of `ism`, or table of `score_variants`")


def add_table_output(parser: argparse.ArgumentParser) -> None:
    """The table that is written."""
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="FILE",
        help="table to write: .tsv, .tsv.gz, .parquet, .h5ad (AnnData), or - for standard output",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a file that exists")


def table_output(options: argparse.Namespace) -> Path:
    """The path of the table; OutputError if it cannot be written."""
    from kipoi_mcdropout.files import EFFECT_TABLE_SUFFIXES
    from kipoi_mcdropout.files.atomic import check_free, check_outputs

    (path,) = check_outputs([options.output], EFFECT_TABLE_SUFFIXES)
    check_free([path], options.overwrite)
    return path
