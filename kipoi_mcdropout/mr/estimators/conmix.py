"""Contamination mixture (Burgess, Foley, Allara, Staley and Howson, Nat Commun 2020).

Each mutant is either valid, with its Wald ratio spread about the slope by its own standard error, or
invalid, with a ratio spread about 0 by `psi` too. For every slope each mutant counts as whichever is
more likely; the slope at which the likelihood of all is largest is the estimate. It is right if the
largest group of mutants with one ratio is valid.

A mutant is valid at a slope if its ratio is nearer than a reach of its own. So the likelihood consists
of parabolas between the ends of these reaches, and its maximum and interval are found exactly, without
the grid of slopes of the R package MendelianRandomization.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr.estimators.convention import Convention, check_convention
from kipoi_mcdropout.mr.estimators.estimate import CI_LEVEL, Estimate, make_estimate
from kipoi_mcdropout.mr.estimators.ratio import ratio_se, with_exposure_effect
from kipoi_mcdropout.mr.pairs.instruments import Instruments

PSI_OF_SD = 1.5  # of the sd of the ratios, as the paper proposes
_GRID_BLOCK = 2_000_000


def mr_conmix(
    instruments: Instruments,
    *,
    convention: Convention = "twosamplemr",
    psi: float | None = None,
    grid_step: float | None = None,
) -> Estimate:
    """Slope of the largest group of mutants with one ratio, with the names of those that are in it.

    Parameters
    ----------
    instruments : Instruments
    convention : str
        The interval is that of a likelihood ratio divided by the square of ``phi``, the spread of the
        valid ratios in units of their standard errors (at least 1). "mendelianrandomization" multiplies
        the statistic of p by it, as the R package does; "twosamplemr" divides, which agrees with the
        interval.
    psi : float, optional
        Spread of invalid ratios about 0; by default 1.5 times the sd of all ratios.
    grid_step : float, optional
        Look for the slope and its interval on a grid, as the R package does (there 0.01); exact by
        default.

    Returns
    -------
    Estimate
        `ci_parts` has the parts of the interval, `valid` the names of the valid mutants; `ci_lower` and
        `ci_upper` are the outermost ends; `se` is the standard error of the valid ratios' mean.

    Raises
    ------
    InputError
        Fewer than 3 instruments, one with an exposure effect of 0, or a `psi` that is not positive.
    """
    check_convention(convention)
    used = with_exposure_effect(instruments, 3, "the contamination mixture")
    for name, value in (("psi", psi), ("grid_step", grid_step)):
        if value is not None and not value > 0:
            raise InputError(f"{name} must be positive; got {value}.")
    ratio, se = used.beta_outcome / used.beta_exposure, ratio_se(used, "first_order")
    if psi is None:
        psi = PSI_OF_SD * float(ratio.std(ddof=1))
    profile = _Profile.of(ratio, se, psi)
    grid = None if grid_step is None else _grid(ratio, used.se_outcome / used.beta_exposure, grid_step)
    slope = float(_best(ratio, se, np.asarray(psi))) if grid is None else grid[profile.at(grid).argmax()]
    valid = profile.valid(slope)
    phi = _spread_of_valid(ratio[valid], se[valid])
    top, none = profile.at(np.array([slope, 0.0]))
    least = float(top) - float(stats.chi2.isf(1 - CI_LEVEL, 1)) / 2 * phi**2
    parts = profile.above(least) if grid is None else _on_grid(profile.at(grid) > least, grid)
    scale = phi**2 if convention == "mendelianrandomization" else phi**-2.0
    estimate = make_estimate(
        "conmix", used, convention, slope, phi * float((se[valid] ** -2.0).sum()) ** -0.5,
        p=float(stats.chi2.sf(2 * (top - none) * scale, 1)), ci_lower=parts[0][0], ci_upper=parts[-1][1],
        distribution="profile likelihood",
    )  # fmt: skip
    return replace(estimate, ci_parts=tuple(parts), valid=tuple(used.snp[valid].tolist()), psi=psi)


def conmix_slope(ratio: FloatArray, se: FloatArray) -> FloatArray:
    """The estimate of many replicates, shape=(..., n) to shape=(...)."""
    return _best(ratio, se, PSI_OF_SD * ratio.std(axis=-1, ddof=1))


def _best(ratio: FloatArray, se: FloatArray, psi: FloatArray) -> FloatArray:
    """Where the likelihood is largest: of each segment between ends of reaches its parabola's top."""
    reach = _reach(ratio, se, psi[..., None])
    ends = np.concatenate([ratio - reach, ratio + reach], axis=-1)
    order = np.argsort(ends, axis=-1, kind="stable")
    ends = np.take_along_axis(ends, order, axis=-1)
    weight = se**-2.0
    terms = (weight, weight * ratio, weight * (reach**2 - ratio**2))
    # After its lower end a mutant counts, after its upper end no more.
    w, wr, constant = (
        np.cumsum(np.take_along_axis(np.concatenate([t, -t], axis=-1), order, axis=-1), axis=-1)
        for t in terms
    )
    low, high = ends[..., :-1], ends[..., 1:]
    w, wr, constant = (a[..., :-1] for a in (w, wr, constant))
    some = w > 1e-9 * weight.max(axis=-1, keepdims=True)  # none counts between two groups
    top = np.clip(np.divide(wr, w, out=np.zeros_like(w), where=some), low, high)
    height = np.where(some, constant + (2 * wr - w * top) * top, -np.inf)
    best = height.argmax(axis=-1)[..., None]
    slopes: FloatArray = np.take_along_axis(top, best, axis=-1)[..., 0]
    return slopes


def _reach(ratio: FloatArray, se: FloatArray, psi: FloatArray) -> FloatArray:
    """How far from a mutant's ratio a slope may be for the mutant to be valid."""
    spread = psi**2 + se**2
    return se * np.sqrt(ratio**2 / spread + np.log(spread / se**2))


@dataclass(frozen=True)
class _Profile:
    """The log-likelihood as a function of the slope, up to a constant."""

    ratio: FloatArray
    se: FloatArray
    reach: FloatArray

    @classmethod
    def of(cls, ratio: FloatArray, se: FloatArray, psi: float) -> _Profile:
        return cls(ratio, se, _reach(ratio, se, np.asarray(psi)))

    def valid(self, slope: float) -> NDArray[np.bool_]:
        return np.abs(slope - self.ratio) < self.reach

    def at(self, slopes: FloatArray) -> FloatArray:
        height = np.empty(len(slopes))
        block = max(1, _GRID_BLOCK // len(self.ratio))
        for start in range(0, len(slopes), block):
            distance = slopes[start : start + block, None] - self.ratio
            gain = np.maximum(self.reach**2 - distance**2, 0) / (2 * self.se**2)
            height[start : start + block] = gain.sum(axis=1)
        return height

    def above(self, least: float) -> list[tuple[float, float]]:
        """The intervals of slopes where the likelihood is at least this."""
        ends = np.unique(np.concatenate([self.ratio - self.reach, self.ratio + self.reach]))
        parts: list[tuple[float, float]] = []
        for low, high in pairwise(ends.tolist()):
            active = self.valid((low + high) / 2)
            weight = self.se[active] ** -2.0
            w, wr = float(weight.sum()), float((weight * self.ratio[active]).sum())
            top = float((weight * (self.reach[active] ** 2 - self.ratio[active] ** 2)).sum())
            square = wr**2 - w * (2 * least - top)  # of w t**2 - 2 wr t + 2 least - top <= 0
            if not w or square < 0:
                continue
            half = square**0.5
            part = (max(low, (wr - half) / w), min(high, (wr + half) / w))
            if part[0] > part[1]:
                continue
            if parts and part[0] - parts[-1][1] < 1e-12 * (1 + abs(part[0])):
                part = (parts.pop()[0], part[1])
            parts.append(part)
        return parts


def _spread_of_valid(ratio: FloatArray, se: FloatArray) -> float:
    """Spread of valid ratios about their mean in units of their standard errors, at least 1."""
    if len(ratio) < 2:
        return 1.0
    weight = se**-2.0
    mean = (weight * ratio).sum() / weight.sum()
    return max(1.0, float(np.sqrt((weight * (ratio - mean) ** 2).sum() / (len(ratio) - 1))))


def _grid(ratio: FloatArray, se: FloatArray, step: float) -> FloatArray:
    """As in the R package, with the sign of the exposure effect in `se`."""
    low, high = float((ratio - 2 * se).min()), float((ratio + 2 * se).max())
    steps = np.arange(int(np.floor((high - low) / step + 1e-10)) + 1, dtype=np.float64)
    grid: FloatArray = low + step * steps
    return grid


def _on_grid(inside: NDArray[np.bool_], grid: FloatArray) -> list[tuple[float, float]]:
    rows = np.flatnonzero(inside)
    parts = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
    return [(float(grid[part[0]]), float(grid[part[-1]])) for part in parts]
