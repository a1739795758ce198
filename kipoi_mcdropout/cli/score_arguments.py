"""The arguments that say how reference and mutant are compared."""

from __future__ import annotations

import argparse

from kipoi_mcdropout.effects.score_names import SCORE_NAMES


def add_scores(parser: argparse.ArgumentParser) -> None:
    """The scores, and what they need."""
    parser.add_argument(
        "-s",
        "--scores",
        nargs="+",
        default=["diff"],
        help=f"scores to compute: {' '.join(SCORE_NAMES)} (default diff)",
    )
    parser.add_argument(
        "--pseudocount",
        type=float,
        metavar="C",
        help="C of the score log2fc, log2((alt + C) / (ref + C)) (default 1)",
    )
