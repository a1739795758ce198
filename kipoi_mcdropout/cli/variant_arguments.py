"""Options of the variants that a command reads."""

from __future__ import annotations

import argparse
from typing import Any

from kipoi_mcdropout.errors import InputError

_FORMATS = ("auto", "vcf", "table", "bed", "names")


def add_variants(parser: argparse.ArgumentParser) -> None:
    """Where the variants come from, and how their file is read."""
    parser.add_argument(
        "-i",
        "--input_vcf",
        metavar="FILE",
        help="file of the variants: VCF (plain or bgzipped) or BCF; or a table with columns chrom, pos "
        "(from 1), ref and alt; BED (from 0) with REF and ALT; or a name a line; - for standard input",
    )
    parser.add_argument(
        "--variants",
        nargs="+",
        metavar="NAME",
        help="variants to score, in quotes: 'chr1:1000:A>G', chr1:1000:A:G or chr1-1000-A-G (from 1)",
    )
    parser.add_argument(
        "--input_format",
        choices=_FORMATS,
        default="auto",
        help="what the file of variants is (default auto: find out, or refuse)",
    )
    parser.add_argument(
        "--columns",
        nargs="+",
        default=[],
        metavar="PART=NAME",
        help="names of the columns of a table, where they are not clear: ref=A2 alt=A1; parts are "
        "chrom, pos, ref, alt, id",
    )
    parser.add_argument(
        "--region",
        default=None,
        help="score only records that overlap this region: chr1, chr1:1000-2000 (1-based)",
    )
    parser.add_argument(
        "--contig_map",
        default=None,
        metavar="FILE",
        help="file with two columns: name of a contig of the variants, its name in the FASTA",
    )


def given_variants(options: argparse.Namespace) -> Any:
    """The file or the names that were given.

    Raises
    ------
    InputError
        If neither is given, or both are.
    """
    if (options.input_vcf is None) == (options.variants is None):
        raise InputError(
            "give either -i, with a file of variants, or --variants, with names such as 'chr1:1000:A>G'"
        )
    return options.input_vcf if options.variants is None else list(options.variants)


def given_columns(options: argparse.Namespace) -> dict[str, str]:
    """The columns by part.

    Raises
    ------
    InputError
        If a word is not PART=NAME.
    """
    pairs = [word.partition("=") for word in options.columns]
    for part, sign, name in pairs:
        if not (part and sign and name):
            raise InputError(f"--columns must be PART=NAME, such as ref=A2; got {part + sign + name!r}")
    return {part: name for part, _, name in pairs}
