"""Groups of tracks, of which the mean is reported."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.outputs.targets import as_targets, find_targets

_COLUMNS = ("group", "track")


@dataclass(frozen=True)
class TrackGroups:
    """Names of groups, each with its tracks as labels, numbers from 0, or patterns.

    Raises
    ------
    InputError
        If there is no group, a group has no track, or two groups have one name.
    """

    groups: tuple[tuple[str, tuple[str | int, ...]], ...]

    def __post_init__(self) -> None:
        names = [name for name, _ in self.groups]
        if not names:
            raise InputError("track_groups must have at least one group; got none")
        for name, tracks in self.groups:
            if not name or not tracks:
                raise InputError(f"each group must have a name and a track; got {name!r}: {tracks}")
            if names.count(name) > 1:
                raise InputError(f"groups must have different names; {name!r} is there more than once")

    @property
    def names(self) -> tuple[str, ...]:
        """Of the groups, in order."""
        return tuple(name for name, _ in self.groups)

    def members(self, labels: Sequence[str]) -> list[list[int]]:
        """Numbers of the tracks of each group.

        Raises
        ------
        TargetError
            If a track is not there.
        InputError
            If a track is in a group twice.
        """
        exact: dict[str | int, list[int]] = {label: [i] for i, label in enumerate(labels)}
        found = []
        for name, tracks in self.groups:
            named = (exact.get(track) or find_targets(labels, track, "track") for track in tracks)
            counted = Counter(i for numbers in named for i in numbers)
            number, times = counted.most_common(1)[0]
            if times > 1:
                raise InputError(
                    f"each track must be in a group once; {labels[number]!r} is in group {name!r} "
                    f"{times} times"
                )
            found.append(list(counted))
        return found


def as_groups(value: Any) -> TrackGroups:
    """Groups from a table, or from a dict of names to tracks.

    Parameters
    ----------
    value : path, mapping, or TrackGroups
        The path of a tab-separated table with a header and the columns `group` and `track`: a row for
        each track of a group, named by its label, its number from 0, or a pattern such as DNASE*.

    Raises
    ------
    InputError
        If the table cannot be read or has other columns.
    """
    if isinstance(value, TrackGroups):
        return value
    if isinstance(value, (str, Path)):
        return _of_pairs(_read(Path(value)))
    if isinstance(value, Mapping):
        named = {str(name): as_targets(tracks, "tracks") for name, tracks in value.items()}
        return TrackGroups(tuple(named.items()))
    raise InputError(f"track_groups must be the path of a table, or a dict; got {value!r}")


def _read(path: Path) -> Iterable[tuple[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"the groups of tracks {path} cannot be read: {error}") from error
    came = list(rows[0]) if rows else []
    if not set(_COLUMNS) <= set(came):
        raise InputError(
            f"the groups of tracks {path} must be tab-separated, with a header and the columns group "
            f"and track, a row for each track; got the columns {came}"
        )
    return [(row["group"] or "", row["track"] or "") for row in rows]


def _of_pairs(pairs: Iterable[tuple[str, str]]) -> TrackGroups:
    found: dict[str, list[str | int]] = {}
    for group, track in pairs:
        tracks = found.setdefault(group, [])
        if track in tracks:
            raise InputError(f"group {group!r} has the track {track!r} twice")
        tracks.append(track)
    return TrackGroups(tuple((name, tuple(tracks)) for name, tracks in found.items()))
