"""The folders in which the shards of a run leave their parts until `merge` makes the outputs of them.

FIRST_OUTPUT.shards/2-of-10/run.json       what the run is: its provenance and its outputs
FIRST_OUTPUT.shards/2-of-10/journal.json   how far the shard has come
FIRST_OUTPUT.shards/2-of-10/...            the parts
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.schedule.shard import Shard
from kipoi_mcdropout.writers.atomic import make_folder_beside
from kipoi_mcdropout.writers.journal import Journal, differences

JOURNAL = "journal.json"
_RUN = "run.json"
_SHOWN = 5


@dataclass(frozen=True)
class ShardRun:
    """One shard of a run, complete."""

    folder: Path
    shard: Shard
    kind: str  # of the run: "ism" or "score_variants"
    record: dict[str, Any]  # provenance of the whole run
    outputs: dict[str, Any]  # paths of the whole run's outputs
    fingerprint: dict[str, Any]
    state: dict[str, Any]  # as the journal has it


def shard_folder(first_output: Path, shard: Shard) -> Path:
    """The folder of a shard, made if it is not there."""
    return make_folder_beside(first_output, f"{first_output.name}.shards/{shard.folder}")


def write_run(
    folder: Path, kind: str, shard: Shard, record: Mapping[str, Any], outputs: Mapping[str, Any]
) -> None:
    """Say what run a shard belongs to."""
    content = {"kind": kind, "shard": [shard.index, shard.of], "record": record, "outputs": outputs}
    (folder / _RUN).write_text(json.dumps(content))


def without_shard(command: Sequence[str] | None) -> list[str] | None:
    """A command line without its --shard, which is that of the whole run."""
    if command is None:
        return None
    words = [word for word in command if not word.startswith("--shard=")]
    if "--shard" in words:
        at = words.index("--shard")
        del words[at : at + 2]
    return words


def complete_shards(folder: Path) -> list[ShardRun]:
    """All shards of a run, in order.

    Raises
    ------
    InputError
        If there are none, one is missing or unfinished, or they are of different runs.
    """
    runs = sorted(folder.glob(f"*-of-*/{_RUN}"))
    if not runs:
        raise InputError(f"{folder} has no shards; give the folder OUTPUT.shards that --shard has made")
    shards = sorted((_read(path) for path in runs), key=lambda run: run.shard.index)
    first = shards[0]
    for other in shards[1:]:
        if other.shard.of != first.shard.of:
            raise InputError(
                f"{folder} has shards of {first.shard.of} and of {other.shard.of}; remove those of the "
                "run that is not wanted"
            )
        differing = differences(first.fingerprint, other.fingerprint)
        if other.kind != first.kind or other.outputs != first.outputs or differing:
            what = ", ".join(differing) or "outputs"
            names = f"{first.shard.folder} and {other.shard.folder}"
            raise InputError(
                f"shards {names} are of different runs; different: {what}. Run one of them again with"
                " the other's options"
            )
    there = {run.shard.index for run in shards}
    missing = [i for i in range(1, first.shard.of + 1) if i not in there]
    if missing:
        raise InputError(f"{folder} lacks {_named(missing, first.shard.of)}; run those first")
    unfinished = [run.shard.index for run in shards if not run.state.get("complete")]
    if unfinished:
        raise InputError(
            f"not finished: {_named(unfinished, first.shard.of)}; run those again with --resume"
        )
    return shards


def _read(path: Path) -> ShardRun:
    try:
        run = json.loads(path.read_text())
        shard = Shard(*run["shard"])
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged; run that shard again") from error
    fingerprint, state = Journal.read_any(path.with_name(JOURNAL))
    return ShardRun(path.parent, shard, run["kind"], run["record"], run["outputs"], fingerprint, state)


def _named(indices: list[int], of: int) -> str:
    shown = ", ".join(f"{i}/{of}" for i in indices[:_SHOWN])
    more = len(indices) - _SHOWN
    word = "shard" if len(indices) == 1 else "shards"
    return f"{word} {shown}" + (f" and {more} more" if more > 0 else "")
