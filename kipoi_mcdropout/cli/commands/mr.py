"""`kipoi mcdropout mr`: the slope of one model output on another, with mutants as instruments."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from kipoi_mcdropout.cli.arguments import Parser
from kipoi_mcdropout.cli.instruments import add_instrument_arguments, load_beside, load_instruments
from kipoi_mcdropout.errors import EXIT_OK, InputError

if TYPE_CHECKING:
    import pandas as pd

_EXTRA_TABLES = ("save_instruments", "leave_one_out", "across_sequences", "multivariable")

_DESCRIPTION = """\
Mendelian randomization: estimate how much an outcome changes per change of an exposure (the causal
slope). Exposure and outcomes are outputs of the model; the mutants are the instruments. The command
compares several methods and looks for groups of mutations. If all agree, its answer is one number with
an interval; else it says what they disagree about. Read this answer first: it goes to stderr and into
the column advice. Warnings go to stderr and, as codes, into the table."""


def get_parser(prog: str = "kipoi mcdropout mr") -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = Parser(prog, _DESCRIPTION, f"{prog} out.h5 --exposure FOXA2 --outcome DNase -o mr.tsv")
    add_instrument_arguments(parser)
    parser.add_argument(
        "--methods",
        nargs="+",
        default=None,
        metavar="METHOD",
        help="estimators to run (default: ivw, ivw_robust, egger, conmix, weighted_median, "
        "weighted_mode and, if the result has draws, their bootstraps over draws and mutants)",
    )
    parser.add_argument(
        "--convention",
        choices=["twosamplemr", "mendelianrandomization"],
        default="twosamplemr",
        help="R package whose formulas to use where the packages differ (default twosamplemr)",
    )
    parser.add_argument(
        "--n_bootstrap", type=int, default=1000, help="number of bootstrap replicates (default 1000)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap (default 0)")
    _add_tables(parser)
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="FILE",
        help="table to write: .tsv, or - for standard output",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    return parser


def _add_tables(parser: Parser) -> None:
    """Tables that are written if they are asked for, and what belongs to them."""
    parser.add_argument(
        "--save_instruments",
        metavar="FILE",
        help="also write each mutant: whether it is used, why not, its ratio and its group; "
        "`export_mr`, `plot mr` and `report` take the same mutants from this file",
    )
    parser.add_argument(
        "--leave_one_out", metavar="FILE", help="also write the IVW estimate without each mutant"
    )
    parser.add_argument(
        "--across_sequences",
        metavar="FILE",
        help="also write the estimate of each sequence and their combination (a meta-analysis)",
    )
    parser.add_argument(
        "--across_method",
        default="egger",
        metavar="METHOD",
        help="estimator of --across_sequences (default egger)",
    )
    parser.add_argument(
        "--meta_method",
        choices=["REML", "DL", "PM", "FE"],
        default="REML",
        help="variance between sequences: REML (default), DL (DerSimonian-Laird), PM (Paule-Mandel), or "
        "FE, none",
    )
    parser.add_argument(
        "--hartung_knapp",
        action="store_true",
        help="intervals of the combination by Hartung and Knapp, for few sequences",
    )
    parser.add_argument(
        "--multivariable",
        metavar="FILE",
        help="also write the direct effect of each exposure beside those of --beside (multivariable IVW "
        "and MR-Egger)",
    )
    parser.add_argument(
        "--beside",
        nargs="+",
        metavar="OUTPUT",
        help="further exposures, for --multivariable: outputs by which mutations may change the "
        "outcome too",
    )


def main(args: list[str], prog: str = "kipoi mcdropout mr") -> int:
    """Run the command; returns its exit code."""
    options = get_parser(prog).parse_args(args)

    from kipoi_mcdropout.cli.messages import say, warn
    from kipoi_mcdropout.files.atomic import check_free, check_outputs, write_tsv
    from kipoi_mcdropout.mr import answer, mr_multiple

    if (options.multivariable is None) != (options.beside is None):
        raise InputError("--multivariable FILE and --beside OUTPUT need each other; give both")
    extra = [getattr(options, name) for name in _EXTRA_TABLES]
    wanted = [options.output, *(path for path in extra if path is not None)]
    check_free(check_outputs(wanted, (".tsv",)), options.overwrite)
    many = load_instruments(options)
    resampling = {"n_bootstrap": options.n_bootstrap, "seed": options.seed}
    answers = [answer(i, **resampling) for i in many]
    table = mr_multiple(
        many, options.methods, convention=options.convention, answers=answers, **resampling
    )
    tables = {options.output: table} | _extra_tables(options, many, answers)
    record = json.loads(json.dumps(_record(options, many, answers, table), default=str))
    for path, rows in tables.items():
        write_tsv(rows, path, options.overwrite, provenance=record)
    for exposure, outcome, code, message in table.attrs["warnings"]:
        warn(f"warning: {exposure} -> {outcome}: {code}: {message}")
    for exposure, outcome, words in table.attrs["advice"]:
        warn(f"answer: {exposure} -> {outcome}: {words}")
    say(f"{len(table)} estimates: {', '.join(map(str, tables))}")
    return EXIT_OK


def _extra_tables(
    options: argparse.Namespace, many: list[Any], answers: list[Any]
) -> dict[str, pd.DataFrame]:
    """The tables that are asked for beside that of estimates, by path."""
    import pandas as pd

    from kipoi_mcdropout.mr import leave_one_out
    from kipoi_mcdropout.mr.export.instruments_file import instruments_table

    tables = {}
    if options.save_instruments is not None:
        parts = [instruments_table(i, a.groups) for i, a in zip(many, answers, strict=True)]
        tables[options.save_instruments] = pd.concat(parts)
    if options.leave_one_out is not None:
        parts = [
            leave_one_out(i, convention=options.convention).assign(
                exposure=i.exposure, outcome=i.outcome
            )
            for i in many
        ]
        tables[options.leave_one_out] = pd.concat(parts)
    if options.across_sequences is not None:
        tables[options.across_sequences] = pd.concat([_across(options, i) for i in many])
    if options.multivariable is not None:
        tables[options.multivariable] = pd.concat([_multivariable(options, i) for i in many])
    return tables


def _across(options: argparse.Namespace, one: Any) -> pd.DataFrame:
    """The estimate of each sequence, and their combination."""
    import pandas as pd

    from kipoi_mcdropout.mr import mr_across_sequences
    from kipoi_mcdropout.mr.p_values import with_meaningful_p

    result = mr_across_sequences(
        one,
        options.across_method,
        meta_method=options.meta_method,
        hartung_knapp=options.hartung_knapp,
        convention=options.convention,
        n_bootstrap=options.n_bootstrap,
        seed=options.seed,
    )
    combined = pd.DataFrame([{"sequence": "(combined)", **asdict(result.combined)}])
    each = with_meaningful_p(result.table, of_draws=one.n_draws is not None)
    table: pd.DataFrame = pd.concat([each, with_meaningful_p(combined, of_draws=False)])
    named: pd.DataFrame = table.assign(exposure=one.exposure, outcome=one.outcome)
    return named


def _multivariable(options: argparse.Namespace, one: Any) -> pd.DataFrame:
    """Direct effects of the exposure and of those beside it."""
    import pandas as pd

    from kipoi_mcdropout.mr import mr_multivariable
    from kipoi_mcdropout.mr.p_values import with_meaningful_p

    exposures = [one, *load_beside(options, one)]
    resampling = {"n_bootstrap": options.n_bootstrap, "seed": options.seed}
    parts = [mr_multivariable(exposures, intercept=i, **resampling) for i in (False, True)]
    return with_meaningful_p(pd.concat(parts), of_draws=one.n_draws is not None)


def _record(
    options: argparse.Namespace, many: list[Any], answers: list[Any], table: pd.DataFrame
) -> dict[str, Any]:
    """Provenance of the result, and what was done here."""
    from kipoi_mcdropout.files.read import read_provenance

    return {
        **read_provenance(options.result),
        "mr": {
            "convention": options.convention,
            "n_bootstrap": options.n_bootstrap,
            "seed": options.seed,
            "instruments": [
                {"exposure": i.exposure, "outcome": i.outcome, **i.provenance} for i in many
            ],
            "answers": [{"kind": a.kind, "p_one_line": a.p_one_line} for a in answers],
        },
        "warnings": [list(map(str, words)) for words in table.attrs["warnings"]],
        "advice": [list(map(str, words)) for words in table.attrs["advice"]],
    }
