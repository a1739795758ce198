"""bigWig and bedGraph of the result of a mutagenesis."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np

from kipoi_mcdropout.effects.score_names import UNSIGNED_SCORES
from kipoi_mcdropout.errors import InputError, InputWarning
from kipoi_mcdropout.files.scratch import scratch_folder
from kipoi_mcdropout.tracks.per_position import TRACKS, Points, nearest_window, per_position
from kipoi_mcdropout.tracks.result import Result
from kipoi_mcdropout.tracks.signal_files import finite, write_bedgraph, write_bigwig
from kipoi_mcdropout.tracks.spool import Spool
from kipoi_mcdropout.tracks.track_files import TrackFiles, TrackOptions
from kipoi_mcdropout.tracks.windows import Window, iter_windows

_OVERLAPS = (
    "where windows overlap, a position has the numbers of the window in whose middle it lies nearest; "
    "of equals, of the one that comes first in the result"
)


def write_signals(result: Result, prefix: str, score: str, options: TrackOptions) -> TrackFiles:
    """Write the tracks of a result of `ism`; see `write.write_tracks`."""
    tracks = _tracks(result, score)
    made = {"score": score, "overlaps": _OVERLAPS, **{name: TRACKS[name] for name in tracks}}
    files = TrackFiles(result, prefix, options, made)
    with scratch_folder() as folder:
        gathered = _Gathered(result, Spool(folder))
        for window in iter_windows(result, score, options.outputs):
            if not gathered.n_windows:
                files.check(window.labels, tracks)
            gathered.add(window)
        sizes = files.sizes(gathered.ends)
        for number, label in enumerate(gathered.labels):
            points, n_shared = nearest_window(gathered.points(number, sizes))
            files.lines.append(_line(label, score, len(points), n_shared))
            _write(files, label, tracks, sizes, points)
    gathered.warn()
    files.finish()
    return files


def _tracks(result: Result, score: str) -> tuple[str, ...]:
    """Sd and z need draws, and importance an effect with a sign."""
    left_out = {"importance"} if score in UNSIGNED_SCORES else set()
    left_out |= set() if result.has_draws else {"sd", "z"}
    return tuple(name for name in TRACKS if name not in left_out)


class _Gathered:
    """The points of all windows."""

    def __init__(self, result: Result, spool: Spool) -> None:
        self.labels: tuple[str, ...] = ()
        self.n_windows = 0
        self.ends: dict[str, int] = {}  # of each contig, the end of the last position
        self._result = result
        self._spool = spool
        self._n_undefined = 0

    def add(self, window: Window) -> None:
        """Take the points of a window."""
        self.labels = window.labels
        contig = _contig(window, self._result.name)
        last = int(window.rows["pos"].max())
        self.ends[contig] = max(self.ends.get(contig, 0), last)
        by_output = dict(iter(window.rows.groupby("output", sort=False)))
        for number, label in enumerate(window.labels):
            points, n = per_position(by_output[label], self._result.effect, self._result.name)
            points["contig"] = list(self.ends).index(contig)
            points["window"] = self.n_windows
            self._spool.add(number, points)
            self._n_undefined += n
        self.n_windows += 1

    def points(self, output: int, sizes: Mapping[str, int]) -> Points:
        """All points of an output; their contigs are numbered as in `sizes`."""
        points = self._spool.points(output)
        names = list(sizes)
        numbers = np.array([names.index(contig) for contig in self.ends], np.int32)
        points["contig"] = numbers[points["contig"]]
        return points

    def warn(self) -> None:
        """Say how many positions are left out."""
        if self._n_undefined:
            warnings.warn(
                f"{self._n_undefined:,} positions (of all windows and outputs) have an effect that is "
                "not finite, and are left out of the tracks",
                InputWarning,
                stacklevel=2,
            )


def _contig(window: Window, name: str) -> str:
    """The contig of a window.

    Raises
    ------
    InputError
        If it has none.
    """
    contig = str(window.rows["chrom"].iloc[0])
    if not contig or window.rows["pos"].isna().any():
        raise InputError(
            f"tracks need coordinates, and sequence {window.name} of {name} has none: the sequences "
            "came from a FASTA of sequences, or the dataloader gave no ranges. Run `ism` with a genome "
            "and regions (-f, --regions). Motif discovery (--modisco) needs no coordinates"
        )
    return contig


def _write(
    files: TrackFiles, label: str, tracks: tuple[str, ...], sizes: dict[str, int], points: Points
) -> None:
    for track in tracks:
        values = finite(points, track)[track]
        if not len(values):
            files.lines.append(f"{label}: no position has a finite {track}, so there is no such track")
            continue
        about = {
            "contents": TRACKS[track],
            "positions": len(values),
            "min": float(values.min()),
            "max": float(values.max()),
        }
        for kind, suffix in files.suffixes.items():
            with files.file(label, track, suffix, {"format": kind, **about}) as path:
                if kind == "bigwig":
                    write_bigwig(path, sizes, points, track)
                else:
                    write_bedgraph(path, sizes, points, track, files.record)


def _line(label: str, score: str, n: int, n_shared: int) -> str:
    shared = f", {n_shared:,} of them in more than one window" if n_shared else ""
    return f"{label} ({score}): {n:,} positions{shared}"
