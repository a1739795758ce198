"""Inputs as a model takes them: arrays of any kind, cast to the type of the model's weights."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kipoi_mcdropout.arrays.nested import Nested, map_nested

_OF_TYPES = re.compile("dtype|scalar type|[Ii]nput type")  # in torch's messages
_WIDE_INTEGERS = (torch.int32, torch.int64)
_CATEGORIES = (4, 5)  # places of the axis of the bases: A, C, G, T, and maybe N
_NUMPY = {torch.float16: np.float16, torch.float32: np.float32, torch.float64: np.float64}


def as_arrays(inputs: Nested) -> Nested:
    """Inputs as numpy arrays: arrays, tensors on any device, and what numpy makes arrays of.

    Tensors of bfloat16, which numpy does not know, become float32, which holds the same values.
    """

    def convert(x: Any) -> np.ndarray:
        if not isinstance(x, Tensor):
            return np.asarray(x)
        x = x.detach().cpu()
        values: np.ndarray = (x.float() if x.dtype == torch.bfloat16 else x).numpy()
        return values

    return map_nested(convert, inputs)


def weights_dtype(module: nn.Module) -> torch.dtype:
    """Type of the first parameter with a floating type, else of the first such buffer, else float32."""
    for tensors in (module.parameters(), module.buffers()):
        for tensor in tensors:
            if tensor.is_floating_point():
                return tensor.dtype
    return torch.float32


class InputTypes:
    """Inputs follow the weights of a module in type, as PyTorch's layers require it.

    Cast are floating inputs, and one-hot inputs of whole numbers or bool: those with an axis of 4 or 5
    places beside another one. Of weights of several types, the type is that of the first of them with
    which the model runs. Other whole numbers are tokens, counts or masks and stay as they are; so
    do all inputs of 32 or 64 bits of a module that has an embedding, and the floating inputs of a module
    without weights.
    """

    def __init__(self, module: nn.Module) -> None:
        self.dtype = weights_dtype(module)
        floating = [p.dtype for p in module.parameters() if p.is_floating_point()]
        self._candidates = list(dict.fromkeys(floating))
        self._has_weights = len(module.state_dict()) > 0
        self.embeds = any(isinstance(x, (nn.Embedding, nn.EmbeddingBag)) for x in module.modules())

    @property
    def numpy_dtype(self) -> np.dtype:
        """The type of the weights where numpy has it, else float32."""
        return np.dtype(_NUMPY.get(self.dtype, np.float32))

    def tensors(self, inputs: Nested) -> Nested:
        """Tensors, batch first, in the type of the weights."""
        return map_nested(
            lambda x: x.to(self.dtype) if self._follows(x.dtype, x.shape[1:]) else x, inputs
        )

    def arrays(self, inputs: Nested) -> Nested:
        """Arrays, batch first, in the type of the weights where numpy has it."""
        dtype = self.numpy_dtype

        def cast(x: np.ndarray) -> np.ndarray:
            known = x.dtype.kind in "biuf" and x.dtype not in (np.uint32, np.uint64, np.longdouble)
            follows = known and self._follows(torch.from_numpy(np.empty(0, x.dtype)).dtype, x.shape[1:])
            return x.astype(dtype) if follows and x.dtype != dtype else x

        return map_nested(cast, as_arrays(inputs))

    def wrap(self, call: Callable[[Nested], Nested]) -> Callable[[Nested], Nested]:
        """`call` with inputs in the type of the weights."""
        return lambda inputs: (
            self._by_trial(call, inputs) if len(self._candidates) > 1 else call(self.tensors(inputs))
        )

    def _by_trial(self, call: Callable[[Nested], Nested], inputs: Nested) -> Nested:
        """The first pass of a model with weights of several types finds the one that it takes."""
        first: RuntimeError | None = None
        for dtype in self._candidates:
            self.dtype = dtype
            try:
                outputs = call(self.tensors(inputs))
            except RuntimeError as error:
                first = first or error
                if not _OF_TYPES.search(str(error)):
                    break
            else:
                self._candidates = [dtype]
                return outputs
        self.dtype = self._candidates[0]
        assert first is not None
        raise first

    def _follows(self, dtype: torch.dtype, shape: tuple[int, ...]) -> bool:
        if dtype.is_floating_point or dtype.is_complex:
            return dtype.is_floating_point and self._has_weights
        one_hot = len(shape) >= 2 and any(size in _CATEGORIES for size in shape)
        return one_hot and not (self.embeds and dtype in _WIDE_INTEGERS)
