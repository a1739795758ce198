"""Names of torch's functions, sorted by what they do to the numbers of a tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

# Operators of Python under the name of their function; in place, and with the tensor behind, too.
_OPERATORS = {
    "radd": "add", "iadd": "add", "isub": "sub", "imul": "mul", "rmul": "mul", "truediv": "div",
    "itruediv": "div", "idiv": "div", "true_divide": "div", "divide": "div", "rtruediv": "rdiv",
    "iand": "and", "ior": "or", "ixor": "xor", "multiply": "mul", "subtract": "sub", "negative": "neg",
    "greater": "gt", "greater_equal": "ge", "less": "lt", "less_equal": "le", "special_expit": "sigmoid",
}  # fmt: skip
_IN_PLACE = frozenset(
    {"__iadd__", "__isub__", "__imul__", "__itruediv__", "__idiv__", "__iand__", "__ior__", "__ixor__",
     "__ipow__", "__setitem__"}
)  # fmt: skip

# Each number stays in its place, or moves with its neighbours.
MOVES = frozenset(
    {"view", "view_as", "reshape", "reshape_as", "unsqueeze", "squeeze", "flatten", "unflatten",
     "contiguous", "clone", "detach", "ravel", "alias", "get"}
)  # fmt: skip
_TURNS = frozenset(
    {
        "transpose",
        "permute",
        "movedim",
        "moveaxis",
        "swapaxes",
        "swapdims",
        "t",
        "adjoint",
        "flip",
        "roll",
    }
)
REPEATS = frozenset({"expand", "expand_as", "broadcast_to", "repeat", "tile", "repeat_interleave"})
_PARTS = frozenset({"chunk", "split", "unbind", "select", "narrow", "tensor_split"})
CONVERTS = frozenset(
    {"to", "type", "type_as", "float", "double", "half", "bfloat16", "cuda", "cpu", "bool", "long",
     "int", "short", "char", "byte"}
)  # fmt: skip
COMPARES = frozenset({"gt", "ge", "lt", "le"})
LINEAR = frozenset({"add", "sub", "rsub", "mul", "div", "neg", *CONVERTS})
ELEMENTWISE = frozenset(
    {*LINEAR, *COMPARES, "eq", "ne", "not_equal", "invert", "bitwise_not", "logical_not", "and", "or",
     "xor", "bitwise_and", "bitwise_or", "bitwise_xor", "logical_and", "logical_or", "logical_xor",
     "where", "masked_fill", "setitem", "rdiv", "reciprocal", "pow", "rpow", "square", "sqrt", "rsqrt",
     "exp", "expm1", "log", "log1p", "log2", "log10", "sigmoid", "logsigmoid", "log_sigmoid", "logit",
     "tanh", "sin", "cos", "erf", "erfinv", "floor", "ceil", "round", "trunc", "sign", "abs", "absolute",
     "clamp", "clip", "clamp_min", "clamp_max", "relu", "maximum", "minimum", "softplus",
     "floordiv", "floor_divide", "remainder", "mod", "fmod"}
)  # fmt: skip
# The mean of the result follows from the means of the numbers.
MIXES = frozenset(
    {"sum", "mean", "cumsum", "matmul", "rmatmul", "mm", "bmm", "mv", "dot", "outer", "linear", "einsum",
     "tensordot", "addmm", "baddbmm", "addcmul", "lerp", "conv1d", "conv2d", "conv3d",
     "conv_transpose1d", "conv_transpose2d", "avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d", "cat",
     "concat", "concatenate", "stack", "hstack", "vstack", "dstack", "pad", "tril", "triu", "diag",
     "diag_embed", "diagonal", "broadcast_tensors"}
)  # fmt: skip
PICKS = frozenset({"index_select", "gather", "take"})
INDEXES = frozenset(
    {"getitem", "setitem", "index_put", "masked_select", "masked_scatter", "nonzero", "index_select",
     "gather", "take", "argwhere", "embedding"}
)  # fmt: skip
NO_NUMBERS = frozenset(
    {"size", "dim", "ndimension", "numel", "nelement", "stride", "len", "is_floating_point",
     "is_complex", "zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones",
     "new_full", "new_empty", "element_size", "data_ptr", "is_contiguous", "repr", "format",
     "storage_offset"}
)  # fmt: skip
# Numbers of tensors go to Python.
ESCAPES = frozenset(
    {
        "__bool__",
        "__float__",
        "__int__",
        "__index__",
        "__array__",
        "item",
        "tolist",
        "numpy",
        "is_nonzero",
    }
)


def base_name(func: Callable[..., Any]) -> str:
    """Name of a function without what says that it is an operator, or works in place."""
    name = func.__name__.strip("_")
    return _OPERATORS.get(name, name)


def in_place(func: Callable[..., Any]) -> bool:
    """Whether a function writes into its first argument."""
    name = func.__name__
    return name in _IN_PLACE or (name.endswith("_") and not name.endswith("__"))


def is_move(name: str, args: tuple[Any, ...]) -> bool:
    """Whether a function only moves, repeats or takes numbers of its first argument."""
    if name == "getitem":
        return not any(isinstance(x, Tensor) for x in flat(args[1:]))
    return name in PICKS or name in MOVES or name in _TURNS or name in REPEATS or name in _PARTS


def flat(values: Iterable[Any]) -> Iterator[Any]:
    """Arguments, and what is in lists and tuples among them."""
    for value in values:
        if isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
            yield from flat(value)
        else:
            yield value


def replaced(values: Any, old: Tensor, new: Tensor) -> Any:
    """Arguments with one tensor in place of another."""
    if isinstance(values, (list, tuple)) and not isinstance(values, torch.Size):
        return type(values)(replaced(value, old, new) for value in values)
    return new if values is old else values
