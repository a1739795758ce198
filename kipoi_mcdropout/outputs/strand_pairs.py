"""Pairs of tracks, one for each strand: what one says of a sequence, the other says of its reverse."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.outputs.targets import find_targets


@dataclass(frozen=True)
class StrandPairs:
    """Pairs of tracks that change places on the other strand.

    Parameters
    ----------
    pairs : tuple of (str, str)
        Labels or numbers of two tracks; or two patterns with the same number of `*`, such as
        `CAGE*+` and `CAGE*-`, for all tracks whose labels differ only so.

    Raises
    ------
    InputError
        If there is none, or two patterns have different numbers of `*`.

    Examples
    --------
    >>> StrandPairs((("*+", "*-"),)).partners(["a+", "b", "a-"])
    (2, 1, 0)
    """

    pairs: tuple[tuple[str, str], ...]

    def __post_init__(self) -> None:
        if not self.pairs:
            raise InputError("strand_pairs must have at least one pair of tracks; got none")
        for one, other in self.pairs:
            if not one or not other or one.count("*") != other.count("*"):
                raise InputError(
                    "a pair of strands must be two labels of tracks, or two patterns with the same "
                    f"number of *; got {one!r} and {other!r}"
                )

    def partners(self, labels: Sequence[str]) -> tuple[int, ...]:
        """For each track the number of the one that takes its place on the other strand.

        A track without a partner keeps its place.

        Raises
        ------
        TargetError
            If a label or a pattern names no track.
        InputError
            If a track is in two pairs, or is its own partner.
        """
        found: dict[int, int] = {}
        for one, other in self.pairs:
            for i, j in _named(labels, one, other):
                if i == j:
                    raise InputError(
                        f"a track cannot be the other strand of itself; got {labels[i]!r} in the pair "
                        f"{one!r} and {other!r}"
                    )
                for number in (i, j):
                    if number in found:
                        raise InputError(
                            f"each track can be in one pair of strands; {labels[number]!r} is in two"
                        )
                found |= {i: j, j: i}
        return tuple(found.get(i, i) for i in range(len(labels)))


def _named(labels: Sequence[str], one: str, other: str) -> list[tuple[int, int]]:
    """Numbers of the tracks that a pair names."""
    if "*" not in one or one in labels:
        return [(_only(labels, one), _only(labels, other))]
    find_targets(labels, one, "track")  # a pattern that names nothing
    pattern = re.compile("(.*)".join(map(re.escape, one.split("*"))), re.DOTALL)
    parts = other.split("*")
    pairs = []
    for i, label in enumerate(labels):
        if (match := pattern.fullmatch(label)) is not None:
            texts = [parts[0], *(a + b for a, b in zip(match.groups(), parts[1:], strict=True))]
            pairs.append((i, _only(labels, "".join(texts))))
    return pairs


def _only(labels: Sequence[str], track: str) -> int:
    found = find_targets(labels, track, "track")
    if len(found) > 1:
        raise InputError(
            f"a pair of strands must name one track and one other; {track!r} names {len(found)}"
        )
    return found[0]


def as_strand_pairs(value: Any) -> StrandPairs:
    """Pairs from a file, or from labels.

    Parameters
    ----------
    value : path, mapping, sequence of pairs, or StrandPairs
        The path of a tab-separated file without a header: two tracks a line, by label, number from 0,
        or pattern.

    Raises
    ------
    InputError
        If the file cannot be read or a line has not two columns.
    """
    if isinstance(value, StrandPairs):
        return value
    if isinstance(value, (str, Path)):
        return StrandPairs(tuple(_read(Path(value))))
    pairs = list(value.items()) if isinstance(value, Mapping) else list(value)
    if not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in pairs):
        raise InputError(f"strand_pairs must be a file, a dict, or pairs of tracks; got {value!r}")
    return StrandPairs(tuple((str(one), str(other)) for one, other in pairs))


def _read(path: Path) -> Iterable[tuple[str, str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the pairs of strands {path} cannot be read: {error}") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        columns = line.split("\t")
        if len(columns) != 2:
            raise InputError(
                f"{path}, line {number}: two columns, separated by a tab, are required: a track and its "
                f"other strand; got {line[:80]!r}"
            )
        yield columns[0], columns[1]
