"""The arguments that say what is read of a model's outputs: tracks, bins, and one number of them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

# By their names in `outputs.readout.Readout`.
READOUT_FLAGS = (
    "head", "tracks", "track_axis", "center_bins", "center_bp", "bin_bp", "bins", "track_groups",
    "projection", "projection_labels", "reduce",
)  # fmt: skip


def add_readout_arguments(parser: argparse.ArgumentParser) -> None:
    """All of them; those that are not given are None."""
    _add_tracks(parser)
    parser.add_argument(
        "--reduce",
        nargs="+",
        metavar="REDUCTION",
        help="what makes one number of the bins of a track, in each draw: sum mean max logsumexp; each "
        "may have a window of its own: sum@32 (bins about the centre), sum@512bp, sum@440:456. Each "
        "track with each reduction is an output, called TRACK|sum@32",
    )
    parser.add_argument(
        "--center_bins",
        type=int,
        metavar="N",
        help="window of --reduce: N bins about the centre (default: all bins)",
    )
    parser.add_argument(
        "--center_bp",
        type=int,
        metavar="BP",
        help="the same in bp, a multiple of --bin_bp",
    )
    parser.add_argument(
        "--bin_bp",
        type=int,
        metavar="BP",
        help="width of a bin: 32 for Borzoi, 128 for Enformer, 1 for a profile with a number a base",
    )
    parser.add_argument(
        "--bins",
        metavar="START:END",
        help="window of --reduce: these bins, counted from 0, END is not in it",
    )


def _add_tracks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--head", metavar="NAME", help="output to read, of a model that has several outputs"
    )
    parser.add_argument(
        "--tracks",
        nargs="+",
        metavar="TRACK",
        help="tracks to read, by label, number from 0, or pattern such as 'DNASE*' (default: all)",
    )
    parser.add_argument(
        "--track_axis",
        type=int,
        metavar="AXIS",
        help="axis of the output that holds the tracks, not counting the batch; needed if no labels say "
        "it",
    )
    parser.add_argument(
        "--track_groups",
        metavar="TSV",
        help="groups of tracks, of which the mean is reported: a table with a header and the columns "
        "group and track, a row for each track of a group (label, number or pattern)",
    )
    parser.add_argument(
        "--projection",
        metavar="FILE",
        help="weights that combine the tracks linearly, such as Sei's sequence classes: a .tsv with a "
        "row for each track (its label first) and a column for each output, or a .npy of outputs x "
        "tracks",
    )
    parser.add_argument(
        "--projection_labels",
        nargs="+",
        metavar="NAME",
        help="names of the outputs of a .npy projection, or a file with one a line (default: numbers)",
    )


def readout_words(options: argparse.Namespace) -> dict[str, Any]:
    """Those that were given."""
    words = {name: getattr(options, name) for name in READOUT_FLAGS}
    return {name: value for name, value in words.items() if value is not None}


def with_readout(
    settings: Any, words: dict[str, Any], scores: Sequence[Any] = (), moves_bins: bool = False
) -> Any:
    """The settings of a model with the readout that was asked for, for these scores.

    `moves_bins` says that bins are moved, for which `--bin_bp` is needed.

    Raises
    ------
    InputError
        If it is not as stated, or a score needs one.
    """
    from dataclasses import replace

    from kipoi_mcdropout.effects.asked_outputs import readout_for
    from kipoi_mcdropout.outputs.readout import Readout

    readout = readout_for(Readout.of(words, "the command"), scores, moves_bins)
    return settings if readout is None else replace(settings, readout=readout)
