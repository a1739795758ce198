"""Borrow a user's PyTorch module: evaluation mode inside, exactly as it was afterwards."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn


@contextmanager
def borrowed(module: nn.Module) -> Iterator[nn.Module]:
    """Put `module` in evaluation mode without gradients; restore all of it on the way out.

    Restored, also after an exception: every submodule's own training flag, every buffer, and the
    states of the random number generators of torch (CPU and the module's GPUs), numpy and Python.
    """
    flags = [(part, part.training) for part in module.modules()]
    buffers = [
        (part, name, buffer, buffer.detach().clone())
        for part in module.modules()
        for name, buffer in part._buffers.items()
        if buffer is not None
    ]
    with preserved_random_state(module):
        try:
            for part, _ in flags:
                part.training = False
            with torch.inference_mode():
                yield module
        finally:
            for part, flag in flags:
                part.training = flag
            with torch.no_grad():
                for part, name, buffer, saved in buffers:
                    part._buffers[name] = buffer
                    if not torch.equal(buffer, saved):
                        buffer.copy_(saved)


@contextmanager
def preserved_random_state(module: nn.Module) -> Iterator[None]:
    """Leave the random number generators of torch, numpy and Python as they were."""
    devices = sorted({p.device.index or 0 for p in module.parameters() if p.device.type == "cuda"})
    numpy_state, python_state = np.random.get_state(), random.getstate()
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)
