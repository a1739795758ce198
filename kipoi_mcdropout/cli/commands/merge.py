"""`kipoi mcdropout merge`: the outputs of a run from its shards."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from kipoi_mcdropout.cli.arguments import Parser
from kipoi_mcdropout.errors import EXIT_OK, EXIT_STRICT, InputError

_DESCRIPTION = """\
Join the shards of `kipoi mcdropout ism --shard I/N` or `score_variants --shard I/N`, which lie in
OUTPUT.shards, and write the outputs of that run. The outputs are the same as without shards. The command
refuses by name a shard that is missing, unfinished, damaged, there twice, or from another run (another
model, seed, input or option). For variants it reads the VCF again."""


def get_parser(prog: str = "kipoi mcdropout merge") -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = Parser(prog, _DESCRIPTION, f"{prog} out.vcf.gz.shards")
    parser.add_argument("folder", metavar="OUTPUT.shards", help="the folder with all shards of a run")
    parser.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
    parser.add_argument(
        "--remove", action="store_true", help="remove the shards after the outputs are written"
    )
    return parser


def main(args: list[str], prog: str = "kipoi mcdropout merge") -> int:
    """Run the command; returns its exit code."""
    options = get_parser(prog).parse_args(args)

    from kipoi_mcdropout.cli.messages import say, warn
    from kipoi_mcdropout.runs.merge import sharded_run

    folder = Path(options.folder)
    shards = sharded_run(folder)
    kind, code = shards.state.kind, EXIT_OK
    if kind == "ism":
        from kipoi_mcdropout.runs.ism import merge_ism

        run = merge_ism(shards, options.overwrite)
        say(f"{run.n_sequences} sequences: {', '.join(shards.state.outputs['files'])}")
        if run.failed:
            warn(f"{len(run.failed)} sequences failed and are left out")
    elif kind == "score_variants":
        from kipoi_mcdropout.vcf.run import merge_variants

        ledger = merge_variants(shards, options.overwrite)
        say(ledger.summary())
        if (nothing := ledger.nothing_scored()) is not None:
            warn(nothing)
            code = EXIT_STRICT
    else:
        raise InputError(f"{folder} has shards of a kind that this version does not know: {kind!r}")
    if options.remove:
        shutil.rmtree(folder)
    return code
