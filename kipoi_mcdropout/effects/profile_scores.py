"""Scores that compare the profiles of reference and mutant, bin by bin, within one draw.

Each takes two tensors of float64, batch first, shape=(n, outputs, bins), and gives shape=(n, outputs).
The bins are those of the window of the output. Where a score is not defined it is NaN or infinite, and
is counted (`EffectSummary.counts`).
"""

from __future__ import annotations

import torch
from torch import Tensor


def l2(ref: Tensor, alt: Tensor) -> Tensor:
    """Root of the summed squared differences.

    baskerville's D2 (snps.py, compute_scores) and AlphaGenome's L2_DIFF (variant_scorers.py).

    >>> l2(torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[4.0, 6.0]]])).item()
    5.0
    """
    return (alt - ref).square().sum(-1).sqrt()


def l2_log(ref: Tensor, alt: Tensor) -> Tensor:
    """The same of log(1 + x), the natural logarithm; undefined where a number is -1 or less.

    AlphaGenome's L2_DIFF_LOG1P. baskerville's logD2 takes log2(1 + x): divide by ln 2 for it.
    """
    return (torch.log1p(alt) - torch.log1p(ref)).square().sum(-1).sqrt()


def sax(ref: Tensor, alt: Tensor) -> Tensor:
    """The difference alt - ref of the bin where it is largest in size, with its sign.

    baskerville's SAX. Of several such bins the first counts.

    >>> sax(torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[1.5, 1.0]]])).item()
    -1.0
    """
    difference = alt - ref
    where = difference.abs().argmax(-1, keepdim=True)
    return difference.gather(-1, where).squeeze(-1)


def jsd(ref: Tensor, alt: Tensor) -> Tensor:
    """Jensen-Shannon distance of the profiles, each divided by its sum.

    The distance is the root of the divergence, with natural logarithms, as scipy's jensenshannon has it:
    from 0 to sqrt(ln 2) = 0.8326; the divergence, its square, is at most ln 2. variant-scorer
    (helpers.py) takes base 2: divide by sqrt(ln 2) for it. Undefined where a number is negative or all
    are 0.
    """
    p, q = (x / x.sum(-1, keepdim=True) for x in (_no_negative(ref), _no_negative(alt)))
    middle = (p + q) / 2
    divergence = (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2
    return divergence.clamp(min=0).sqrt()


def logsed(ref: Tensor, alt: Tensor) -> Tensor:
    """log2(1 + sum of alt) - log2(1 + sum of ref), whatever the reduction of the output is.

    The logSED of baskerville and Borzoi, which sum over the exons of a gene; here over the window.
    Undefined where 1 + sum is 0 or less.
    """
    return torch.log2(alt.sum(-1) + 1) - torch.log2(ref.sum(-1) + 1)


def _no_negative(x: Tensor) -> Tensor:
    return torch.where(x >= 0, x, torch.nan)


def _relative_entropy(p: Tensor, q: Tensor) -> Tensor:
    """Sum of p log(p / q); 0 for equal ones to the last bit, and where p is 0."""
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(-1)
