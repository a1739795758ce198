"""Streaming moments over draws, in float64, that merge exactly.

Blocks of draws are merged by the pairwise update of Chan, Golub and LeVeque, "Updating formulae and a
pairwise algorithm for computing sample variances" (1979); for the co-moment see Schubert and Gertz,
"Numerically stable parallel computation of (co-)variance" (SSDBM 2018).
"""

from __future__ import annotations

import math
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
        block = block.to(torch.float64)
        mean = block.mean(dim=0)
        return cls(block.shape[0], mean, (block - mean).square_().sum(dim=0))

    def merge(self, other: Moments) -> Moments:
        """Moments of the draws of both."""
        n = self.n + other.n
        delta = other.mean - self.mean
        return Moments(
            n,
            self.mean + delta * (other.n / n),
            self.m2 + other.m2 + delta.square() * (self.n * other.n / n),
        )

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
        x, y = Moments.of(ref), Moments.of(alt)
        if ref.shape[0] == 1:
            comoment = torch.zeros_like(y.m2)
        else:
            centred_ref = ref.to(torch.float64) - x.mean
            centred_alt = alt.to(torch.float64) - y.mean
            comoment = torch.einsum("dmo,dmo->mo", centred_ref[:, owner], centred_alt)
        return cls(x, y, comoment, owner)

    def merge(self, other: PairedMoments) -> PairedMoments:
        """Moments of the draws of both; the pairs must be the same mutants."""
        n = self.ref.n + other.ref.n
        delta_ref = (other.ref.mean - self.ref.mean)[self.owner]
        delta_alt = other.alt.mean - self.alt.mean
        comoment = (
            self.comoment + other.comoment + delta_ref * delta_alt * (self.ref.n * other.ref.n / n)
        )
        return PairedMoments(self.ref.merge(other.ref), self.alt.merge(other.alt), comoment, self.owner)

    def covariance(self) -> Tensor:
        """Sample covariance of reference and mutant (ddof=1); NaN for a single draw."""
        n = self.ref.n
        return self.comoment / (n - 1) if n > 1 else torch.full_like(self.comoment, math.nan)
