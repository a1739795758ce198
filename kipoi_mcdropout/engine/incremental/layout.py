"""How a tensor's axes are made of batch, position and channels, and how views change that.

Each logical axis of a tensor is a group of elementary axes: "batch", "position", or channels of some
size; a flattened (channels, positions) axis is a group of two, an axis of size 1 an empty group.
Windows of changed positions are always stored as (draws, mutants, window, channels), the channel axes
in the order in which they occur; a layout tells how that corresponds to the model's own tensor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


class Axis(NamedTuple):
    """An elementary axis; the size of the batch is left open (0)."""

    kind: str  # "batch", "position" or "channel"
    size: int


BATCH = Axis("batch", 0)


@dataclass(frozen=True)
class Layout:
    """Groups of elementary axes, one group per axis of the tensor."""

    groups: tuple[tuple[Axis, ...], ...]

    @classmethod
    def of(cls, shape: Sequence[int], batch: int, position: int) -> Layout:
        """Layout of a tensor whose axes are all elementary."""
        groups: list[tuple[Axis, ...]] = []
        for i, size in enumerate(shape):
            if i == batch:
                groups.append((BATCH,))
            elif i == position:
                groups.append((Axis("position", size),))
            else:
                groups.append((Axis("channel", size),) if size != 1 else ())
        return cls(tuple(groups))

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Elementary axes in order."""
        return tuple(axis for group in self.groups for axis in group)

    @property
    def channels(self) -> tuple[int, ...]:
        """Sizes of the channel axes in order."""
        return tuple(axis.size for axis in self.axes if axis.kind == "channel")

    @property
    def n_channels(self) -> int:
        """Number of channels at one position."""
        return math.prod(self.channels)

    @property
    def n_positions(self) -> int:
        """Length of the position axis."""
        return next(axis.size for axis in self.axes if axis.kind == "position")

    def dim_of(self, kind: str) -> int:
        """The logical axis that holds the batch or the position."""
        return next(i for i, g in enumerate(self.groups) if any(a.kind == kind for a in g))

    def alone(self, dim: int, kind: str) -> bool:
        """Whether a logical axis is exactly one elementary axis of this kind."""
        return [axis.kind for axis in self.groups[dim]] == [kind]

    def channel_index(self, dim: int) -> int:
        """For a logical axis that is one channel axis: its place among the channel axes."""
        before = [a for group in self.groups[:dim] for a in group]
        return sum(a.kind == "channel" for a in before)

    def size(self, dim: int) -> int:
        """Size of a logical axis other than the batch."""
        return math.prod(axis.size for axis in self.groups[dim])

    def elementary_shape(self, n: int) -> list[int]:
        """Sizes of the elementary axes for a batch of n."""
        return [n if axis.kind == "batch" else axis.size for axis in self.axes]

    def permute(self, dims: Sequence[int]) -> Layout:
        """Layout after reordering the logical axes."""
        return Layout(tuple(self.groups[d] for d in dims))

    def reshape(self, shape: Sequence[int | None]) -> Layout | None:
        """Layout after a reshape to `shape`, with None for the axis that is exactly the batch.

        None if the reshape would split the batch or the position axis.
        """
        pending = list(self.axes)
        groups: list[tuple[Axis, ...]] = []
        for size in shape:
            group: list[Axis] = []
            if size is None:
                if not pending or pending.pop(0).kind != "batch":
                    return None
                groups.append((BATCH,))
                continue
            left = size
            while left > 1:
                if not pending or pending[0].kind == "batch":
                    return None
                axis = pending.pop(0)
                if left % axis.size == 0:
                    group.append(axis)
                    left //= axis.size
                elif axis.kind == "channel" and axis.size % left == 0:
                    group.append(Axis("channel", left))
                    pending.insert(0, Axis("channel", axis.size // left))
                    left = 1
                else:
                    return None
            groups.append(tuple(group))
        if pending:
            return None
        return Layout(tuple(groups))

    def with_channels(self, dim: int, size: int) -> Layout:
        """The same with a logical axis that is channels replaced by one channel axis."""
        return self._with(dim, Axis("channel", size) if size != 1 else None)

    def with_positions(self, size: int) -> Layout:
        """The same with another number of positions (its axis must hold nothing else)."""
        return self._with(self.dim_of("position"), Axis("position", size))

    def _with(self, dim: int, axis: Axis | None) -> Layout:
        groups = list(self.groups)
        groups[dim] = () if axis is None else (axis,)
        return Layout(tuple(groups))


def to_canonical(x: Tensor, layout: Layout, n: int) -> Tensor:
    """A whole tensor as (n, positions, channels), contiguous."""
    axes = layout.axes
    order = [i for i, a in enumerate(axes) if a.kind == "batch"]
    order += [i for i, a in enumerate(axes) if a.kind == "position"]
    order += [i for i, a in enumerate(axes) if a.kind == "channel"]
    split = x.reshape(layout.elementary_shape(n)).permute(order)
    return split.reshape(n, layout.n_positions, layout.n_channels).contiguous()


def from_canonical(x: Tensor, layout: Layout) -> Tensor:
    """The model's own tensor from (n, positions, channels)."""
    n = x.shape[0]
    axes = layout.axes
    split = x.reshape(n, layout.n_positions, *layout.channels)
    order: list[int] = []
    channel = 2
    for axis in axes:
        if axis.kind == "channel":
            order.append(channel)
            channel += 1
        else:
            order.append(0 if axis.kind == "batch" else 1)
    sizes = [
        n if any(a.kind == "batch" for a in group) else math.prod(a.size for a in group)
        for group in layout.groups
    ]
    return split.permute(order).reshape(sizes)
