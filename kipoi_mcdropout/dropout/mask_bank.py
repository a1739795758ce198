"""Masks of one seed, kept while they fit into a budget of memory."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor

from kipoi_mcdropout.dropout.masks import check_seed, keep_mask
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
        key = (site.index, site.shape, site.p, draw, scope, device)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        mask = keep_mask(self.seed, draw, site.index, site.shape, site.p, scope)
        tensor = torch.from_numpy(mask).to(device)
        self._kept[key] = tensor
        self._bytes += tensor.nbytes
        while self._bytes > self.budget_bytes and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return tensor
