"""Whether a background was made like a run whose effects are to be compared with it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from kipoi_mcdropout.errors import InputError, InputWarning

METHOD = "background"  # `options["method"]` of a background's record
VARIANT_FLANK_BP = 12
_CHECKSUMS = {
    "weights_sha256": "weights", "code_sha256": "code", "settings_sha256": "settings",
}  # fmt: skip
# What is read of the outputs of a network and how it is scored, beside the names of outputs and scores.
_READ_BY = ("output_sel_fn", "readout", "pseudocount", "dtype")


def centre_of(length: int) -> tuple[int, int]:
    """Positions near the base at which `score_variants` puts a variant, 0-based and half-open.

    That base is (length - 1) // 2; with it come 12 on either side.
    """
    centre = (length - 1) // 2
    return max(0, centre - VARIANT_FLANK_BP), min(length, centre + VARIANT_FLANK_BP + 1)


def check_same_run(background: Mapping[str, Any], run: Mapping[str, Any]) -> None:
    """Refuse a background that was not made like a run.

    Parameters
    ----------
    background, run : mapping
        Their records (`files.provenance`).

    Raises
    ------
    InputError
        If the background is of another model, or other draws, seed, dropout sites or positions; with the
        names of what differs.

    Warns
    -----
    InputWarning
        If another engine was used.
    """
    if background["options"].get("method") != METHOD:
        raise InputError(
            "the background must be a file that `kipoi mcdropout background` has written; this is a "
            f"result of {background['options'].get('method') or 'score_variants'}"
        )
    wrong = [*_model(background, run), *_draws(background, run), *_place(background, run)]
    if wrong:
        raise InputError(
            f"the background does not fit this run: {'; '.join(wrong)}. Make a background with the same "
            "model and the same options (`kipoi mcdropout background`)"
        )
    here, there = (record["options"].get("engine_used") for record in (run, background))
    if here != there:
        warnings.warn(
            f"the background was computed by the engine {there} and this run by {here}. Their effects "
            "differ by rounding alone, which can change the ranks of effects that are almost 0. To "
            f"have the same, give --engine {there}",
            InputWarning,
            stacklevel=3,
        )


def _model(background: Mapping[str, Any], run: Mapping[str, Any]) -> list[str]:
    """Differences of the networks, in words."""
    there, here = (_networks(record) for record in (background, run))
    if len(there) != len(here):
        return [f"it has {_members(len(there))}, the run {_members(len(here))}"]
    wrong = [
        name
        for key, name in _CHECKSUMS.items()
        if any(a.get(key) != b.get(key) for a, b in zip(there, here, strict=True))
    ]
    if wrong:
        name, other = background["model"]["name"], run["model"]["name"]
        what = " and ".join(wrong)
        return [f"another model ({name}, here {other}): the checksum of its {what} differs"]
    there_said, here_said = background["options"], run["options"]
    return [
        f"{name} is {there_said.get(name)} there and {here_said.get(name)} here"
        for name in _READ_BY
        if there_said.get(name) != here_said.get(name)
    ]


def _networks(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(record.get("members") or [record["model"]])


def _members(n: int) -> str:
    return "one model alone" if n == 1 else f"{n} members"


def _draws(background: Mapping[str, Any], run: Mapping[str, Any]) -> list[str]:
    """Differences of the masks: draw d must be the same thinned network in both."""
    wrong = [
        f"{name} is {background[name]} there and {run[name]} here"
        for name in ("n_draws", "seed")
        if background[name] != run[name]
    ]
    if "until" in run["options"]:
        wrong.append("mutants have different numbers of draws here (--until)")
    if run["options"].get("mask_scope", "run") != "run":
        wrong.append("mask_scope is 'sequence' here, so a draw has other masks in each sequence")
    if background["sites"] != run["sites"]:
        wrong.append("the dropout sites differ (see --ignore)")
    return wrong


def _place(background: Mapping[str, Any], run: Mapping[str, Any]) -> list[str]:
    """Differences of what is mutated: effects depend on where in the window a mutant lies."""
    there, here = background["options"], run["options"]
    if "info_prefix" not in here:  # ism
        length = there["length"]
        positions = (here["start"], length if here["end"] is None else here["end"])
        if (there["start"], there["end"]) == positions:
            return []
        return [
            f"positions {there['start']} to {there['end']} were mutated there and {positions[0]} to "
            f"{positions[1]} here (--start, --end)"
        ]
    wrong = []
    if here["rc"] or tuple(here["shifts"]) != (0,):
        wrong.append("it has one view of a window, while this run averages several (--rc, --shifts)")
    if here["length"] != there["length"]:
        wrong.append(f"its windows have {there['length']} bp, here {here['length']}")
    elif (there["start"], there["end"]) != centre_of(there["length"]):
        wrong.append(
            f"positions {there['start']} to {there['end']} were mutated there, and variants lie in the "
            "middle of their windows (make it with --for_variants)"
        )
    return wrong
