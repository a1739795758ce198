"""In which order the rows of a batch axis lie, and how a mask is laid over them.

A model may put more than one row for each input into the batch: copies of the whole input (both
strands), which share a mask, or parts of it (positions, attention heads), each with its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from torch import Tensor

# Axes of the batch axis, outer one first, each "copy", "input" or "part" with its size; the number of
# inputs is that of the batch, and 0 stands for it.
RowOrder = tuple[tuple[str, int], ...]
ONE_ROW: RowOrder = (("input", 0),)


def row_order(owners: Sequence[int], copies: Sequence[int], n: int) -> RowOrder | None:
    """Order of the rows of a batch of n inputs, None if they follow no regular order.

    Parameters
    ----------
    owners, copies : sequence of int, one a row
        Which input (from 0 to n - 1), and which copy of it (from 0), a row comes from.

    >>> row_order([0, 1, 0, 1, 0, 1], [0] * 6, 2)  # time first: (3 positions, 2 inputs)
    (('part', 3), ('input', 0))
    >>> row_order([0, 0, 1, 1], [0, 1, 0, 1], 2)  # the strands of an input side by side
    (('input', 0), ('copy', 2))
    """
    axes = [(_stride(owners), n, "input")]
    if len(set(copies)) > 1:
        axes.append((_stride(copies), len(set(copies)), "copy"))
    order: list[tuple[str, int]] = []
    left = len(owners)
    for stride, size, kind in sorted(axes, reverse=True):
        if left % (stride * size):
            return None
        order += [("part", left // (stride * size)), (kind, size)]
        left = stride
    order.append(("part", left))
    found = {"input": np.asarray(owners), "copy": np.asarray(copies)}
    index = np.indices([size for _, size in order]).reshape(len(order), -1)
    if any(kind != "part" and (index[i] != found[kind]).any() for i, (kind, _) in enumerate(order)):
        return None
    return tuple(
        (kind, 0 if kind == "input" else size)
        for kind, size in order
        if kind == "input" or size > 1
    )  # fmt: skip


def _stride(values: Sequence[int]) -> int:
    """Number of rows after which the value changes first."""
    return next((i for i, value in enumerate(values) if value != values[0]), len(values))


def count(order: RowOrder, kind: str) -> int:
    """How many "copy" or "part" rows an input has."""
    return math.prod(size for k, size in order if k == kind)


def over_batch(keep: Tensor, axis: int, order: RowOrder, n: int) -> Tensor:
    """A mask laid over a batch of n inputs.

    Parameters
    ----------
    keep : Tensor
        Along `axis` one row for each part of an input.

    Returns
    -------
    Tensor
        With all rows of the batch along `axis`, or as it is where one row serves all.
    """
    if keep.shape[axis] == 1:
        return keep
    rows = keep.movedim(axis, 0).unflatten(0, [s for kind, s in order if kind == "part"])
    for position, (kind, _) in enumerate(order):
        if kind != "part":
            rows = rows.unsqueeze(position)
    sizes = [n if kind == "input" else size for kind, size in order]
    rows = rows.expand(*sizes, *rows.shape[len(order) :])
    ordered: Tensor = rows.flatten(0, len(order) - 1).movedim(0, axis)
    return ordered
