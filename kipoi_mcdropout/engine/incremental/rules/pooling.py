"""Pooling along the positions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kipoi_mcdropout.engine.incremental.graph import Node
from kipoi_mcdropout.engine.incremental.layout import Layout
from kipoi_mcdropout.engine.incremental.rules.base import (
    Builder,
    Key,
    NoRule,
    Rule,
    broadcast,
    known_int,
    rule_for,
)
from kipoi_mcdropout.engine.incremental.rules.convolution import Sliding, counts
from kipoi_mcdropout.engine.incremental.windows import (
    BlockContext,
    Ints,
    Span,
    Window,
    clear_outside,
    embed,
)


class _Pool(Rule):
    def __init__(self, node: Node, source: int, layout: Layout, sliding: Sliding) -> None:
        super().__init__(node, [source], layout)
        self.sliding = sliding

    def span(self, spans: list[Span]) -> Span:
        """See Rule."""
        return self.sliding.span(spans[0])

    def offsets(self, spans: list[Span], out: Span) -> list[Ints]:
        """Position of the first tap of the first output in the window of the source."""
        return [self.sliding.first_tap(out.start) - spans[0].start]

    def flops(self, widths: list[float], width: int) -> float:
        """See Rule."""
        return 1.0 * width * self.sliding.kernel * self.layout.n_channels

    def _taps(self, x: Tensor, width: int) -> list[Tensor]:
        """For each tap what the outputs see, (draws, mutants, width, channels)."""
        s = self.sliding
        last = (width - 1) * s.stride + 1
        return [x[:, :, t * s.dilation : t * s.dilation + last : s.stride] for t in range(s.kernel)]


class MaxPool(_Pool):
    """Maximum of the mutant's values, with the reference's where nothing changed."""

    label = "values on the window and its neighbours"
    extinguishes = True
    on_values = True
    looks_around = True

    def run(self, context: BlockContext, key: Key, sources: list[Key], windows: list[Window]) -> Window:
        """See Rule."""
        place, before = context.places[key], context.places[sources[0]]
        begin, extent = place.offsets[0], self.sliding.extent(place.width)
        new = context.new(sources[0], windows[0])
        if begin == 0 and extent == before.width:
            values = new
            outside = before.outside(context.device)
            if len(outside) and not context.may_overwrite(sources[0]):
                values = new.clone()
        else:
            values = context.reference_window(sources[0], begin, extent)
            if values.shape[0] < new.shape[0]:
                values = values.repeat(new.shape[0], 1, 1, 1)
            embed(new, -begin, extent, out=values)
            outside = before.outside(context.device, begin, extent)
        clear_outside(values, outside, -math.inf)
        taps = self._taps(values, place.width)
        if len(taps) == 1:
            return Window(new=taps[0].contiguous())
        result = torch.maximum(taps[0], taps[1])
        for tap in taps[2:]:
            torch.maximum(result, tap, out=result)
        return Window(new=result)


    def of_rows(self, whole: Tensor) -> Tensor:
        """Maxima of whole inputs, (n, positions, channels)."""
        s, length = self.sliding, whole.shape[1]
        n_positions = self.layout.n_positions
        result = whole.new_full((len(whole), n_positions, whole.shape[2]), -math.inf)
        for tap in range(s.kernel):
            low, high, seen = s.seen_by(tap, n_positions, length)
            if low < high:
                torch.maximum(result[:, low:high], whole[:, seen], out=result[:, low:high])
        return result


class AveragePool(_Pool):
    """Sum of the differences under each output, divided by its number of taps."""

    label = "difference summed"

    def __init__(
        self, node: Node, source: int, layout: Layout, sliding: Sliding, divisor: Tensor | float
    ) -> None:
        super().__init__(node, source, layout, sliding)
        self.divisor = divisor

    def run(self, context: BlockContext, key: Key, sources: list[Key], windows: list[Window]) -> Window:
        """See Rule."""
        place = context.places[key]
        delta = context.delta(sources[0], windows[0])
        begin, extent = place.offsets[0], self.sliding.extent(place.width)
        taps = self._taps(embed(delta, -begin, extent), place.width)
        total = taps[0].clone()
        for tap in taps[1:]:
            total += tap
        if isinstance(self.divisor, Tensor):
            total /= broadcast(context, key, self.divisor.to(total))
        else:
            total /= self.divisor
        return Window(delta=total)


def _pool_arguments(node: Node, builder: Builder) -> tuple[int, Layout, Sliding, dict[str, Any]]:
    """Source, layout of the result, sliding, and all arguments of a pooling along the positions."""
    arguments, source = builder.arguments(node), builder.only_source(node)
    layout = builder.layouts[source]
    if node.shape is None:
        raise NoRule("returns the places of the maxima too")
    kernel = arguments["kernel_size"]
    spatial = 2 if "2d" in node.name else 1
    kernels = _filled(kernel, spatial, None)
    strides = _filled(arguments.get("stride"), spatial, kernels)
    paddings = _filled(arguments.get("padding", 0), spatial, None)
    dilations = _filled(arguments.get("dilation", 1), spatial, None)
    first = len(layout.groups) - spatial
    position = layout.dim_of("position")
    if position < first or not layout.alone(position, "position"):
        raise NoRule("pools along another axis than the positions")
    if any(
        (kernels[i], paddings[i]) != (1, 0) or (strides[i] != 1 and layout.size(first + i) != 1)
        for i in range(spatial)
        if first + i != position
    ):
        raise NoRule("pools along two axes")
    i = position - first
    sliding = Sliding(kernels[i], strides[i], paddings[i], dilations[i])
    length = known_int(node.shape[position])
    return source, layout.with_positions(length), sliding, arguments


def _filled(value: Any, n: int, default: list[int] | None) -> list[int]:
    if value is None or (isinstance(value, (list, tuple)) and len(value) == 0):
        assert default is not None
        return default
    values = [value] if isinstance(value, int) else [known_int(v) for v in value]
    return values * n if len(values) == 1 else values


@rule_for("max_pool1d", "max_pool2d")
def _max_pool(node: Node, builder: Builder) -> Rule:
    source, layout, sliding, _ = _pool_arguments(node, builder)
    return MaxPool(node, source, layout, sliding)


@rule_for("avg_pool1d", "avg_pool2d")
def _average_pool(node: Node, builder: Builder) -> Rule:
    source, layout, sliding, arguments = _pool_arguments(node, builder)
    if arguments.get("divisor_override") is not None:
        return AveragePool(node, source, layout, sliding, float(arguments["divisor_override"]))
    length, length_out = builder.layouts[source].n_positions, layout.n_positions
    padded = bool(arguments.get("count_include_pad", True))
    if padded:  # the padding counts, but not what ceil_mode adds beyond it
        wide = Sliding(sliding.kernel, sliding.stride, 0)
        number = counts(wide, length + 2 * sliding.left, length_out)
    else:
        number = counts(sliding, length, length_out)
    if (number == number[0]).all():
        return AveragePool(node, source, layout, sliding, float(number[0]))
    per_position = torch.from_numpy(np.ascontiguousarray(number)).view(1, -1, 1)
    return AveragePool(node, source, layout, sliding, per_position)


@rule_for("adaptive_avg_pool1d", "adaptive_avg_pool2d")
def _adaptive(node: Node, builder: Builder) -> Rule:
    source = builder.only_source(node)
    layout = builder.layouts[source]
    position = layout.dim_of("position")
    assert node.shape is not None
    first = len(layout.groups) - (2 if "2d" in node.name else 1)
    if position < first or not layout.alone(position, "position"):
        raise NoRule("pools along another axis than the positions")
    for i in range(first, len(layout.groups)):
        if i != position and node.shape[i] != layout.size(i):
            raise NoRule("pools along two axes")
    length, length_out = layout.n_positions, known_int(node.shape[position])
    if length_out < 2 or length % length_out:
        raise NoRule("windows of unequal size" if length_out > 1 else "pools over all positions")
    size = length // length_out
    return AveragePool(node, source, layout.with_positions(length_out), Sliding(size, size), float(size))
