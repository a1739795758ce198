"""The precision of float32 products: as float32 has it, or TF32 where it is asked for.

TF32 rounds the factors to 10 binary digits, on GPUs of NVIDIA; torch allows it for convolutions unless
told otherwise. `torch.set_float32_matmul_precision` can allow coarser products on a CPU too. Effects of
variants are small differences, which such rounding can hide.
https://docs.pytorch.org/docs/stable/notes/cuda.html#tensorfloat-32-tf32-on-ampere-and-later-devices
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import backends

from kipoi_mcdropout.dropout.process_settings import WhileUsed

_OF_A_CPU: Any = backends.mkldnn  # torch's annotations do not know the parts of these
_OF_CUDNN: Any = backends.cudnn
_PARTS: tuple[Any, ...] = (
    backends.cuda.matmul, _OF_A_CPU.matmul, _OF_A_CPU.conv, _OF_A_CPU.rnn, _OF_CUDNN.conv, _OF_CUDNN.rnn,
)  # fmt: skip


def float32_products(allow_tf32: bool = False) -> AbstractContextManager[None]:
    """Products in float32 while any model is borrowed; the first of several threads decides on TF32."""
    return _while_used.holding(_settled(allow_tf32))


@contextmanager
def _settled(allow_tf32: bool) -> Iterator[None]:
    before = _Settings()
    _settle(allow_tf32)
    try:
        yield
    finally:
        before.restore()


class _Settings:
    """What torch says now. Its older words fail where its newer ones say another thing of each part."""

    def __init__(self) -> None:
        self.of_products = _or_none(torch.get_float32_matmul_precision)
        self.of_cudnn = _or_none(lambda: bool(_OF_CUDNN.allow_tf32))
        self.by_part = [part.fp32_precision for part in _PARTS]

    def restore(self) -> None:
        """Say it again, in both words."""
        if self.of_products is not None:
            torch.set_float32_matmul_precision(self.of_products)
        if self.of_cudnn is not None:
            _OF_CUDNN.allow_tf32 = self.of_cudnn
        for part, value in zip(_PARTS, self.by_part, strict=True):
            if part.fp32_precision != value:
                part.fp32_precision = value


def _settle(allow_tf32: bool) -> None:
    """In the older words, which also set the newer ones, so that a model's code can read both."""
    torch.set_float32_matmul_precision("high" if allow_tf32 else "highest")
    for part in (_OF_A_CPU.conv, _OF_A_CPU.rnn):  # for these there are no older words
        part.fp32_precision = "ieee"
    _OF_CUDNN.allow_tf32 = allow_tf32


def _or_none(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except RuntimeError:
        return None


_while_used = WhileUsed()
