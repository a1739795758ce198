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
    tensors = [x for x in walk((node.args, node.kwargs)) if isinstance(x, Tensor)]
    weights = [w for w in tensors if w.dim() >= 2]
    if node.name.startswith("conv") and weights:
        return 2.0 * n_elements(node) * math.prod(weights[0].shape[1:])
    if node.name in ("linear", "mm", "addmm", "matmul") and weights:
        inner = weights[0].shape[-1 if node.name == "linear" else -2]
        return 2.0 * n_elements(node) * inner
    by_index = {n.index: n for n in graph.nodes}
    sizes = [n_elements(by_index[r.index]) for r in walk((node.args, node.kwargs)) if _is_ref(r)]
    if node.name in ("lstm", "gru", "rnn_tanh", "rnn_relu"):
        steps = max(sizes) / max(1, min(w.shape[1] for w in weights)) if weights else 1.0
        return 2.0 * steps * sum(w.numel() for w in weights)
    if node.name in ("bmm", "matmul", "baddbmm", "scaled_dot_product_attention", "einsum"):
        return 2.0 * n_elements(node) * math.sqrt(max(sizes, default=1.0))
    return max(sizes, default=0.0)


def _is_ref(value: Any) -> bool:
    return isinstance(value, Ref)
