"""Rules by ATen operation: how windows of changed positions pass through it."""

from __future__ import annotations

from kipoi_mcdropout.engine.incremental.rules import (  # noqa: F401  (they fill the table)
    channelwise,
    combine,
    convolution,
    flip,
    linear,
    lookup,
    pointwise,
    pooling,
    shape,
    site,
    slicing,
)
from kipoi_mcdropout.engine.incremental.rules.base import RULES, Builder, NoRule, Rule, RuleError

__all__ = ["RULES", "Builder", "NoRule", "Rule", "RuleError"]
