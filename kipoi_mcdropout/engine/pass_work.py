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
        self.before_masks: tuple[int, float] | None = None  # calls and operations, before the first mask

    def mask_begins(self) -> None:
        """The model comes to a dropout."""
        if self.before_masks is None:
            self.before_masks = self.calls, self.operations

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, (Tensor, tuple, list)):
            self.calls += 1
            self.operations += 2.0 * _multiplications(func.__name__, args, result)
        return result

    def of_passes(self, n_inputs: int, n_draws: int) -> float:
        """Operations for one input in all draws and with dropout off, and what the calls cost beside.

        What comes before the first dropout is computed once (see `FullEngine`).
        """
        calls, operations = self.before_masks or (0, 0.0)
        once = operations / n_inputs + _OPERATIONS_OF_PASSED_CALL * calls
        each = (self.operations - operations) / n_inputs
        each += _OPERATIONS_OF_PASSED_CALL * max(self.calls - calls, 1)
        return once + (1 + n_draws) * each


class _Marking(MaskBank):
    """Tells when the first mask is asked for."""

    def __init__(self, work: PassWork) -> None:
        super().__init__(0)
        self._work = work

    def _cached(self, *args: Any) -> Tensor:
        self._work.mask_begins()
        return super()._cached(*args)


def capture_passes(model: LockedModel, inputs: Nested, n_draws: int) -> float:
    """About how many forward passes take as long as to capture a model, within `borrow()`.

    Runs the model once on the inputs (tensors).
    """
    draw = 0 if n_draws > 0 else POINT
    model.takes_one(inputs)  # what is found out about a model at its first inputs is not counted
    if draw != POINT:
        model.plan(inputs)
    work = PassWork()
    with work:
        model.outputs(inputs, draw, _Marking(work))
    to_capture = _OPERATIONS + _OPERATIONS_OF_CALL * work.calls
    return _PASSES + to_capture * (1 + n_draws) / work.of_passes(n_rows(inputs), n_draws)


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
