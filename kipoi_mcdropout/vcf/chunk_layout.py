"""Where each chunk of a shard ends in its part files: what lets `merge` put chunks in order."""

from __future__ import annotations

import json
from pathlib import Path

_NAME = "chunks.jsonl"
Offsets = dict[str, int]  # by output, bytes


class ChunkLayout:
    """A line for the files' headers, then one for each chunk: how far each part file goes.

    Parameters
    ----------
    folder : Path
        Of the shard.
    n_done : int
        Chunks that an earlier run has done; what follows them is dropped.
    begin : dict of str to int
        How far the files go now, with their headers only where nothing was done.
    """

    def __init__(self, folder: Path, n_done: int, begin: Offsets) -> None:
        self._path = folder / _NAME
        if n_done:
            lines = self._path.read_text().splitlines(keepends=True)
            self._path.write_text("".join(lines[: n_done + 1]))
        else:
            self._path.write_text(json.dumps(begin) + "\n")

    def append(self, offsets: Offsets) -> None:
        """Another chunk is in the files."""
        with self._path.open("a") as file:
            file.write(json.dumps(offsets) + "\n")


def read_layout(folder: Path) -> list[Offsets]:
    """Ends of the headers and of each chunk."""
    return [json.loads(line) for line in (folder / _NAME).read_text().splitlines()]
