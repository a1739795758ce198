"""Points of many windows, kept in files where they are more than memory should hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kipoi_mcdropout.tracks.per_position import POINT, Points

_HELD_BYTES = 2**27


class Spool:
    """Points by output; all those of one output are in memory at a time.

    Parameters
    ----------
    folder : Path
        For temporary files.
    held_bytes : int
        Of points of all outputs that are held before they go to files.
    """

    def __init__(self, folder: Path, held_bytes: int = _HELD_BYTES) -> None:
        self._folder = folder
        self._limit = held_bytes
        self._held: dict[int, list[Points]] = {}
        self._bytes = 0
        self.n_flushes = 0

    def add(self, output: int, points: Points) -> None:
        """Append points of an output, by its number."""
        self._held.setdefault(output, []).append(points)
        self._bytes += points.nbytes
        if self._bytes > self._limit:
            self._flush()

    def points(self, output: int) -> Points:
        """All points of an output, in the order in which they came."""
        path = self._path(output)
        stored = [np.fromfile(path, POINT)] if path.exists() else []
        return np.concatenate([np.empty(0, POINT), *stored, *self._held.get(output, [])])

    def _flush(self) -> None:
        for output, parts in self._held.items():
            with self._path(output).open("ab") as file:
                for part in parts:
                    file.write(np.ascontiguousarray(part).tobytes())
        self._held, self._bytes = {}, 0
        self.n_flushes += 1

    def _path(self, output: int) -> Path:
        return self._folder / f"points_{output}"
