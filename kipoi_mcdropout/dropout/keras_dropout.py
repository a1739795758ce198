"""Makes Keras's dropout call torch's dropout functions, which can be locked, while a model runs.

On torch, Keras drops by `F.dropout` only where a layer has neither a seed nor a shape of its mask. Else
it draws a mask from a generator of its own, which would not be used anyway: our masks decide what is
dropped. So functions of torch that drop the same units stand in, in the thread that runs a model:

    Dropout (with a seed or not), the masks of LSTM, GRU and other recurrent layers    F.dropout
    SpatialDropout1D, 2D, 3D: whole channels, which Keras has last                     feature_dropout
    AlphaDropout                                                                       F.alpha_dropout

A mask of another shape (`noise_shape`) is left to Keras, whose random numbers are followed then.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_users = 0
_undo: list[Any] = []
_lock = threading.Lock()
_here = threading.local()  # depth: how many models run in this thread


@contextmanager
def torch_dropouts() -> Iterator[None]:
    """Within it, Keras drops by functions of torch, in this thread."""
    global _users
    with _lock:
        if _users == 0:
            _install()
        _users += 1
    _here.depth = getattr(_here, "depth", 0) + 1
    try:
        yield
    finally:
        _here.depth -= 1
        with _lock:
            _users -= 1
            if _users == 0:
                while _undo:
                    setattr(*_undo.pop())


def _install() -> None:
    keras = sys.modules["keras"]
    _replace(keras.src.backend.torch.random, "dropout", _dropout)
    _replace(keras.layers.AlphaDropout, "call", _alpha_dropout)


def _replace(place: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Put a function in the place of Keras's, for threads that run a model."""
    theirs = getattr(place, name)
    ours = make(theirs)

    @functools.wraps(theirs)
    def choose(*args: Any, **kwargs: Any) -> Any:
        return (ours if getattr(_here, "depth", 0) else theirs)(*args, **kwargs)

    _undo.append((place, name, theirs))
    setattr(place, name, choose)


def _dropout(theirs: Any) -> Any:
    def dropout(inputs: Tensor, rate: float, noise_shape: Any = None, seed: Any = None) -> Any:
        if not 0 < rate < 1:
            return theirs(inputs, rate, noise_shape, seed)
        shape = tuple(inputs.shape)
        mask = shape if noise_shape is None else tuple(
            size if wanted is None else wanted for size, wanted in zip(shape, noise_shape, strict=True)
        )  # fmt: skip
        if mask == shape:
            return F.dropout(inputs, rate, True)
        if mask == (*shape[:2], *(1 for _ in shape[2:])):
            return torch.feature_dropout(inputs, rate, True)
        if mask == (shape[0], *(1 for _ in shape[1:-1]), shape[-1]):
            return torch.feature_dropout(inputs.movedim(-1, 1), rate, True).movedim(1, -1)
        return theirs(inputs, rate, noise_shape, seed)

    return dropout


def _alpha_dropout(theirs: Any) -> Any:
    def call(self: Any, inputs: Tensor, training: bool = False) -> Any:
        if not training or not 0 < self.rate < 1 or self.noise_shape is not None:
            return theirs(self, inputs, training=training)
        return F.alpha_dropout(inputs, self.rate, True)

    return call
