"""A model's outputs as one row of numbers per input."""

from __future__ import annotations

import torch
from torch import Tensor

from kipoi_mcdropout.arrays.nested import Nested, leaves
from kipoi_mcdropout.errors import ModelError


def flatten_outputs(outputs: Nested, n: int, selected: Tensor | None = None) -> Tensor:
    """Outputs of a batch as a matrix.

    Parameters
    ----------
    outputs : nested tensors, each shape=(n, ...)
    n : int
        Number of inputs.
    selected : Tensor of int64, optional
        Columns to keep.

    Returns
    -------
    Tensor, shape=(n, outputs)
        All leaves in order, each flattened in C order; floating point.
    """
    parts = []
    for path, leaf in leaves(outputs):
        is_tensor = isinstance(leaf, Tensor)
        if not is_tensor or leaf.dim() == 0 or leaf.shape[0] != n or leaf.is_complex():
            came = f"{tuple(leaf.shape)}, {leaf.dtype}" if is_tensor else type(leaf).__name__
            raise ModelError(
                f"model output {path!r} must be a tensor of real numbers with the batch of {n} first; "
                f"got {came}. Wrap the model in a module that returns only such tensors"
            )
        parts.append(_floating(leaf).reshape(n, -1))
    if not parts:
        raise ModelError("the model must return one or more tensors; it returned nothing")
    matrix = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
    return matrix if selected is None else matrix[:, selected]


def _floating(leaf: Tensor) -> Tensor:
    if leaf.is_quantized:
        return leaf.dequantize()
    return leaf if leaf.is_floating_point() else leaf.to(torch.float64)
