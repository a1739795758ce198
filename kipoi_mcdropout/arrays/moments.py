"""Streaming moments over draws, in float64, that merge exactly.

Blocks of draws are merged by the pairwise update of Chan, Golub and LeVeque, "Updating formulae and a
pairwise algorithm for computing sample variances" (1979); for the co-moment see Schubert and Gertz,
"Numerically stable parallel computation of (co-)variance" (SSDBM 2018).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Moments:
    """Mean and variance over the draws of an array.

    >>> moments = Moments.of(torch.tensor([[1.0], [2.0]])).merge(Moments.of(torch.tensor([[6.0]])))
    >>> moments.n, moments.mean.item(), moments.variance().item()
    (3, 3.0, 7.0)
    """

    n: int
    mean: Tensor
    m2: Tensor  # sum of squared deviations from the mean

    @classmethod
    def of(cls, block: Tensor) -> Moments:
        """Moments of a block of draws, shape=(draws, ...), draws >= 1."""
        return cls.with_deviations(block)[0]

    @classmethod
    def with_deviations(cls, block: Tensor) -> tuple[Moments, Tensor]:
        """The same, and the deviations of the block from the mean."""
        block = block.to(torch.float64)
        mean = sum_of_draws(block).div_(block.shape[0])
        deviations = block - mean
        return cls(block.shape[0], mean, sum_of_draws(deviations.square())), deviations

    @classmethod
    def joined(cls, parts: Sequence[Moments]) -> Moments:
        """Moments of one array after the other, of the same draws."""
        if len(parts) == 1:
            return parts[0]
        means, m2s = (torch.cat([getattr(part, name) for part in parts]) for name in ("mean", "m2"))
        return cls(parts[0].n, means, m2s)

    def merge(self, other: Moments) -> Moments:
        """Moments of the draws of both."""
        n = self.n + other.n
        delta = other.mean - self.mean
        mean = (delta * (other.n / n)).add_(self.mean)
        m2 = delta.square_().mul_(self.n * other.n / n).add_(self.m2).add_(other.m2)
        return Moments(n, mean, m2)

    def variance(self) -> Tensor:
        """Sample variance (ddof=1); NaN for a single draw."""
        return self.m2 / (self.n - 1) if self.n > 1 else torch.full_like(self.m2, math.nan)

    def sd(self) -> Tensor:
        """Sample standard deviation (ddof=1)."""
        return self.variance().sqrt()

    def mcse(self) -> Tensor:
        """Monte Carlo standard error of the mean, sd / sqrt(n)."""
        return self.sd() / math.sqrt(self.n)


@dataclass
class PairedMoments:
    """Moments of reference and mutant with their co-moment, draw by draw.

    `ref` may have one row per reference while `alt` has one per mutant: `owner`, shape=(mutants,),
    names the row of `ref` that each mutant is compared with.
    """

    ref: Moments  # shape=(references, outputs)
    alt: Moments  # shape=(mutants, outputs)
    comoment: Tensor  # shape=(mutants, outputs)
    owner: Tensor

    @classmethod
    def of(cls, ref: Tensor, alt: Tensor, owner: Tensor) -> PairedMoments:
        """Moments of a block: ref (draws, references, outputs), alt (draws, mutants, outputs)."""
        (x, x_deviations), (y, y_deviations) = map(Moments.with_deviations, (ref, alt))
        return cls(x, y, comoment(x_deviations[:, owner], y_deviations), owner)

    def merge(self, other: PairedMoments) -> PairedMoments:
        """Moments of the draws of both; the pairs must be the same mutants."""
        n = self.ref.n + other.ref.n
        delta_ref = (other.ref.mean - self.ref.mean)[self.owner]
        delta_alt = other.alt.mean - self.alt.mean
        both = delta_ref.mul_(delta_alt).mul_(self.ref.n * other.ref.n / n)
        both.add_(self.comoment).add_(other.comoment)
        return PairedMoments(self.ref.merge(other.ref), self.alt.merge(other.alt), both, self.owner)

    def covariance(self) -> Tensor:
        """Sample covariance of reference and mutant (ddof=1); NaN for a single draw."""
        n = self.ref.n
        return self.comoment / (n - 1) if n > 1 else torch.full_like(self.comoment, math.nan)


def comoment(deviations: Tensor, others: Tensor) -> Tensor:
    """Sum of the products of two arrays of deviations over the draws, shape=(draws, ...)."""
    return sum_of_draws(deviations * others)


def sum_of_draws(values: Tensor) -> Tensor:
    """Sum over the first axis, by halves.

    The order of the terms is the same for each element. In `torch.sum` it depends on where the element
    lies and on the number of threads.
    """
    n = values.shape[0]
    half = n // 2
    sums = values[: n - half].clone()
    while half:
        sums[:half].add_(values[n - half : n])
        n -= half
        half, values = n // 2, sums
    return sums[0]
