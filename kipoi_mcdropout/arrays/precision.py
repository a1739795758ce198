"""How precisely a model computes: the coarsest of the floating-point types that its modules use.

The type of the outputs does not say it: a model of bfloat16 weights often ends with `.float()`, and a
model of float32 weights may compute in float16 under torch.autocast.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from kipoi_mcdropout.arrays.nested import leaves

FLOAT32_EPS = torch.finfo(torch.float32).eps


def eps_of(dtype: torch.dtype) -> float:
    """Distance from 1 to the next number, e.g. 1.2e-7 for float32; 0 for types that are not floating."""
    return torch.finfo(dtype).eps if dtype.is_floating_point else 0.0


def module_eps(part: nn.Module, output: object) -> float:
    """The coarsest of the types of what a module returns, of its own weights, and of torch.autocast."""
    found = list(_tensors(part, output))
    return max([0.0, *(eps_of(x.dtype) for x in found), *map(_autocast_eps, _devices(found))])


def _devices(tensors: list[Tensor]) -> set[str]:
    return {x.device.type for x in tensors}


def _autocast_eps(device: str) -> float:
    """Of the type in which autocast computes now on a device; 0 where it is off."""
    if not torch.is_autocast_enabled(device):
        return 0.0
    return eps_of(torch.get_autocast_dtype(device))


def precision_note(eps: float) -> str:
    """A sentence for models that compute less precisely than float32; else ""."""
    if eps <= FLOAT32_EPS:
        return ""
    names = [n for n in ("bfloat16", "float16") if torch.finfo(getattr(torch, n)).eps == eps]
    how = f" ({names[0]})" if names else ""
    return (
        f"the model computes with a relative precision of {eps:.2g}{how}: differences between reference "
        "and mutant that are only rounding are larger than in float32, and count as no effect"
    )


def _tensors(part: nn.Module, output: object) -> Iterator[Tensor]:
    yield from part.parameters(recurse=False)
    yield from (x for _, x in leaves(output) if isinstance(x, Tensor))
