"""Arguments of the commands that give effects calibrated intervals."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kipoi_mcdropout.significance.add_intervals import ConformalOptions


def add_conformal_arguments(parser: argparse.ArgumentParser, required: bool = False) -> None:
    """`--conformal` and `--level`."""
    parser.add_argument(
        "--conformal",
        nargs="+",
        required=required,
        default=[],
        metavar="JSON",
        help="calibrations of `calibrate --conformal`, one for each output and score: add intervals "
        "(ci_lower, ci_upper) and the probability that the sign is right (sign_probability_calibrated)",
    )
    parser.add_argument(
        "--level",
        type=float,
        default=0.95,
        help="share of measured effects that the intervals of --conformal hold (default 0.95)",
    )


def asked_conformal(options: argparse.Namespace) -> ConformalOptions | None:
    """The calibrations of --conformal; None where there are none.

    Raises
    ------
    InputError
        If one of them cannot be read, or has too few effects for the level.
    """
    if not options.conformal:
        return None
    from kipoi_mcdropout.files.calibration import read_conformal

    return read_conformal(options.conformal, options.level)
