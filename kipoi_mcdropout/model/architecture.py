"""Whether two models of this process differ by the values of their weights alone."""

from __future__ import annotations

from collections.abc import Hashable

import torch
from torch import nn

from kipoi_mcdropout.dropout.stored_weights import tensors_by_name
from kipoi_mcdropout.model.adapter import KipoiModel


def architecture(model: KipoiModel) -> Hashable:
    """Equal where two models differ by the values of their weights alone.

    It covers code, settings (`identity.made_of`) and readout; name, type, shape and device of each
    parameter and buffer; and which of these are one, or share memory.
    """
    first: dict[tuple[str, int], str] = {}
    state = []
    for name, x in tensors_by_name(model.locked.module).items():
        if x.layout != torch.strided:
            return object()  # equal to none
        same = first.setdefault(("object", id(x)), name)
        shared = first.setdefault(("memory", x.untyped_storage()._cdata), name)
        state.append((name, type(x), x.dtype, tuple(x.shape), x.stride(), x.device, same, shared))
    readout = None if model.reader is None else id(model.reader.readout)
    ways = isinstance(model.model, nn.Module), model.locked.ignore, model.locked.dtype, readout
    return tuple(sorted(model.made_of.items())), ways, tuple(state)
