"""Labels of a model's outputs, made when they are asked for: a profile can have millions."""

from __future__ import annotations

import fnmatch
import itertools
import math
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names that occur more than once are numbered, all of them.

    >>> unique_names(["A", "A", "B"])
    ('A#1', 'A#2', 'B')
    """
    names = [str(name) for name in names]
    total, taken = Counter(names), set(names)
    unique = []
    for name in names:
        if total[name] > 1:
            numbers = itertools.count(1)
            name = next(new for i in numbers if (new := f"{name}#{i}") not in taken)
            taken.add(name)
        unique.append(name)
    return tuple(unique)


@dataclass(frozen=True)
class ArrayLabels:
    """Labels of one output array, flattened in C order.

    A label is the index, "i,j", with a name in the place of the axis that has names; axes of length 1
    are left out. Before it stands the array's own name, where a model has several: "profile/12,DNase".
    """

    shape: tuple[int, ...]  # of one input
    title: str = ""
    names: tuple[str, ...] = ()  # along `axis`, all different; or of each number where axis is None
    axis: int | None = None

    def __len__(self) -> int:
        return math.prod(self.shape)

    @property
    def _axes(self) -> list[int]:
        return [i for i, size in enumerate(self.shape) if size != 1]

    def label(self, i: int) -> str:
        """The label of number i."""
        if self.names and self.axis is None:
            return self._titled(self.names[i])
        index = np.unravel_index(i, self.shape)
        parts = [self._part(axis, int(index[axis])) for axis in self._axes]
        if not parts:
            return self._titled(self.names[0]) if self.names else self.title or "0"
        return self._titled(",".join(parts))

    def _part(self, axis: int, i: int) -> str:
        return self.names[i] if axis == self.axis else str(i)

    def _titled(self, text: str) -> str:
        return f"{self.title}/{text}" if self.title else text

    def find(self, label: str) -> int | None:
        """The number that has this label, without making the others."""
        if len(self._axes) == 0 or (self.names and self.axis is None):
            return next((i for i in range(len(self)) if self.label(i) == label), None)
        if self.title and not label.startswith(f"{self.title}/"):
            return None
        text = label[len(self.title) + 1 :] if self.title else label
        before = self._axes.index(self.axis) if self.axis in self._axes else 0
        after = len(self._axes) - before - 1
        words = text.split(",", before)  # a name may have commas of its own
        words = [*words[:-1], *words[-1].rsplit(",", after)]
        if len(words) != len(self._axes):
            return None
        index = [self._number(axis, word) for axis, word in zip(self._axes, words, strict=True)]
        return None if None in index else self._flat([[i] for i in index if i is not None])[0]

    def _number(self, axis: int, word: str) -> int | None:
        if axis == self.axis:
            return self.names.index(word) if word in self.names else None
        is_number = word.isascii() and word.isdigit() and str(int(word)) == word
        return int(word) if is_number and int(word) < self.shape[axis] else None

    def match(self, pattern: str) -> list[int]:
        """The numbers whose label matches a shell pattern."""
        words = self._words(pattern)
        if words is None:
            matches = re.compile(fnmatch.translate(pattern)).match
            return [i for i in range(len(self)) if matches(self.label(i))]
        found = []
        for axis, word in zip(self._axes, words, strict=True):
            matches = re.compile(fnmatch.translate(word)).match
            found.append([i for i in range(self.shape[axis]) if matches(self._part(axis, i))])
        return self._flat(found)

    def _words(self, pattern: str) -> list[str] | None:
        """The pattern of each axis, where a pattern has as many commas as every label."""
        if self.names and (self.axis is None or any("," in name for name in self.names)):
            return None
        if self.title:
            if not pattern.startswith(f"{self.title}/") or set(self.title) & set("*?["):
                return None
            pattern = pattern[len(self.title) + 1 :]
        words = pattern.split(",")
        return words if len(words) == len(self._axes) and "[" not in pattern else None

    def _flat(self, found: list[list[int]]) -> list[int]:
        index: list[list[int]] = [[0] for _ in self.shape]
        for axis, numbers in zip(self._axes, found, strict=True):
            index[axis] = numbers
        places: list[int] = np.ravel_multi_index(np.ix_(*index), self.shape).ravel().tolist()
        return places


class OutputLabels(Sequence[str]):
    """The labels of all numbers that a model gives for an input, in order, as a sequence of str."""

    def __init__(self, arrays: Sequence[ArrayLabels]) -> None:
        self.arrays = tuple(arrays)
        self._ends = list(itertools.accumulate(len(array) for array in self.arrays))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, i: int) -> str: ...
    @overload
    def __getitem__(self, i: slice) -> list[str]: ...
    def __getitem__(self, i: int | slice) -> str | list[str]:
        if isinstance(i, slice):
            return [self[k] for k in range(*i.indices(len(self)))]
        i = range(len(self))[i]  # negative ones; IndexError outside
        k = bisect_right(self._ends, i)
        return self.arrays[k].label(i - self._begin(k))

    def __iter__(self) -> Iterator[str]:
        for array in self.arrays:
            yield from (array.label(i) for i in range(len(array)))

    def find(self, label: str) -> list[int]:
        """Numbers with this label."""
        found = [(k, array.find(label)) for k, array in enumerate(self.arrays)]
        return [self._begin(k) + i for k, i in found if i is not None]

    def match(self, pattern: str) -> list[int]:
        """Numbers whose label matches a shell pattern."""
        return [self._begin(k) + i for k, array in enumerate(self.arrays) for i in array.match(pattern)]

    def _begin(self, k: int) -> int:
        return self._ends[k - 1] if k else 0
