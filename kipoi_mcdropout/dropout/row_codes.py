"""Codes of a tensor's elements: from which input, and which copy of it, each comes.

A code holds the owner (which input), the copy, and in the rest a number that differs between tensors
that were joined although they are neither copies of the input nor parts of one thing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

NOBODY, SEVERAL = 62, 63  # owners: no input at all; more than one
_OWNERS, _COPIES = 64, 64  # how many of each a code has room for
_MAX_JOINED = 2**18  # all three fit into 30 bits
CODE_DTYPE = torch.int32
UNCLEAR = _COPIES - 1  # a copy that may be none


@dataclass(frozen=True)
class Labels:
    """Codes of a tensor's elements, int32 of the tensor's shape, and its batch axis."""

    codes: Tensor
    axis: int
    number: int = 0  # of the operation that made the tensor
    ancestors: int = 0  # the numbers of all operations that it depends on, as bits

    def rows(self) -> list[tuple[int, int, int]]:
        """Owner, copy and joined number of each row along the batch axis.

        Copy and number are 0 where they differ within the rows, but alike in all of them.
        """
        flat = compact(self.codes).movedim(self.axis, 0).flatten(1)
        owner, copy, joined = unpack(flat)
        nobody = owner == NOBODY
        low, high = owner.amin(1), owner.masked_fill(nobody, -1).amax(1)
        owners = torch.where(low == high, low, SEVERAL).masked_fill(high < 0, NOBODY)
        copies, several = _one_a_row(copy, nobody)
        numbers, mixed = _one_a_row(joined, nobody)
        places = torch.arange(1, len(numbers) + 1, dtype=CODE_DTYPE, device=numbers.device)
        numbers = torch.where(mixed, places, numbers)  # not alike in all rows
        columns = owners, copies.masked_fill(several, UNCLEAR), numbers
        rows = list(zip(*(column.tolist() for column in columns), strict=True))
        return rows if len(rows) == self.codes.shape[self.axis] else rows * self.codes.shape[self.axis]


def found_rows(labels: Labels | None, n: int) -> tuple[list[int], list[int]] | None:
    """Owner and copy of each row; None if they cannot be determined."""
    if labels is None:
        return None
    owners, copies, joined = zip(*labels.rows(), strict=True)
    unclear = len(set(joined)) > 1 or UNCLEAR in copies
    if unclear or set(owners) != set(range(n)):
        return None
    numbers = sorted(set(copies))  # from 0: one copy alone may go on, say the second
    return list(owners), [numbers.index(copy) for copy in copies]


def input_labels(x: Tensor) -> Labels:
    """Labels of a model's input, batch first."""
    owners = torch.arange(x.shape[0], dtype=CODE_DTYPE, device=x.device)
    return Labels(owners.reshape(-1, *[1] * (x.dim() - 1)).expand(x.shape), 0)


def combined(codes: list[Tensor]) -> Tensor:
    """Codes of what was computed element by element from tensors of one shape."""
    result = codes[0]
    for other in codes[1:]:
        if other is result or torch.equal(compact(other), compact(result)):
            continue
        (a, c, j), (b, d, k) = unpack(result), unpack(other)
        owner = torch.where(a == b, a, SEVERAL)
        owner = torch.where(a == NOBODY, b, torch.where(b == NOBODY, a, owner))
        alone = [bool((x == x.flatten()[0]).all()) for x in (c, d)]
        merged = c.new_tensor(0 if all(alone) else UNCLEAR)  # 0: strands were averaged
        copy = torch.where(c == d, c, merged)
        copy = torch.where(a == NOBODY, d, torch.where(b == NOBODY, c, copy))
        result = pack(owner, copy, torch.maximum(j, k))
    return result


def number_copies(codes: list[Tensor]) -> list[Tensor]:
    """Codes of several copies of the input, from those that each has by itself."""
    fields = [unpack(c) for c in codes]
    so_far = 1 + max(int(copy.max()) for _, copy, _ in fields)
    return [
        pack(owner, (copy + i * so_far).clamp(max=UNCLEAR), joined)
        for i, (owner, copy, joined) in enumerate(fields)
    ]


def number_repeats(name: str, codes: Tensor, before: Tensor) -> Tensor:
    """Number the copies that repeat, expand and repeat_interleave make along each axis."""
    sizes = [1] * (codes.dim() - before.dim()) + list(before.shape)
    owner, copy, joined = unpack(codes)
    for i, (size, total) in enumerate(zip(sizes, codes.shape, strict=True)):
        if total == size or size == 0:
            continue
        places = torch.arange(total, dtype=CODE_DTYPE, device=codes.device)
        times = total // size
        number = places % times if name == "repeat_interleave" else places // size
        number = _along(number, i, codes.dim())
        so_far = 1 + int(copy.max())
        copy = (copy + so_far * number).clamp(max=UNCLEAR)
    numbered: Tensor = pack(owner, copy, joined)
    return numbered


def number_joined(codes: Tensor, i: int) -> Tensor:
    """Codes of the i-th of several tensors that are joined."""
    return _with_number(codes, i + 1)


def number_places(codes: Tensor, axis: int) -> Tensor:
    """Give each place along an axis a number of its own, as if it were a tensor that was joined."""
    places = torch.arange(1, codes.shape[axis] + 1, dtype=CODE_DTYPE, device=codes.device)
    return _with_number(codes, _along(places, axis, codes.dim()))


def _with_number(codes: Tensor, number: int | Tensor) -> Tensor:
    owner, copy, joined = unpack(codes)
    numbered: Tensor = pack(owner, copy, (joined * 31 + number) % _MAX_JOINED)
    return numbered


def _along(values: Tensor, axis: int, n_axes: int) -> Tensor:
    return values.reshape([-1 if i == axis else 1 for i in range(n_axes)])


def number_gathered(codes: Tensor, before: Tensor) -> Tensor:
    """Number what was gathered along an axis that has grown: some elements were taken several times."""
    if codes.dim() == before.dim():
        for i, (size, total) in enumerate(zip(before.shape, codes.shape, strict=True)):
            if total > size:
                codes = number_places(codes, i)
    return codes


def _one_a_row(values: Tensor, ignored: Tensor) -> tuple[Tensor, Tensor]:
    """The value of each row, and whether it has several.

    Where the rows have several but are all alike, the value is 0, as for one.
    """
    low = values.masked_fill(ignored, _MAX_JOINED).amin(1)
    high = values.masked_fill(ignored, -1).amax(1)
    empty = ignored.all(1)
    several = (low < high) & ~empty
    if bool(several.all()) and bool((low == low[0]).all()) and bool((high == high[0]).all()):
        return torch.zeros_like(low), torch.zeros_like(several)
    return high.masked_fill(empty, 0), several


def compact(codes: Tensor) -> Tensor:
    """Without the repeats of an expanded tensor: these axes have length 1."""
    for i, stride in enumerate(codes.stride()):
        if stride == 0 and codes.shape[i] > 1:
            codes = codes.narrow(i, 0, 1)
    return codes


def pack(owner: Any, copy: Any, joined: Any) -> Any:
    """Code of an owner, a copy and a joined number, each int or Tensor."""
    return owner + _OWNERS * (copy + _COPIES * joined)


def unpack(codes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Owner, copy and joined number of each code."""
    rest = codes // _OWNERS
    return codes % _OWNERS, rest % _COPIES, rest // _COPIES
