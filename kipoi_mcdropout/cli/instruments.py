"""From a result file and flags to instruments; shared by `mr` and `export_mr`."""

from __future__ import annotations

import argparse
from typing import Any


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
        default="sd",
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
        default="all",
        help="'half': select instruments by one half of the draws and estimate by the other half (needs "
        "draws)",
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
            select_draws=options.select_draws,
            se_type=options.se_type,
            score=options.score,
        )
        for outcome in options.outcome
    ]
