"""From a result file and flags to instruments; shared by `mr`, `export_mr` and `plot mr`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from kipoi_mcdropout.errors import InputError

_SELECTION = ("min_z", "one_per_position", "min_distance_bp", "top_n", "select_draws", "se_type")


def add_instrument_arguments(parser: argparse.ArgumentParser) -> None:
    """The result, the outputs, and which mutants serve as instruments."""
    parser.add_argument(
        "result",
        metavar="RESULT",
        help="result of `ism` (best an .h5 file written with --keep_draws; or .tsv, .parquet), or table "
        "of `score_variants`",
    )
    parser.add_argument(
        "--exposure", required=True, metavar="OUTPUT", help="model output to use as exposure"
    )
    parser.add_argument(
        "--outcome",
        required=True,
        nargs="+",
        metavar="OUTPUT",
        help="model output to use as outcome, or several",
    )
    parser.add_argument(
        "--score",
        default=None,
        help="score to use, diff or logit; needed if the result has several",
    )
    parser.add_argument(
        "--se_type",
        choices=["sd", "mcse"],
        default=None,
        help="standard error of the effects: sd, their spread over the draws (default), or mcse, the "
        "Monte Carlo error of the mean",
    )
    group = parser.add_argument_group("selection of instruments, applied in this order")
    group.add_argument(
        "--min_z",
        type=float,
        metavar="Z",
        help="keep mutants with |effect| / sd on the exposure of at least this",
    )
    group.add_argument(
        "--one_per_position",
        action="store_true",
        help="keep only the strongest substitution at each position",
    )
    group.add_argument(
        "--min_distance_bp", type=int, metavar="BP", help="least distance of two instruments in bp"
    )
    group.add_argument("--top_n", type=int, metavar="N", help="keep the N strongest mutants")
    group.add_argument(
        "--select_draws",
        choices=["all", "half"],
        default=None,
        help="'half': select instruments by one half of the draws and estimate by the other half (needs "
        "draws; default all)",
    )
    group.add_argument(
        "--instruments",
        metavar="FILE",
        help="use the mutants that this file of `mr --save_instruments` says, instead of a selection by "
        "the other flags; so that figures and files show what the estimates are of",
    )


def load_instruments(options: argparse.Namespace) -> list[Any]:
    """One `Instruments` per outcome.

    Raises
    ------
    InputError
        If the result lacks an output or the score, or no instrument is left.
    """
    from kipoi_mcdropout.files.effects import read
    from kipoi_mcdropout.mr import instruments

    if options.instruments is not None:
        return _as_in_file(options)
    effects = read(options.result)
    return [
        instruments(
            effects,
            options.exposure,
            outcome,
            min_z=options.min_z,
            one_per_position=options.one_per_position,
            min_distance_bp=options.min_distance_bp,
            top_n=options.top_n,
            select_draws=options.select_draws or "all",
            se_type=options.se_type or "sd",
            score=options.score,
        )
        for outcome in options.outcome
    ]


def load_beside(options: argparse.Namespace, one: Any) -> list[Any]:
    """The outcome of `one` with each exposure of --beside; nothing is selected by them."""
    from kipoi_mcdropout.files.effects import read
    from kipoi_mcdropout.mr import instruments
    from kipoi_mcdropout.mr.pairs.selection import use_half

    effects = read(options.result)
    many = [
        instruments(effects, name, one.outcome, se_type=one.se_type, score=options.score)
        for name in options.beside
    ]
    is_half = one.provenance["selection"]["select_draws"] == "half"
    return [use_half(i) for i in many] if is_half else many


def _as_in_file(options: argparse.Namespace) -> list[Any]:
    """The mutants of --instruments, of each outcome."""
    from kipoi_mcdropout.files.effects import read
    from kipoi_mcdropout.files.read_tables import read_table
    from kipoi_mcdropout.mr import instruments
    from kipoi_mcdropout.mr.export.instruments_file import select_by_table

    given = [f"--{name}" for name in _SELECTION if getattr(options, name)]
    if given:
        raise InputError(
            f"--instruments says which mutants are used; leave out {', '.join(given)}, or --instruments"
        )
    table = read_table(Path(options.instruments))
    effects = read(options.result)
    of_type = {str(t) for t in table["se_type"].dropna()}
    se_type: Any = "mcse" if of_type == {"mcse"} else "sd"
    everything = (
        instruments(effects, options.exposure, o, se_type=se_type, score=options.score)
        for o in options.outcome
    )
    return [select_by_table(found, table, options.instruments) for found in everything]
