"""The work of a forward pass, counted roughly: which runs are too small to try another engine.

To capture a model costs some passes, and some time for each of its calls of torch. Both follow from the
model and the shapes of its inputs alone, not from a clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from kipoi_mcdropout.arrays.nested import Nested, n_rows
from kipoi_mcdropout.dropout.locked_model import POINT, LockedModel
from kipoi_mcdropout.dropout.mask_bank import MaskBank

# What to capture costs, fitted to benchmarks/networks.py: so many forward passes, floating point
# operations, and operations for each call. A call in a forward pass costs some operations, too.
_PASSES, _OPERATIONS, _OPERATIONS_OF_CALL = 10, 1e9, 5e6
_OPERATIONS_OF_PASSED_CALL = 1e5


class PassWork(TorchFunctionMode):
    """Counts the calls of torch, and the operations of the products in them.

    Products that are not known are left out: a model then seems cheaper to run than it is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.operations = 0.0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, (Tensor, tuple, list)):
            self.calls += 1
            self.operations += 2.0 * _multiplications(func.__name__, args, result)
        return result


def capture_passes(model: LockedModel, inputs: Nested) -> float:
    """About how many forward passes take as long as to capture a model, within `borrow()`.

    Runs the model once, on the inputs (tensors) with dropout off.
    """
    model.takes_one(inputs)  # what is found out about a model at its first inputs is not counted
    with PassWork() as work:
        model.outputs(inputs, POINT, MaskBank(0))
    of_one: float = work.operations / n_rows(inputs)
    of_one += _OPERATIONS_OF_PASSED_CALL * max(work.calls, 1)
    return _PASSES + (_OPERATIONS + _OPERATIONS_OF_CALL * work.calls) / of_one


def _multiplications(name: str, args: Sequence[Any], result: Any) -> int:
    """Of a product with weights, or of two matrices; 0 for all else."""
    if name in ("lstm", "gru", "rnn_tanh", "rnn_relu"):
        weights = [x for x in args if isinstance(x, (tuple, list))][-1]  # behind the first state
        return int(sum(w.numel() for w in weights) * math.prod(args[0].shape[:-1]))
    if len(args) < 2 or not (isinstance(args[0], Tensor) and isinstance(args[1], Tensor)):
        return 0
    weight = args[1]
    if name.startswith("conv_transpose"):
        return args[0].numel() * weight[0].numel()
    if name.startswith("conv") or name == "linear":
        return int(result.numel() * weight[0].numel())
    if name in ("matmul", "__matmul__", "bmm", "mm"):
        return int(result.numel() * args[0].shape[-1])
    return 0
