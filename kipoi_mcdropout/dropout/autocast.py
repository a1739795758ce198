"""The floating-point type in which a model computes: its own, or bfloat16 by torch.autocast.

Weights stay as they are. Autocast runs matrix products and convolutions on numbers rounded to bfloat16
(8 binary digits, where float32 has 24), and leaves to float32 what needs it (softmax, for example).
https://docs.pytorch.org/docs/stable/amp.html
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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


def check_weights(module: nn.Module, dtype: str) -> None:
    """Raise InputError if the weights are of a type that `dtype` does not lower."""
    found = {p.dtype for p in module.parameters() if p.is_floating_point()} - {torch.float32}
    if dtype != "float32" and found:
        names = ", ".join(sorted(str(x).removeprefix("torch.") for x in found))
        raise InputError(
            f"dtype {dtype} (--dtype) is for models with weights of float32; this one has {names}. "
            "Leave dtype out; the model then computes in its own types"
        )


@contextmanager
def computing_in(dtype: str, device: torch.device) -> Iterator[None]:
    """Within it, torch computes in `dtype`; for "float32" nothing is changed."""
    if dtype == "float32":
        yield
        return
    with torch.autocast(device.type, dtype=getattr(torch, dtype)):
        yield


def as_float32(outputs: Nested) -> Nested:
    """Outputs of bfloat16 as float32, which holds the same values."""

    def convert(x: Any) -> Any:
        return x.float() if isinstance(x, Tensor) and x.dtype == torch.bfloat16 else x

    return map_nested(convert, outputs)
