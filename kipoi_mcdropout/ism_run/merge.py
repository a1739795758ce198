"""The outputs of a run from its shards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.ism_run.run import KIND, IsmPaths, IsmRun, write_failures
from kipoi_mcdropout.ism_run.spool import failure_path, load_sequence
from kipoi_mcdropout.writers import effect_files
from kipoi_mcdropout.writers.shards import ShardRun


def merge_ism(shards: Sequence[ShardRun], overwrite: bool = False) -> IsmRun:
    """Write the outputs that the run without shards would have written.

    Parameters
    ----------
    shards : sequence of ShardRun
        From `complete_shards`.
    overwrite : bool
        Replace outputs that exist.

    Raises
    ------
    InputError
        If the shards saw different numbers of sequences, or a sequence is missing.
    """
    first = shards[0]
    if first.kind != KIND:
        raise InputError(f"the shards must be of {KIND}; they are of {first.kind}")
    numbers = {shard.state["n_sequences"] for shard in shards}
    if len(numbers) > 1:
        counts = ", ".join(map(str, sorted(numbers)))
        raise InputError(
            f"the shards saw different numbers of sequences: {counts}. Run them again with the same data"
        )
    n = numbers.pop()
    paths = IsmPaths.check([Path(path) for path in first.outputs["files"]], overwrite)
    failed: list[dict[str, Any]] = []
    with effect_files(paths.outputs, first.record, overwrite) as files:
        for index in range(n):
            folder = shards[index % len(shards)].folder
            failure = failure_path(folder, index)
            if failure.is_file():
                failed.append(json.loads(failure.read_text()))
            else:
                files.write(load_sequence(folder, index)[0])
    write_failures(paths, failed)
    return IsmRun(n, failed)
