"""`kipoi mcdropout mr`: the slope of one model output on another, with mutants as instruments."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from kipoi_mcdropout.cli.arguments import Parser
from kipoi_mcdropout.cli.instruments import add_instrument_arguments, load_instruments
from kipoi_mcdropout.errors import EXIT_OK

_DESCRIPTION = """\
Mendelian randomization: the causal slope of one or more outcomes on an exposure, both outputs of the
model, from the effects of mutants on both. The bootstrap over draws is the estimate to look at first:
all effects share their draws, which the other methods take to be independent. Warnings go to stderr and,
as codes, into the table."""


def get_parser(prog: str = "kipoi mcdropout mr") -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = Parser(prog, _DESCRIPTION, f"{prog} out.h5 --exposure FOXA2 --outcome DNase -o mr.tsv")
    add_instrument_arguments(parser)
    parser.add_argument(
        "--methods",
        nargs="+",
        default=None,
        metavar="METHOD",
        help="estimators to run, by their names in the table (default: egger, ivw, weighted_median, "
        "weighted_mode and, if the result has draws, the bootstraps over draws)",
    )
    parser.add_argument(
        "--convention",
        choices=["twosamplemr", "mendelianrandomization"],
        default="twosamplemr",
        help="the R package whose formulas are followed where they differ (default twosamplemr)",
    )
    parser.add_argument("--n_bootstrap", type=int, default=1000, help="replicates (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default 0)")
    parser.add_argument(
        "--leave_one_out", metavar="FILE", help="also write the IVW estimate without each mutant"
    )
    parser.add_argument(
        "--across_sequences",
        metavar="FILE",
        help="also write MR-Egger within each sequence and the REML combination",
    )
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="table, .tsv, or -")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    return parser


def main(args: list[str], prog: str = "kipoi mcdropout mr") -> int:
    """Run the command; returns its exit code."""
    options = get_parser(prog).parse_args(args)

    import pandas as pd

    from kipoi_mcdropout.cli.messages import say, warn
    from kipoi_mcdropout.files.atomic import check_free, check_outputs, write_tsv
    from kipoi_mcdropout.files.read import read_provenance
    from kipoi_mcdropout.mr import leave_one_out, mr_across_sequences, mr_multiple

    extra = [options.leave_one_out, options.across_sequences]
    wanted = [options.output, *(path for path in extra if path is not None)]
    check_free(check_outputs(wanted, (".tsv",)), options.overwrite)
    many = load_instruments(options)
    resampling = {"n_bootstrap": options.n_bootstrap, "seed": options.seed}
    table = mr_multiple(many, options.methods, convention=options.convention, **resampling)
    tables = {options.output: table}
    if options.leave_one_out is not None:
        tables[options.leave_one_out] = pd.concat(
            [
                leave_one_out(i, convention=options.convention).assign(
                    exposure=i.exposure, outcome=i.outcome
                )
                for i in many
            ]
        )
    if options.across_sequences is not None:
        parts = []
        for i in many:
            result = mr_across_sequences(i, convention=options.convention, **resampling)
            combined = pd.DataFrame([{"sequence": "(combined)", **asdict(result.combined)}])
            both = pd.concat([result.table, combined])
            parts.append(both.assign(exposure=i.exposure, outcome=i.outcome))
        tables[options.across_sequences] = pd.concat(parts)
    record = {
        **read_provenance(options.result),
        "mr": {
            "convention": options.convention,
            **resampling,
            "instruments": [
                {"exposure": i.exposure, "outcome": i.outcome, **i.provenance} for i in many
            ],
        },
        "warnings": [list(map(str, words)) for words in table.attrs["warnings"]],
    }
    for path, rows in tables.items():
        write_tsv(rows, path, options.overwrite, provenance=json.loads(json.dumps(record, default=str)))
    for exposure, outcome, code, message in table.attrs["warnings"]:
        warn(f"warning: {exposure} -> {outcome}: {code}: {message}")
    say(f"{len(table)} estimates: {', '.join(map(str, tables))}")
    return EXIT_OK
