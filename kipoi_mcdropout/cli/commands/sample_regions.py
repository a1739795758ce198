"""`kipoi mcdropout sample_regions`: windows on peaks and away from any, as BED."""

from __future__ import annotations

import argparse
from pathlib import Path

from kipoi_mcdropout.cli.arguments import Parser
from kipoi_mcdropout.errors import EXIT_OK

_DESCRIPTION = """\
Sample windows of a genome for a model: half centred on peaks (on the summits of a narrowPeak file), half
background that touches no peak and no blacklisted interval. Windows contain no N and are unique.

The file has six columns (BED6); name and score say which windows are on peaks. Many models of the zoo
use the dataloader SeqIntervalDl of kipoiseq. It reads all columns after the third as labels of the
model: write three columns for it, with --bed3."""


def get_parser(prog: str = "kipoi mcdropout sample_regions") -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = Parser(
        prog,
        _DESCRIPTION,
        f"{prog} -f genome.fa --peaks peaks.narrowPeak -n 200 --length 1000 -o regions.bed",
    )
    parser.add_argument("-f", "--fasta_file", required=True, metavar="FASTA", help="the genome")
    parser.add_argument("--peaks", required=True, metavar="FILE", help="BED or narrowPeak")
    parser.add_argument("--blacklist", metavar="BED", help="intervals that no window may touch")
    parser.add_argument(
        "--chroms",
        nargs="+",
        default=[],
        metavar="CONTIG",
        help="sample from these contigs only, e.g. those of the test set",
    )
    parser.add_argument(
        "--exclude_chroms", nargs="+", default=[], metavar="CONTIG", help="do not sample from these"
    )
    windows = parser.add_argument_group("windows")
    windows.add_argument("-n", type=int, required=True, help="number of windows, an even number")
    windows.add_argument("--length", type=int, required=True, metavar="BP", help="length of each window")
    windows.add_argument(
        "--seed",
        type=int,
        default=0,
        help="seed of the sampling; the same seed gives the same windows (default 0)",
    )
    windows.add_argument(
        "--gc_match",
        action="store_true",
        help="choose background windows with the GC content of the peak windows",
    )
    windows.add_argument(
        "--strand",
        default="+",
        metavar="STRAND",
        help="strand of the windows: + for all (default), or random",
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="BED", help="file to write, or - for standard output"
    )
    parser.add_argument(
        "--bed3", action="store_true", help="write only chrom, start and end, as kipoiseq needs it"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    return parser


def main(args: list[str], prog: str = "kipoi mcdropout sample_regions") -> int:
    """Run the command; returns its exit code."""
    options = get_parser(prog).parse_args(args)

    from kipoi_mcdropout.cli.messages import say
    from kipoi_mcdropout.files.atomic import atomic_path, check_free
    from kipoi_mcdropout.files.standard_output import results
    from kipoi_mcdropout.sequence.bed import read_intervals
    from kipoi_mcdropout.significance.regions import RegionOptions, bed_text, sample_regions

    wanted = RegionOptions(
        options.n,
        options.length,
        options.seed,
        options.strand,
        options.gc_match,
        tuple(options.chroms),
        tuple(options.exclude_chroms),
    )
    check_free([Path(options.output)], options.overwrite)
    blacklist = None if options.blacklist is None else read_intervals(options.blacklist)
    regions = sample_regions(options.fasta_file, read_intervals(options.peaks), wanted, blacklist)
    text = bed_text(regions, 3 if options.bed3 else 6)
    if options.output == "-":
        results().write(text)
        return EXIT_OK
    with atomic_path(options.output, options.overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")
    say(f"{len(regions)} windows: {options.output}")
    return EXIT_OK
