"""A rough count of the work of operations on whole inputs."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from kipoi_mcdropout.engine.incremental.graph import Affine, Graph, Node, Ref, walk

MOVED = 60.0  # reading or writing a number costs about as much as this many multiply-adds
_FREE = frozenset(
    {
        "input", "view", "reshape", "flatten", "squeeze", "unsqueeze", "permute", "transpose", "t",
        "getitem", "chunk", "split", "slice", "select", "expand", "contiguous", "detach", "unflatten",
    }
)  # fmt: skip


def n_elements(node: Node) -> float:
    """Numbers in a node's result for one input."""
    if node.shape is None:
        return 0.0
    return float(math.prod(s.at(1) if isinstance(s, Affine) else s for s in node.shape))


def dense_cost(node: Node, graph: Graph) -> float:
    """Work for one input, in floating point operations; what moves memory counts as such."""
    if node.name in _FREE:
        return 0.0
    return dense_flops(node, graph) + MOVED * n_elements(node)


def dense_flops(node: Node, graph: Graph) -> float:
    """Floating point operations for one input."""
    by_index = {n.index: n for n in graph.nodes}
    weights = _weight_shapes(node, by_index)
    if node.name.startswith("conv") and weights:
        return 2.0 * n_elements(node) * math.prod(weights[0][1:])
    if node.name in ("linear", "mm", "addmm", "matmul") and weights:
        inner = weights[0][-1 if node.name == "linear" else -2]
        return 2.0 * n_elements(node) * inner
    sizes = [n_elements(by_index[r.index]) for r in walk((node.args, node.kwargs)) if _is_ref(r)]
    if node.name in ("lstm", "gru", "rnn_tanh", "rnn_relu"):
        steps = max(sizes) / max(1, min(shape[1] for shape in weights)) if weights else 1.0
        return 2.0 * steps * sum(math.prod(shape) for shape in weights)
    if node.name in ("bmm", "matmul", "baddbmm", "scaled_dot_product_attention", "einsum"):
        return 2.0 * n_elements(node) * math.sqrt(max(sizes, default=1.0))
    return max(sizes, default=0.0)


def _weight_shapes(node: Node, by_index: dict[int, Node]) -> list[tuple[int, ...]]:
    """Shapes of the matrices among a node's arguments that no batch changes.

    Some code turns its weights first, as Keras does for a convolution: they are results of nodes then.
    """
    shapes = []
    for x in walk((node.args, node.kwargs)):
        shape = x.shape if isinstance(x, Tensor) else by_index[x.index].shape if _is_ref(x) else None
        sizes = tuple(n for n in shape or () if not isinstance(n, Affine))
        if shape is not None and len(shape) >= 2 and len(sizes) == len(shape):
            shapes.append(sizes)
    return shapes


def _is_ref(value: Any) -> bool:
    return isinstance(value, Ref)
