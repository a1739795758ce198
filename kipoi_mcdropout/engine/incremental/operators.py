"""Operators of torch as a pass calls them: their names, and whether they look at the data."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# Second names of operators, which Keras uses.
_USUAL_NAMES = {
    "subtract": "sub", "multiply": "mul", "divide": "div", "true_divide": "div", "negative": "neg",
    "absolute": "abs", "concat": "cat", "concatenate": "cat",
}  # fmt: skip
_DATA_DEPENDENT = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)


def usual(func: Any) -> Any:
    """The operator under its usual name."""
    packet = getattr(torch.ops.aten, _USUAL_NAMES.get(operator_name(func), ""), None)
    return func if packet is None else getattr(packet, func._overloadname, func)


def looks_at_data(func: Any, tensors: list[Tensor], others: list[Any]) -> bool:
    """Whether the shape of the result, or a number that leaves torch, depends on the values.

    `others` are the arguments after the first.
    """
    if operator_name(func) == "index" and all(x.dtype != torch.bool for x in tensors):
        return False  # only an index by a mask has a shape that depends on it
    if operator_name(func) == "one_hot" and others and others[0] != -1:
        return False  # the number of classes is given
    return any(tag in func.tags for tag in _DATA_DEPENDENT)


def operator_name(func: Any) -> str:
    """Its name without the namespace, such as "add"."""
    return str(func._schema.name).split("::")[-1]
