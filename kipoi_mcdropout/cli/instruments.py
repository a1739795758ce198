"""From a result file and flags to instruments; shared by `mr` and `export_mr`."""

from __future__ import annotations

import argparse
from typing import Any

from kipoi_mcdropout.errors import InputError


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
    from kipoi_mcdropout.mr import instruments_from_table, select_instruments

    many = []
    for outcome in options.outcome:
        if outcome == options.exposure:
            raise InputError(f"exposure and outcome must differ; both are {outcome!r}. Name another")
        table, draws, score = _read(options, [options.exposure, outcome])
        instruments = instruments_from_table(
            table, options.exposure, outcome, draws=draws, se_type=options.se_type, score=score
        )
        many.append(
            select_instruments(
                instruments,
                min_z=options.min_z,
                one_per_position=options.one_per_position,
                min_distance_bp=options.min_distance_bp,
                top_n=options.top_n,
                select_draws=options.select_draws,
            )
        )
    return many


def _read(options: argparse.Namespace, outputs: list[str]) -> tuple[Any, Any, str]:
    """Rows of the two outputs, the effects of every draw where the file has them, and the score."""
    from kipoi_mcdropout.effects.row_identity import sequence_names
    from kipoi_mcdropout.files.read import has_draws, one_score, read_draws, read_effects

    table = read_effects(options.result, outputs, options.score)
    score = one_score(table, options.score)
    draws = read_draws(options.result, outputs, score) if has_draws(options.result) else None
    if "sequence" in table:
        table["sequence"] = sequence_names(table)
    return table, draws, score
