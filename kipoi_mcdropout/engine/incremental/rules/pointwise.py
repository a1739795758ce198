"""Operations on single elements: activations, scaling by constants, batch norm, identity."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kipoi_mcdropout.engine.incremental.graph import Affine as BatchSize
from kipoi_mcdropout.engine.incremental.graph import Node, Ref, map_leaves, walk
from kipoi_mcdropout.engine.incremental.layout import Layout
from kipoi_mcdropout.engine.incremental.rules.base import (
    Builder,
    Key,
    NoRule,
    Rule,
    broadcast,
    canonical_constant,
    rule_for,
)
from kipoi_mcdropout.engine.incremental.rules.lookup import as_float
from kipoi_mcdropout.engine.incremental.rules.masks import scaled_by_masks
from kipoi_mcdropout.engine.incremental.windows import BlockContext, Window

_ACTIVATIONS = (
    "relu", "relu6", "gelu", "softplus", "sigmoid", "tanh", "exp", "expm1", "elu", "selu", "celu",
    "hardtanh", "leaky_relu", "threshold", "silu", "mish", "hardswish", "hardsigmoid", "abs",
    "sqrt", "rsqrt", "log", "log1p", "log2", "clamp", "clamp_min", "clamp_max", "reciprocal", "sin",
    "cos", "erf", "log_sigmoid", "square", "sign", "hardshrink", "softshrink", "floor", "round",
    "special_expit", "logit", "pow",
)  # fmt: skip
_FLAT_SOMEWHERE = frozenset(
    {
        "relu", "relu6", "hardtanh", "threshold", "hardswish", "hardsigmoid", "clamp", "clamp_min",
        "clamp_max", "sign", "hardshrink", "softshrink", "floor", "round",
    }
)  # fmt: skip


class Pointwise(Rule):
    """new = f(value of the mutant); f is the operation itself, run on the window."""

    label = "values on the window"
    on_values = True

    def __init__(self, node: Node, sources: list[int], layout: Layout) -> None:
        super().__init__(node, sources, layout)
        self.extinguishes = node.name in _FLAT_SOMEWHERE

    def run(self, context: BlockContext, key: Key, sources: list[Key], windows: list[Window]) -> Window:
        """See Rule."""
        value = context.new(sources[0], windows[0])
        if self.node.name == "relu" and context.may_overwrite(sources[0]):
            return Window(new=value.relu_())
        return Window(new=self.apply(value))

    def apply(self, value: Tensor) -> Tensor:
        """The operation itself, on any elements."""
        assert self.node.target is not None
        args, kwargs = map_leaves(
            lambda leaf: value if isinstance(leaf, Ref) else leaf, (self.node.args, self.node.kwargs)
        )
        result: Tensor = self.node.target(*args, **kwargs)
        return result


@rule_for(*_ACTIVATIONS)
def _pointwise(node: Node, builder: Builder) -> Rule:
    source = builder.only_source(node)
    _refuse_batch_size(node)
    if any(isinstance(leaf, Tensor) for leaf in builder.arguments(node).values()):
        raise NoRule("takes a tensor of parameters")
    refs = [x for x in node.args if isinstance(x, Ref)]
    if len(refs) != 1 or not isinstance(node.args[0], Ref):
        raise NoRule("takes other tensors")
    return Pointwise(node, [source], builder.layouts[source])


def _refuse_batch_size(node: Node) -> None:
    """NoRule if an argument is a number made from the size of the batch."""
    if any(isinstance(leaf, BatchSize) for leaf in walk((node.args, node.kwargs))):
        raise NoRule("an argument depends on the batch")


class Identity(Rule):
    """The same windows; only the layout may differ."""

    label = "same window"
    passes_on = True
    aliases = True

    def run(self, context: BlockContext, key: Key, sources: list[Key], windows: list[Window]) -> Window:
        """See Rule."""
        return windows[0].copy()

    def flops(self, widths: list[float], width: int) -> float:
        """See Rule."""
        return 0.0


@rule_for("clone", "contiguous", "detach", "alias", "to", "_to_copy")
def _identity(node: Node, builder: Builder) -> Rule:
    source = builder.only_source(node)
    arguments = builder.arguments(node)
    dtype = arguments.get("dtype")
    if (cast := as_float(node, builder, source)) is not None:
        return cast
    if isinstance(dtype, torch.dtype) or isinstance(arguments.get("other"), (Tensor, Ref)):
        raise NoRule("may change the dtype")
    return Identity(node, [source], builder.layouts[source])


class Affine(Rule):
    """value * scale + shift with constants per channel and position: delta * scale."""

    label = "difference times a constant"
    aliases = True

    def __init__(self, node: Node, source: int, layout: Layout, scale: Tensor | float | None) -> None:
        super().__init__(node, [source], layout)
        self.scale = scale

    def run(self, context: BlockContext, key: Key, sources: list[Key], windows: list[Window]) -> Window:
        """See Rule."""
        delta = context.delta(sources[0], windows[0])
        if self.scale is None:
            return Window(delta=delta, clean=True)
        scale = self.scale
        factor = broadcast(context, key, scale) if isinstance(scale, Tensor) else scale
        if context.may_overwrite(sources[0]):
            return Window(delta=delta.mul_(factor), clean=True)
        return Window(delta=delta * factor, clean=True)


@rule_for("add", "sub", "mul", "div", "neg", "rsub", "maximum", "minimum", "true_divide")
def _arithmetic(node: Node, builder: Builder) -> Rule:
    from kipoi_mcdropout.engine.incremental.rules.combine import combine_two

    _refuse_batch_size(node)
    arguments = builder.arguments(node)
    a, b = arguments["self"], arguments.get("other")
    if isinstance(a, Ref) and isinstance(b, Ref) and builder.is_local(a) and builder.is_local(b):
        return combine_two(node, builder, a, b)
    if node.name in ("add", "sub"):
        shift = _masked_shift(node, builder, a, b)
        if shift is not None:
            return shift
    if node.name in ("mul", "div"):
        scaled = scaled_by_masks(node, builder, a, b)
        if scaled is not None:
            return scaled
    source = builder.only_source(node)
    layout = builder.layouts[source]
    constant = b if builder.is_local(a) else a
    if isinstance(constant, Tensor):
        canonical: Any = canonical_constant(constant, layout)
    else:
        canonical = constant
    alpha = arguments.get("alpha", 1)
    if node.name in ("add", "sub", "rsub"):
        if node.name == "add":
            factor = 1 if builder.is_local(a) else alpha
        elif node.name == "sub":
            factor = 1 if builder.is_local(a) else -alpha
        else:
            factor = -alpha
        return Affine(node, source, layout, None if factor == 1 else float(factor))
    if node.name == "neg":
        return Affine(node, source, layout, -1.0)
    if node.name == "mul":
        return Affine(node, source, layout, canonical)
    if node.name in ("div", "true_divide") and builder.is_local(a):
        if arguments.get("rounding_mode") is not None:
            raise NoRule("rounds")
        if not isinstance(canonical, Tensor) and canonical == 0:
            raise NoRule("divides by zero")
        inverse = 1.0 / canonical if isinstance(canonical, Tensor) else 1.0 / float(canonical)
        return Affine(node, source, layout, inverse)
    return ConstantPair(node, source, layout, canonical, local_first=builder.is_local(a))


def _masked_shift(node: Node, builder: Builder, a: Any, b: Any) -> Rule | None:
    """Rule of x + c and x - c, where c depends on the masks alone (a position code with dropout)."""
    swapped = builder.is_masked(a)
    local, shift = (b, a) if swapped else (a, b)
    if not builder.is_local(local) or not builder.is_masked(shift):
        return None
    if swapped and (node.name == "sub" or builder.arguments(node).get("alpha", 1) != 1):
        return None
    if node.shape != builder.nodes[local.index].shape:
        return None
    return Affine(node, local.index, builder.layouts[local.index], None)


class ConstantPair(Rule):
    """An operation of a local tensor and a constant that is not linear, e.g. 1 / x, maximum."""

    label = "values on the window"
    on_values = True

    def __init__(
        self, node: Node, source: int, layout: Layout, constant: Any, local_first: bool
    ) -> None:
        super().__init__(node, [source], layout)
        self.constant, self.local_first = constant, local_first
        self.extinguishes = node.name in ("maximum", "minimum")

    def run(self, context: BlockContext, key: Key, sources: list[Key], windows: list[Window]) -> Window:
        """See Rule."""
        value = context.new(sources[0], windows[0])
        constant = self.constant
        if isinstance(constant, Tensor):
            constant = broadcast(context, key, constant)
        pair = (value, constant) if self.local_first else (constant, value)
        assert self.node.target is not None
        return Window(new=self.node.target(*pair, *self.node.args[2:], **self.node.kwargs))


@rule_for("batch_norm")
def _batch_norm(node: Node, builder: Builder) -> Rule:
    arguments = builder.arguments(node)
    source = builder.only_source(node)
    mean, var = arguments.get("running_mean"), arguments.get("running_var")
    if arguments.get("training") or not isinstance(var, Tensor) or not isinstance(mean, Tensor):
        raise NoRule("batch norm by the statistics of the batch")
    layout = builder.layouts[source]
    scale = torch.rsqrt(var.to(torch.float64) + arguments["eps"])
    weight = arguments.get("weight")
    scale = (scale if weight is None else scale * weight).to(var.dtype)
    scale = scale.reshape(1, -1, *[1] * (len(layout.groups) - 2))
    return Affine(node, source, layout, canonical_constant(scale, layout))


class PReLU(Rule):
    """Leaky ReLU with a slope per channel."""

    label = "values on the window"
    on_values = True

    def __init__(self, node: Node, source: int, layout: Layout, slope: Tensor) -> None:
        super().__init__(node, [source], layout)
        self.slope = slope

    def run(self, context: BlockContext, key: Key, sources: list[Key], windows: list[Window]) -> Window:
        """See Rule."""
        value = context.new(sources[0], windows[0])
        return Window(new=torch.where(value > 0, value, value * broadcast(context, key, self.slope)))


@rule_for("prelu", "_prelu_kernel")
def _prelu(node: Node, builder: Builder) -> Rule:
    source, weight = builder.only_source(node), builder.arguments(node)["weight"]
    layout = builder.layouts[source]
    shaped = weight.reshape(1, -1, *[1] * max(len(layout.groups) - 2, 0))
    return PReLU(node, source, layout, canonical_constant(shaped, layout))
