"""What a rule is, and the table of them by operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from kipoi_mcdropout.engine.incremental.graph import Affine, Node, Ref, walk
from kipoi_mcdropout.engine.incremental.layout import Layout, to_canonical
from kipoi_mcdropout.engine.incremental.windows import BlockContext, Ints, Span, Window
from kipoi_mcdropout.errors import ModelError

Key = tuple[int, int]  # node, lane


class NoRule(Exception):  # noqa: N818
    """An operation cannot be propagated as windows; the reason is shown by `audit`."""


class RuleError(ModelError):
    """A rule for an operation failed. This is a bug of this package."""

    stops_the_run = True

    what = ""  # without advice

    @classmethod
    def of(cls, node: Node, error: Exception) -> RuleError:
        """With the operation, the module that calls it, and what happened."""
        where = f" in module {node.module!r}" if node.module else ""
        what = (
            f"the rule of the incremental engine for {node.name}{where} failed "
            f"({type(error).__name__}: {error})"
        )
        raised = cls(f"{what}. Use the engine 'full', and please report this model")
        raised.what = what
        return raised


class Rule:
    """How one node's windows follow from those of its sources.

    Attributes
    ----------
    layout : Layout
        Of the result.
    sources : list of int
        Nodes whose windows are taken.
    label : str
        Shown by `audit`.
    aliases : bool
        Whether the result may share memory with the sources.
    on_values, passes_on, looks_around : bool
        Whether it takes and gives the mutants' values, not differences; whether it takes either and
        gives the same; whether it looks at the reference beside the windows (see looked_at.py).
    extinguishes : bool
        Whether a difference that is not zero may become exactly zero (see thinning.py).
    factor : int, optional
        Node of a tensor of masks alone whose values the differences are multiplied by.
    """

    label = ""
    aliases = False
    on_values = False
    passes_on = False
    looks_around = False
    extinguishes = False
    factor: int | None = None

    def __init__(self, node: Node, sources: list[int], layout: Layout) -> None:
        self.node = node
        self.sources = sources
        self.layout = layout

    def span(self, spans: list[Span]) -> Span:
        """Positions that change, from those that change in the sources."""
        return Span.union(spans)

    def offsets(self, spans: list[Span], out: Span) -> list[Ints]:
        """Relative position of the windows per source; mutants are blocked by it."""
        return [span.start - out.start for span in spans]

    def run(self, context: BlockContext, key: Key, sources: list[Key], windows: list[Window]) -> Window:
        """Windows of the result."""
        raise NotImplementedError

    def flops(self, widths: list[float], width: int) -> float:
        """Floating point operations per mutant and draw."""
        return 2.0 * width * self.layout.n_channels


class Builder:
    """What the makers of rules may ask about the graph.

    `layouts` holds the layout of every node that is propagated as windows; `lanes` how many batches
    stand one after the other in it (a batch doubled inside the model); `fixed` the values of nodes
    that do not depend on the inputs at all; `masked` are nodes that depend on the masks alone, such as
    weights with dropout.
    """

    def __init__(self, nodes: dict[int, Node]) -> None:
        self.nodes = nodes
        self.layouts: dict[int, Layout] = {}
        self.lanes: dict[int, int] = {}
        self.lane_of: dict[int, list[Key]] = {}
        self.fixed: dict[int, Any] = {}
        self.masked: set[int] = set()

    def arguments(self, node: Node) -> dict[str, Any]:
        """Arguments by name, with defaults; values of fixed nodes put in."""
        assert node.target is not None
        schema = node.target._schema.arguments  # type: ignore[attr-defined]
        bound: dict[str, Any] = {}
        for i, argument in enumerate(schema):
            if i < len(node.args):
                bound[argument.name] = node.args[i]
            elif argument.name in node.kwargs:
                bound[argument.name] = node.kwargs[argument.name]
            else:
                bound[argument.name] = argument.default_value
        return {name: self._known(value) for name, value in bound.items()}

    def _known(self, value: Any) -> Any:
        if isinstance(value, Ref) and value.index in self.fixed:
            return self.fixed[value.index]
        return value

    def is_local(self, value: Any) -> bool:
        """Whether an argument is propagated as windows."""
        return isinstance(value, Ref) and value.index in self.layouts

    def is_masked(self, value: Any) -> bool:
        """Whether an argument depends on the masks alone."""
        return isinstance(value, Ref) and value.index in self.masked

    def layout(self, value: Any) -> Layout:
        """Layout of an argument; NoRule if it is not propagated as windows."""
        if not self.is_local(value):
            raise NoRule("takes something that is not local")
        return self.layouts[value.index]

    def only_source(self, node: Node) -> int:
        """The single local argument; NoRule if other arguments depend on the inputs."""
        refs = [leaf for leaf in walk((node.args, node.kwargs)) if isinstance(leaf, Ref)]
        moving = {ref.index for ref in refs if ref.index not in self.fixed}
        if not all(index in self.layouts for index in moving):
            raise NoRule("what it takes is not local")
        if len(moving) != 1:
            raise NoRule("takes several local tensors")
        return moving.pop()


Maker = Callable[[Node, Builder], Rule]
RULES: dict[str, Maker] = {}


def rule_for(*names: str) -> Callable[[Maker], Maker]:
    """Register a maker of rules for operations of these names."""

    def register(maker: Maker) -> Maker:
        for name in names:
            RULES[name] = maker
        return maker

    return register


def dim_of(dim: int, layout: Layout) -> int:
    """A non-negative logical axis."""
    return dim % len(layout.groups)


def known_int(value: Any) -> int:
    """An integer argument that does not depend on the batch."""
    if isinstance(value, Affine) or not isinstance(value, int):
        raise NoRule("an argument depends on the batch")
    return value


def canonical_constant(constant: Tensor, layout: Layout) -> Tensor:
    """A constant that is broadcast against a local tensor, as (1, positions or 1, channels).

    NoRule if it depends on the batch axis.
    """
    if len(layout.groups) < constant.dim():
        raise NoRule("is broadcast to more axes")
    batch = layout.dim_of("batch")
    sizes = [1 if i == batch else layout.size(i) for i in range(len(layout.groups))]
    if len(layout.groups[batch]) != 1:
        raise NoRule("the batch is not an axis of its own")
    try:
        full = constant.expand(sizes)
    except RuntimeError:
        raise NoRule("a constant does not fit the shape of the tensor") from None
    position = layout.dim_of("position") - (len(layout.groups) - constant.dim())
    canonical = to_canonical(full, layout, 1)
    if position < 0 or constant.shape[position] == 1:
        canonical = canonical[:, :1].contiguous()
    return canonical


def broadcast(context: BlockContext, key: Key, canonical: Tensor) -> Tensor:
    """A constant (draws, positions or 1, channels) that broadcasts against the windows of a node."""
    if canonical.shape[1] == 1:
        return context.everywhere(canonical)
    return context.position_window(key, canonical)


def channel_shape(layout: Layout, window: Tensor) -> Tensor:
    """Windows with their channel axes taken apart, (draws, mutants, width, *channels)."""
    return window.reshape(*window.shape[:3], *layout.channels)
