"""Convolutions along the positions: the difference alone is convolved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kipoi_mcdropout.engine.incremental.few_channels import FewChannels
from kipoi_mcdropout.engine.incremental.graph import Node
from kipoi_mcdropout.engine.incremental.layout import Axis, Layout
from kipoi_mcdropout.engine.incremental.masked import Masked, less
from kipoi_mcdropout.engine.incremental.rules.base import Builder, Key, NoRule, Rule, rule_for
from kipoi_mcdropout.engine.incremental.windows import BlockContext, Ints, Span, Window, embed

_MAX_PRODUCTS = 24  # up to this many output positions, one matrix product for each
LEAST_OUTPUTS = 2000  # of a mutant; with fewer, a product costs less than to take away what is dropped


@dataclass(frozen=True)
class Sliding:
    """How a kernel slides along the positions: output o sees inputs o * stride - left + t * dilation."""

    kernel: int
    stride: int = 1
    left: int = 0  # padding before the first position
    dilation: int = 1

    @property
    def reach(self) -> int:
        """Distance of the last tap from the first."""
        return self.dilation * (self.kernel - 1)

    def span(self, span: Span) -> Span:
        """Outputs that see a changed input."""
        start = -((self.reach - span.start - self.left) // self.stride)
        return Span(start, (span.end - 1 + self.left) // self.stride + 1)

    def first_tap(self, start_out: Ints) -> Ints:
        """Position of the first tap of an output."""
        return start_out * self.stride - self.left

    def seen_by(self, tap: int, n_out: int, length: int) -> tuple[int, int, slice]:
        """Outputs [low, high) for which a tap lies on a sequence of this length, and where."""
        shift = tap * self.dilation - self.left
        low = max(0, -(shift // self.stride))
        high = min(n_out, (length - 1 - shift) // self.stride + 1)
        first = low * self.stride + shift
        return low, high, slice(first, first + (high - low - 1) * self.stride + 1, self.stride)

    def extent(self, width_out: int) -> int:
        """Inputs from the first tap of the first to the last tap of the last of the outputs."""
        return (width_out - 1) * self.stride + self.reach + 1


class Convolution(Rule):
    """delta convolved; weights, shape=(kernel, channels in, channels out), or grouped."""

    label = "difference x taps"

    def __init__(
        self,
        node: Node,
        source: int,
        layout: Layout,
        sliding: Sliding,
        weight: Tensor,
        groups: int,
        bias: Any = None,
    ) -> None:
        super().__init__(node, [source], layout)
        self.sliding, self.groups, self.bias = sliding, groups, bias
        self.weight = weight  # (out, in / groups, kernel)
        self.n_in = weight.shape[1] * groups
        self.taps = weight.permute(2, 1, 0).contiguous() if groups == 1 else None
        self._padded = self.taps  # with rows of zeros before and after, for sparse products

    def span(self, spans: list[Span]) -> Span:
        """See Rule."""
        return self.sliding.span(spans[0])

    def offsets(self, spans: list[Span], out: Span) -> list[Ints]:
        """Position of the first tap of the first output in the window of the source."""
        return [self.sliding.first_tap(out.start) - spans[0].start]

    def run(self, context: BlockContext, key: Key, sources: list[Key], windows: list[Window]) -> Window:
        """See Rule."""
        place = context.places[key]
        masked, large = windows[0].masked, place.width * self.weight.shape[0] >= LEAST_OUTPUTS
        if masked is not None and large and self._by_products(place.width):
            out = self._less_dropped(masked, place.offsets[0], place.width)
            if out is not None:
                context.paths["products less what is dropped"] += 1
                return Window(delta=out)
        delta = context.delta(sources[0], windows[0])
        if self._by_products(place.width):
            few = context.few_channels(
                delta.flatten(0, 1).flatten(1), place.width * self.weight.shape[0]
            )
            if few is None:
                out = self._products(delta, place.offsets[0], place.width)
            else:
                out = self._sparse_products(few, delta.shape, place.offsets[0], place.width)
            return Window(delta=out)
        return Window(delta=self._convolved(delta, place.offsets[0], place.width))

    def _by_products(self, width: int) -> bool:
        return self.taps is not None and self.sliding.dilation == 1 and width <= _MAX_PRODUCTS

    def _products(self, delta: Tensor, offset: int, width: int) -> Tensor:
        assert self.taps is not None
        draws, mutants, n, channels = delta.shape
        rows = delta.reshape(draws * mutants, n * channels)
        taps = self.taps.flatten(0, 1)
        n_out = taps.shape[1]
        out = delta.new_empty(draws * mutants, width, n_out)
        for j in range(width):
            first = offset + j * self.sliding.stride
            low, high = max(first, 0), min(first + self.sliding.kernel, n)
            if high <= low:
                out[:, j] = 0
                continue
            part = rows[:, low * channels : high * channels]
            torch.mm(part, taps[(low - first) * channels : (high - first) * channels], out=out[:, j])
        return out.view(draws, mutants, width, n_out)

    def _sparse_products(self, few: FewChannels, shape: torch.Size, offset: int, width: int) -> Tensor:
        """As `_products`: the taps of an output are a stretch of all taps with zeros around them."""
        draws, mutants, n, channels = shape
        taps, edge = self._with_zeros(n - 1)
        n_out = taps.shape[2]
        out = taps.new_empty(draws * mutants, width, n_out)
        for j in range(width):
            first = offset + j * self.sliding.stride
            if first >= n or first + self.sliding.kernel <= 0:
                out[:, j] = 0
            else:
                out[:, j] = few.times(taps[edge - first : edge - first + n].view(n * channels, n_out))
        return out.view(draws, mutants, width, n_out)

    def _less_dropped(self, masked: Masked, offset: int, width: int) -> Tensor | None:
        """As `_products` of windows after a mask, by those before it and what it drops.

        None where it drops so much that this is slower. Where it drops all that differs, exactly zero.
        """
        if masked.before.device.type != "cpu":
            return None
        gains = masked.gains()
        dropped = masked.dropped(gains)
        draws, mutants, n, channels = dropped.shape
        few = FewChannels.of(dropped.view(draws * mutants, n * channels), width * self.weight.shape[0])
        if few is None:
            return None
        base = masked.products.get(self.node.index)
        if base is None:
            base = self._products(masked.before, offset, width)
            masked.products[self.node.index] = base
        del dropped
        gone = masked.all_dropped()
        taps, edge = self._with_zeros(n - 1)
        out = base.new_empty(draws, mutants, width, base.shape[3])
        for j in range(width):
            first = offset + j * self.sliding.stride
            low, high = max(first, 0), min(first + self.sliding.kernel, n)
            if high <= low:
                out[:, :, j] = 0
                continue
            part = few.times(taps[edge - first : edge - first + n].view(n * channels, -1))
            less(base[:, :, j], gains, part.view(draws, mutants, -1), out[:, :, j])
            nothing = gone[:, :, low:high].all(dim=2)
            if nothing.any():
                out[:, :, j][nothing] = 0
        return out

    @property
    def shifts_rows(self) -> bool:
        """Whether `of_rows` can be asked."""
        known = self.bias is None or isinstance(self.bias, Tensor)
        return known and self.taps is not None

    def of_rows(self, few: FewChannels, n: int, length: int) -> Tensor:
        """Convolution, without a bias, of n whole inputs of this length: (n, positions, channels)."""
        assert self.taps is not None
        s, n_positions = self.sliding, self.layout.n_positions
        result = self.taps.new_zeros(n, n_positions, self.taps.shape[2])
        for tap, weight in enumerate(self.taps):
            low, high, seen = s.seen_by(tap, n_positions, length)
            if low < high:
                result[:, low:high] += few.times(weight).view(n, length, -1)[:, seen]
        return result

    def _with_zeros(self, edge: int) -> tuple[Tensor, int]:
        """Taps with at least so many taps of zeros on either side, and how many there are."""
        assert self.taps is not None
        assert self._padded is not None
        kernel = self.sliding.kernel
        if (len(self._padded) - kernel) // 2 < edge:
            self._padded = F.pad(self.taps, (0, 0, 0, 0, edge, edge))
            self.taps = self._padded[edge : edge + kernel]  # held once
        return self._padded, (len(self._padded) - kernel) // 2

    def _convolved(self, delta: Tensor, offset: int, width: int) -> Tensor:
        draws, mutants = delta.shape[:2]
        x = embed(delta, -offset, self.sliding.extent(width)).flatten(0, 1).transpose(1, 2)
        # A dummy axis lets the channels-last layout of the window be used as it is.
        y = F.conv2d(
            x[:, :, None],
            self.weight[:, :, None].contiguous(memory_format=torch.channels_last),
            stride=(1, self.sliding.stride),
            dilation=(1, self.sliding.dilation),
            groups=self.groups,
        )
        return y[:, :, 0].transpose(1, 2).contiguous().view(draws, mutants, width, -1)

    def flops(self, widths: list[float], width: int) -> float:
        """See Rule."""
        kernel, n_in, n_out = self.sliding.kernel, self.n_in // self.groups, self.weight.shape[0]
        positions = widths[0] if self._by_products(width) else width
        return 2.0 * positions * kernel * n_in * n_out / max(1, self.sliding.stride)


@rule_for("conv1d", "conv2d", "convolution", "_convolution")
def _convolution(node: Node, builder: Builder) -> Rule:
    arguments = builder.arguments(node)
    source = builder.only_source(node)
    weight, layout = arguments["weight"], builder.layouts[source]
    if not isinstance(weight, Tensor) or arguments.get("transposed"):
        raise NoRule("no rule for this kind of convolution")
    if node.args[0] != (node.args[0].__class__)(source):
        raise NoRule("the weights depend on the inputs")
    spatial = weight.dim() - 2
    if len(layout.groups) != spatial + 2:
        raise NoRule("input without a batch axis")
    position = layout.dim_of("position") - 2
    _check_axes(layout, position)
    stride, dilation = _each(arguments["stride"], spatial), _each(arguments["dilation"], spatial)
    padding = _paddings(arguments["padding"], weight, dilation)
    groups = arguments["groups"]
    assert node.shape is not None
    for axis in range(spatial):
        if axis != position:
            if node.shape[axis + 2] != 1:
                raise NoRule("more than one row is left beside the positions")
            weight = _collapse(weight, axis, layout.size(axis + 2), padding[axis], dilation[axis])
    weight = _flatten_weight(weight, position, groups)
    sliding = Sliding(weight.shape[2], stride[position], padding[position], dilation[position])
    n_out, length = weight.shape[0], int(node.shape[position + 2])  # type: ignore[arg-type]
    groups_out = [layout.groups[0], (Axis("channel", n_out),) if n_out > 1 else ()]
    for axis in range(spatial):
        groups_out.append((Axis("position", length),) if axis == position else ())
    bias = arguments["bias"]
    return Convolution(node, source, Layout(tuple(groups_out)), sliding, weight, groups, bias)


def _check_axes(layout: Layout, position: int) -> None:
    if not layout.alone(0, "batch") or position < 0 or not layout.alone(position + 2, "position"):
        raise NoRule("batch, channels and positions are not axes of their own")


def _each(value: int | list[int], n: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * n if len(values) == 1 else values


def _paddings(padding: str | int | list[int], weight: Tensor, dilation: list[int]) -> list[int]:
    """Padding on the left of each spatial axis."""
    n = weight.dim() - 2
    if padding == "valid":
        return [0] * n
    if padding == "same":
        return [dilation[i] * (weight.shape[i + 2] - 1) // 2 for i in range(n)]
    assert not isinstance(padding, str)
    return _each(padding, n)


def _collapse(weight: Tensor, axis: int, size: int, padding: int, dilation: int) -> Tensor:
    """Weights that the single output along another axis than the positions gives its `size` inputs."""
    taps = []
    for h in range(size):
        tap, rest = divmod(h + padding, dilation)
        inside = rest == 0 and 0 <= tap < weight.shape[axis + 2]
        row = weight.select(axis + 2, tap if inside else 0)
        taps.append(row if inside else torch.zeros_like(row))
    return torch.stack(taps, dim=axis + 2)


def _flatten_weight(weight: Tensor, position: int, groups: int) -> Tensor:
    """(out, in, *spatial) as (out, in * other axes, kernel along the positions)."""
    moved = weight.movedim(position + 2, -1)
    flat = moved.reshape(moved.shape[0], -1, moved.shape[-1])
    if groups > 1 and flat.shape[1] != weight.shape[1]:
        raise NoRule("grouped convolution over two axes")
    return flat.contiguous()


def counts(sliding: Sliding, length: int, length_out: int) -> Ints:
    """How many taps of each output lie on the sequence, shape=(length_out,)."""
    taps = np.arange(length_out)[:, None] * sliding.stride - sliding.left
    taps = taps + np.arange(sliding.kernel) * sliding.dilation
    n_inside: Ints = ((taps >= 0) & (taps < length)).sum(axis=1)
    return n_inside
