"""`kipoi mcdropout export_mr`: what the R packages for Mendelian randomization read."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from kipoi_mcdropout.cli.arguments import Parser
from kipoi_mcdropout.cli.instruments import add_instrument_arguments, load_instruments
from kipoi_mcdropout.errors import EXIT_OK

_DESCRIPTION = """\
Write effects on an exposure and an outcome for TwoSampleMR, MendelianRandomization, RadialMR, MR-PRESSO
and deepmr, for all sequences together and for each sequence.
README.txt has the R lines that load each file. With several outcomes each has a folder with its name.
Characters that a file name cannot have, and %, are written as in a URL (a/b becomes a%2Fb); README.txt
in the folder has the name itself."""


def get_parser(prog: str = "kipoi mcdropout export_mr") -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = Parser(prog, _DESCRIPTION, f"{prog} out.h5 --exposure FOXA2 --outcome DNase -o mr/")
    add_instrument_arguments(parser)
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder to write into")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    return parser


def main(args: list[str], prog: str = "kipoi mcdropout export_mr") -> int:
    """Run the command; returns its exit code."""
    options = get_parser(prog).parse_args(args)

    from kipoi_mcdropout.cli.messages import say, warn
    from kipoi_mcdropout.files.atomic import atomic_path
    from kipoi_mcdropout.mr import diagnose, export_mr
    from kipoi_mcdropout.mr.export.file_names import safe_file_name

    placing = partial(atomic_path, overwrite=True)  # export_mr has looked what exists
    many = load_instruments(options)
    for instruments in many:
        folder = Path(options.output)
        if len(many) > 1:
            folder /= safe_file_name(instruments.outcome)
        folder.mkdir(parents=True, exist_ok=True)
        files = export_mr(instruments, folder, overwrite=options.overwrite, placing=placing)
        for code, message in diagnose(instruments):
            warn(f"warning: {instruments.exposure} -> {instruments.outcome}: {code}: {message}")
        say(f"{instruments.n_kept} instruments: {folder}/{{{','.join(sorted(files))}}}")
    return EXIT_OK
