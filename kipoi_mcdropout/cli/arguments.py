"""Groups of arguments that several commands share, with the names that Kipoi gives them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from kipoi_mcdropout.cli.parser import Parser
from kipoi_mcdropout.errors import InputError

__all__ = ["Parser"]  # the others are functions of this module
_UNITS = {"GIB": 2**30, "MIB": 2**20, "GB": 10**9, "MB": 10**6, "": 1}


def add_draw_arguments(parser: Parser) -> None:
    """The draws and what is reported."""
    parser.add_argument(
        "--n_draws",
        type=int,
        default=None,
        help="number of draws: how often the model is run, each time with new dropout masks (default "
        "30; for several members the next multiple of their number, or this number if none has dropout)",
    )
    parser.group("dropout").add_argument(
        "--seed",
        type=int,
        default=0,
        help="number that fixes the dropout masks, 0 or more; the same "
        "seed gives the same masks (default 0)",
    )
    parser.add_argument(
        "--target",
        nargs="+",
        default=[],
        metavar="OUTPUT",
        help="model outputs to report, by label, index from 0, or pattern such as 'FOXA*' (default: "
        "all)",
    )


def add_background(parser: argparse.ArgumentParser) -> None:
    """The background with which a run compares its effects."""
    parser.add_argument(
        "--background",
        metavar="FILE",
        help="a file of `kipoi mcdropout background`, made with the same model, draws, scores and "
        "positions: adds p-values, percentiles and q-values against it",
    )


def add_until_arguments(parser: argparse.ArgumentParser, mutant: str) -> None:
    """When a mutant needs no more draws; `mutant` is what it is called."""
    parser.add_argument(
        "--until",
        type=float,
        default=None,
        metavar="SHARE",
        help=f"give each {mutant} only the draws that it needs, --n_draws at most: stop when the Monte "
        "Carlo error of its mean effect is at most SHARE times the effect, or times --threshold where "
        "the effect is smaller, e.g. 0.15 (default: the same number of draws for all)",
    )
    parser.add_argument(
        "--threshold",
        nargs="+",
        type=float,
        default=None,
        metavar="T",
        help="smallest effect that matters, for --until, in the units of the score; one for each of "
        "several scores (default: the sd of the effect)",
    )


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """How mutants are computed."""
    parser.add_argument(
        "--engine",
        default="auto",
        help="incremental: compute only what a mutation changes; full: run the whole model on each "
        "mutant; auto: use the engine that is estimated to be faster (default)",
    )
    parser.add_argument(
        "--memory",
        type=parse_memory,
        default=None,
        metavar="SIZE",
        help="approximate memory for activations, in addition to the weights, e.g. 1.5GB (default 1GB); "
        "weights of several members that are larger than half of it are kept in temporary files",
    )
    parser.add_argument(
        "--no_verify",
        action="store_true",
        help="do not compare a sample of the incremental engine's results with the plain model",
    )


def add_member_means(parser: argparse.ArgumentParser) -> None:
    """Columns of each member."""
    parser.add_argument(
        "--member_means",
        action="store_true",
        help="for a model with several members: add the mean effect of each to the table, in columns "
        "effect_mean_1, effect_mean_2, ..., in the order in which they were given",
    )


def add_run_arguments(parser: argparse.ArgumentParser, unit: str, shards: bool = True) -> None:
    """Where a long run is computed, and how it is taken up again; `unit` is what it is made of.

    Without `shards` the run is not divided among jobs.
    """
    parser.add_argument(
        "--scheduler",
        default="none",
        metavar="WHERE",
        help="where to compute: none for this process (default), local or local:N for N processes on "
        "this machine, tcp://HOST:PORT or the scheduler file (.json) of a Dask cluster",
    )
    if shards:
        parser.add_argument(
            "--shard",
            default=None,
            metavar="I/N",
            help="compute only part I of N, for a job array; `kipoi mcdropout merge` joins the N parts",
        )
    parser.add_argument(
        "--resume", action="store_true", help="continue a run of the same command that was stopped"
    )
    parser.add_argument(
        "--on_error",
        choices=["stop", "skip"],
        default="stop",
        help=f"what to do if the model fails on {unit}: stop (default), or skip it and report it",
    )


def parse_shard(text: str | None) -> Any:
    """The Shard of --shard, None if it was not given."""
    if text is None:
        return None
    from kipoi_mcdropout.runs.shard import Shard

    return Shard.parse(text)


def parse_memory(text: str) -> int:
    """Bytes from a size such as 800MB, 1.5GB or 2e9.

    >>> parse_memory("1.5GB")
    1500000000
    """
    for unit, factor in _UNITS.items():
        number = text.strip().upper().removesuffix(unit)
        if number != text.strip().upper() or not unit:
            try:
                size = int(float(number) * factor)
            except ValueError:
                break
            if size > 0:
                return size
            break
    raise argparse.ArgumentTypeError(f"must be a size such as 800MB or 1.5GB; got {text!r}")


def add_output_arguments(parser: argparse.ArgumentParser, formats: str) -> None:
    """Where results go."""
    parser.add_argument(
        "-o",
        "--output",
        nargs="+",
        required=True,
        metavar="FILE",
        help=f"files to write: {formats}; - is standard output, as .tsv",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")


def parse_json(text: str, flag: str) -> dict[str, Any]:
    """A JSON object, given as text or as the path of a .json file.

    Raises
    ------
    InputError
        If it is no JSON object.
    """
    try:
        is_file = not text.lstrip().startswith("{") and Path(text).is_file()
        value = json.loads(Path(text).read_text(encoding="utf-8") if is_file else text)
    except (ValueError, OSError) as error:
        raise InputError(
            f"{flag} must be a JSON object or the path of a .json file; got {text!r} ({error})"
        ) from error
    if not isinstance(value, dict):
        raise InputError(f"{flag} must be a JSON object, {{...}}; got {text!r}")
    return value
