"""One dropout call of a forward pass, and what a mask does to its tensor.

Random masks and random numbers that the model's own code makes are such calls too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

# Constants of SELU, Klambauer et al. 2017, "Self-normalizing neural networks", section "Alpha dropout".
_ALPHA_PRIME = -1.7580993408473766


# Zeros and ones made by the model's own code; a site with one number for each input is a "drop_path".
MASK_KINDS = ("mask", "drop_path")
NOISE_KINDS = ("uniform_noise", "normal_noise")  # other random numbers that it makes


@dataclass(frozen=True)
class DropoutCall:
    """One dropout call of a forward pass."""

    kind: str  # the function's name, e.g. "dropout", "dropout1d", "attention", "lstm", or a mask's
    p: float  # 0 for noise: nothing is dropped
    x: Tensor  # what units are dropped from; of random masks and noise: as many numbers, each their mean
    by_channel: bool = False  # whole channels are dropped: axes 0 and 1 are batch and channel
    alpha: bool = False  # dropped units are set to SELU's saturation value, then rescaled
    rows_per_input: int | None = None  # known number of rows of axis 0 per input, e.g. heads

    @property
    def is_mask(self) -> bool:
        """Whether the model multiplies by the mask itself: it is asked for zeros and ones alone."""
        return self.kind in MASK_KINDS

    @property
    def is_noise(self) -> bool:
        """Whether the model's code makes random numbers that are no mask."""
        return self.kind in NOISE_KINDS

    def mask_shape(self) -> tuple[int, ...]:
        """Shape of one mask element per dropped unit, with the batch axis still in it."""
        shape = tuple(self.x.shape)
        return shape[:2] + (1,) * (len(shape) - 2) if self.by_channel else shape

    def apply(self, keep: Tensor) -> Tensor:
        """Drop the units of `x` where `keep` (bool, broadcastable to x) is False, and rescale.

        Of a random mask: the mask, 1 where `keep` is True; the model's own code does the rest. Of noise:
        the numbers that are given as `keep`.
        """
        if self.is_mask or self.is_noise:
            return keep.to(self.x.dtype).expand(self.x.shape).clone()
        if not self.alpha:
            return self.x * (keep.to(self.x.dtype) / (1.0 - self.p))
        scale = 1.0 / math.sqrt((1.0 - self.p) * (1.0 + self.p * _ALPHA_PRIME**2))
        shift = -scale * _ALPHA_PRIME * self.p
        return torch.where(keep, self.x * scale + shift, _ALPHA_PRIME * scale + shift)
