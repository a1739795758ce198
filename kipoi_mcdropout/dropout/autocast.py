"""The floating-point type in which a model computes: its own, or bfloat16 by torch.autocast.

Weights stay as they are. Autocast runs matrix products and convolutions on numbers rounded to bfloat16
(8 binary digits, where float32 has 24), and leaves to float32 what needs it (softmax, for example).
https://docs.pytorch.org/docs/stable/amp.html
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from kipoi_mcdropout.arrays.nested import Nested, map_nested
from kipoi_mcdropout.errors import InputError

DTYPES = ("float32", "bfloat16")


def check_dtype(dtype: str) -> str:
    """The name of a type; InputError if it is none of `DTYPES`."""
    if dtype not in DTYPES:
        raise InputError(f"dtype must be one of {', '.join(DTYPES)}; got {dtype!r}")
    return dtype


class Autocast:
    """The type in which a module computes; `dtype` may be set to another one of `DTYPES` for a while.

    Raises
    ------
    InputError
        If it is none of `DTYPES`, or the weights are not float32, which "bfloat16" asks for.
    """

    def __init__(self, module: nn.Module, dtype: str = "float32") -> None:
        self.dtype = check_dtype(dtype)
        self._module = module
        found = {p.dtype for p in module.parameters() if p.is_floating_point()} - {torch.float32}
        if dtype != "float32" and found:
            names = ", ".join(sorted(str(x).removeprefix("torch.") for x in found))
            raise InputError(
                f"dtype {dtype} (--dtype) is for models with weights of float32; this one has {names}. "
                "Leave dtype out; the model then computes in its own types"
            )

    def wrap(self, call: Callable[[Nested], Nested]) -> Callable[[Nested], Nested]:
        """`call` in `dtype`; what it returns in bfloat16 is float32 outside, with the same values."""

        def cast(inputs: Nested) -> Nested:
            if self.dtype == "float32":
                return call(inputs)
            device = next((p.device.type for p in self._module.parameters()), "cpu")
            with torch.autocast(device, dtype=getattr(torch, self.dtype)):
                outputs = call(inputs)
            return map_nested(_as_float32, outputs)

        return cast


def _as_float32(x: Any) -> Any:
    return x.float() if isinstance(x, Tensor) and x.dtype == torch.bfloat16 else x
