"""What differences are multiplied by where the model multiplies by masks or noise of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from kipoi_mcdropout.engine.incremental.references import References
from kipoi_mcdropout.engine.incremental.rules.base import canonical_constant
from kipoi_mcdropout.engine.incremental.rules.masks import MaskedScale


def factors(references: References, rule: MaskedScale, n_draws: int, inverse: bool) -> Tensor:
    """The numbers of the first draws of `references`, (draws, positions or 1, channels)."""
    layout, rows = rule.layout, []
    assert rule.factor is not None
    for i in range(n_draws):
        value = references.value(rule.factor, i)
        batch = layout.dim_of("batch") - (len(layout.groups) - value.dim())
        one = value.narrow(batch, 0, 1) if batch >= 0 else value  # the same for all inputs
        rows.append(canonical_constant(one, layout)[0])
    stacked = torch.stack(rows)
    return stacked.reciprocal() if inverse else stacked
