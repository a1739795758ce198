"""`kipoi mcdropout tracks`: a result for genome browsers, and for motif discovery."""

from __future__ import annotations

import argparse

from kipoi_mcdropout.cli.arguments import Parser
from kipoi_mcdropout.cli.data_arguments import FASTA_FLAGS
from kipoi_mcdropout.cli.table_arguments import add_result
from kipoi_mcdropout.errors import EXIT_OK, InputError

_DESCRIPTION = """\
Write a result for genome browsers (IGV, UCSC), or for motif discovery (TF-MoDISco).

The result of `ism` becomes, for each output, a bigWig and a bedGraph of each of these tracks:

  effect      effect of the strongest substitution at the position: mean over the draws
  sd          sd over the draws of that effect
  z           that effect divided by its sd
  importance  minus the mean effect of the alternatives at the position

Where windows overlap, a position has the numbers of the window in whose middle it lies nearest; of
equals, of the one that comes first in the result.
The table or VCF of `score_variants` becomes, for each output, a bigBed and a BED file of the alleles,
coloured by effect: vermillion for positive, blue for negative, grey for none.
PREFIX.tracks.json lists the files, with the provenance. This command needs the extra 'tracks'."""


def get_parser(prog: str = "kipoi mcdropout tracks") -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = Parser(
        prog,
        _DESCRIPTION,
        f"{prog} out.h5 --target FOXA2 -o tracks/foxa2\n"
        f"  {prog} out.h5 --target FOXA2 --modisco foxa2.npz",
    )
    add_result(parser)
    parser.add_argument(
        "-o",
        "--output",
        metavar="PREFIX",
        help="how the names of the tracks begin: PREFIX.OUTPUT.effect.bw; a folder if it ends in /",
    )
    parser.add_argument(
        "--modisco",
        metavar="NPZ",
        help="write the result of `ism` for the command `modisco motifs`: for NAME.npz the files "
        "NAME.sequences.npz and, for each output, NAME.OUTPUT.contributions.npz and "
        "NAME.OUTPUT.weighted.npz (weighted by the sd)",
    )
    parser.add_argument(
        "--target",
        nargs="+",
        default=None,
        metavar="OUTPUT",
        help="model outputs, by label, index from 0, or pattern (default: all, if at most 20)",
    )
    parser.add_argument(
        "--score", default=None, help="score to write (default: diff if the result has it, else logit)"
    )
    parser.add_argument(
        *FASTA_FLAGS,
        metavar="FASTA",
        default=None,
        help="gives the lengths of the contigs (default: the FASTA of the run, if it is still there)",
    )
    parser.add_argument(
        "--formats",
        nargs="+",
        choices=["bigwig", "bedgraph", "bigbed", "bed"],
        default=None,
        metavar="FORMAT",
        help="bigwig, bedgraph (of `ism`); bigbed, bed (of `score_variants`); default: both that fit",
    )
    parser.add_argument(
        "--full_colour",
        type=float,
        default=None,
        metavar="EFFECT",
        help="|effect| from which on an allele has the full colour (default: the 99th percentile of the "
        "output)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    return parser


def main(args: list[str], prog: str = "kipoi mcdropout tracks") -> int:
    """Run the command; returns its exit code."""
    options = get_parser(prog).parse_args(args)
    if options.output is None and options.modisco is None:
        raise InputError("give -o PREFIX for tracks, --modisco FILE.npz for motif discovery, or both")

    from kipoi_mcdropout.cli.messages import say
    from kipoi_mcdropout.tracks.modisco import write_modisco
    from kipoi_mcdropout.tracks.track_files import TrackOptions
    from kipoi_mcdropout.tracks.write import make_tracks

    if options.output is not None:
        how = TrackOptions(
            options.target, options.score, options.fasta_file, options.formats, options.full_colour,
            options.overwrite,
        )  # fmt: skip
        files = make_tracks(options.result, options.output, how)
        for line in files.lines:
            say(line)
        say(f"{len(files.paths)} files, listed in {files.paths[-1]}")
    if options.modisco is not None:
        for path in write_modisco(
            options.result,
            options.modisco,
            outputs=options.target,
            score=options.score,
            overwrite=options.overwrite,
        ):
            say(str(path))
    return EXIT_OK
