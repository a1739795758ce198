"""Masks and random numbers of one seed, kept while they fit into a budget of memory."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor

from kipoi_mcdropout.dropout.masks import check_seed, keep_mask, normal_numbers, uniform_numbers
from kipoi_mcdropout.dropout.sites import Site

_MASK_CACHE_BYTES = 256 * 2**20


class MaskBank:
    """Masks of one seed on one device, kept while they fit into a budget of memory."""

    def __init__(self, seed: int, budget_bytes: int = _MASK_CACHE_BYTES) -> None:
        self.seed = check_seed(seed)
        self.budget_bytes = budget_bytes
        self._kept: OrderedDict[tuple[object, ...], Tensor] = OrderedDict()
        self._bytes = 0

    def keep(self, site: Site, draw: int, scope: int, device: torch.device) -> Tensor:
        """Mask of a site, bool, shape=site.shape: True where the unit is kept."""

        def make() -> Tensor:
            mask = keep_mask(self.seed, draw, site.index, site.shape, site.p, scope)
            return torch.from_numpy(mask)

        return self._cached((site.index, site.shape, site.p, draw, scope, device), make, device)

    def numbers(
        self, site: Site, draw: int, scope: int, device: torch.device, dtype: torch.dtype
    ) -> Tensor:
        """Random numbers of a site of noise, shape=site.shape, of a floating type."""
        where = self.seed, draw, site.index, site.shape

        def make() -> Tensor:
            if site.kind == "normal_noise":
                numbers = normal_numbers(*where, scope)
            else:
                digits = 1 - math.frexp(torch.finfo(dtype).eps)[1] + 1
                numbers = uniform_numbers(*where, min(digits, 32), scope)
            return torch.from_numpy(numbers).to(dtype)

        return self._cached((site.kind, *where, scope, device, dtype), make, device)

    def _cached(
        self, key: tuple[object, ...], make: Callable[[], Tensor], device: torch.device
    ) -> Tensor:
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        tensor = make().to(device)
        self._kept[key] = tensor
        self._bytes += tensor.nbytes
        while self._bytes > self.budget_bytes and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return tensor
