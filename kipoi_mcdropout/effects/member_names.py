"""What the members of a model are called, in columns and in pictures.

The record of a run lists the members in the order of their checksums, with names such as
`member 2 (folds/fold_2.pt)`: the place in which each was given, and where it comes from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

MEAN_COLUMN = "effect_mean_"
_NAME = re.compile(r"member (\d+)(?: \((.+)\))?", re.DOTALL)


def names_of(record: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the members in the record of a run; none for a model alone."""
    return tuple(str(member["name"]) for member in record.get("members", ()))


def short_names(names: Sequence[str]) -> tuple[str, ...]:
    """For a legend: the file of each, with as much of its path as tells it from the others.

    >>> short_names(["member 2 (folds/2/net.pt)", "member 1 (folds/1/net.pt)", "member 3"])
    ('2/net.pt', '1/net.pt', 'member 3')
    """
    found = [_NAME.fullmatch(name) for name in names]
    paths = [(match[2] if match else None) or name for match, name in zip(found, names, strict=True)]
    parts = [re.split(r"[/\\]", path.rstrip("/\\")) for path in paths]
    short = []
    for name, path, own in zip(names, paths, parts, strict=True):
        others = [other for other, place in zip(parts, paths, strict=True) if place != path]
        tails = (n for n in range(1, len(own) + 1) if all(other[-n:] != own[-n:] for other in others))
        tail = "/".join(own[-next(tails, len(own)) :])
        short.append(tail if paths.count(path) == 1 else name.replace(path, tail))
    return tuple(short)


def mean_columns(names: Sequence[str]) -> dict[str, int]:
    """Columns of the mean effect of each member: `effect_mean_2` is of the one that was given second.

    Returns
    -------
    dict of str to int
        For each column, in order, where the member stands among `names`.
    """
    found = [_NAME.fullmatch(name) for name in names]
    numbers = [int(match[1]) if match else 0 for match in found]
    if 0 in numbers or len(set(numbers)) < len(numbers):
        numbers = list(range(1, len(names) + 1))
    return {f"{MEAN_COLUMN}{numbers[i]}": i for i in sorted(range(len(names)), key=numbers.__getitem__)}


def asked_columns(record: Mapping[str, Any]) -> dict[str, int]:
    """`mean_columns` of the record of a run that asked for them; else none."""
    asked = record.get("options", {}).get("member_means", False)
    return mean_columns(names_of(record)) if asked else {}
