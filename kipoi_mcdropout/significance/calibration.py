"""Are the intervals right? Comparison of predicted effects and their sd with measured effects.

A prediction says: the measured effect is normal with mean `effect_mean` and variance
``effect_sd**2 + se**2``, where se is the error of the measurement. Three numbers say whether this is
true. All come from the standardised errors z = (measured - mean) / sqrt(sd**2 + se**2):

- coverage: the share of measured effects inside the central 50, 80 and 95 % intervals;
- the histogram of the probability integral transform (PIT): the predicted probability of a value below
  the measured one, uniform if the intervals are right (Dawid, JRSS A 1984);
- lambda: the mean of z**2, which is 1 if they are right.

Two corrections follow: a factor for the sd (`sd_scale`), and a map of the levels (`quantile_map`).

Both tables must have the same scale: a measured log fold change is not a difference of probabilities. If
the two scales are proportional, ``align="linear"`` fits a line first. But a line can also have a slope
below 0 or near 0, and the intervals then still look right. So slope, intercept and correlation are part
of the result, and `cautions` warns if the other numbers have no meaning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.effects.z import z_ratio
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.significance.cautions import (
    Align,
    Caution,
    Correlation,
    cautions_of,
    correlation_of,
    scale_cautions,
)
from kipoi_mcdropout.significance.matched_effects import Matched, match, require
from kipoi_mcdropout.significance.quantile_map import QuantileMap

LEVELS = (0.5, 0.8, 0.95)
PIT_BINS = 10
FOLDS = 5


@dataclass(frozen=True, eq=False)
class CalibrationResult:
    """What `calibrate` found.

    Attributes
    ----------
    coverage : DataFrame
        A row per level: level, observed (share of measured effects inside the central interval),
        lower and upper (95 % Wilson interval of that share), scaled (share after `sd_scale`),
        recalibrated (share under the map, each variant by a map made without it; 5 folds).
    pit : array, shape=(n,)
        Predicted probability of a value below the measured one. Its histogram is flat if calibrated,
        high at both ends if the sd is too small, and high in the middle if it is too large.
    pit_counts, pit_edges : array, shape=(10,), (11,)
        Its histogram.
    variance_scale : float
        lambda = mean((measured - mean)**2 / (sd**2 + se**2)); 1 if calibrated.
    sd_scale : float
        Factor for `effect_sd` that makes lambda 1: sqrt(lambda) where measurements have no se. 0
        if the measurements' se alone is larger than the observed errors.
    quantile_map : QuantileMap
        From standardised errors to the share of measurements below.
    intercept, slope : float
        The fitted line, measured = intercept + slope * predicted; 0 and 1 with align "none".
    correlation : Correlation
        Of measured and predicted effects, before a line is fitted.
    cautions : tuple of Caution
        Codes: ``no_correlation``, ``negative_correlation``, ``sd_scale_far_from_one``,
        ``mostly_zero``, ``scaled_intervals_too_wide``.
    n, n_only_measured, n_only_predicted : int
        Variants used, and those that only one of the two tables has.
    n_no_spread : int
        Variants that are left out because they have no interval: their draws differ only by rounding,
        and the measurement has no se.
    n_repeated : int
        Rows of predicted effects that are left out because another window has the same variant.
    """

    coverage: pd.DataFrame
    pit: FloatArray
    pit_counts: NDArray[np.int64]
    pit_edges: FloatArray
    variance_scale: float
    sd_scale: float
    quantile_map: QuantileMap
    intercept: float
    slope: float
    align: Align
    correlation: Correlation
    cautions: tuple[Caution, ...]
    n: int
    n_only_measured: int
    n_only_predicted: int
    n_no_spread: int = 0
    n_repeated: int = 0

    def recalibrate(self, probability: ArrayLike) -> FloatArray:
        """Share of measurements below, for a predicted probability of a value below."""
        return self.quantile_map.share_below(ndtri(np.asarray(probability, float)))

    def interval(
        self, mean: ArrayLike, sd: ArrayLike, level: float = 0.95
    ) -> tuple[FloatArray, FloatArray]:
        """Central interval of the recalibrated prediction, on the scale of the measured effects.

        Parameters
        ----------
        mean, sd : array
            Predicted, not scaled.
        level : float
            Between 0 and 1.
        """
        if not 0 < level < 1:
            raise InputError(f"level must lie between 0 and 1; got {level}.")
        center = self.intercept + self.slope * np.asarray(mean, float)
        width = abs(self.slope) * np.asarray(sd, float)
        low, high = self.quantile_map.z_at([(1 - level) / 2, (1 + level) / 2])
        return center + low * width, center + high * width

    def provenance(self) -> dict[str, Any]:
        """What to record where `sd_scale` is applied."""
        names = ("sd_scale", "align", "intercept", "slope", "n")
        counts = ("n_only_measured", "n_only_predicted", "n_no_spread", "n_repeated")
        return {
            "lambda": self.variance_scale,
            **{name: getattr(self, name) for name in names},
            "correlation": asdict(self.correlation),
            **{name: getattr(self, name) for name in counts},
            "pit_counts": self.pit_counts.tolist(),
            "cautions": [list(caution) for caution in self.cautions],
        }

    def table(self) -> pd.DataFrame:
        """`coverage` with what holds for all levels repeated in each row, for a file."""
        table: pd.DataFrame = self.coverage.assign(
            n=self.n,
            sd_scale=self.sd_scale,
            align=self.align,
            slope=self.slope,
            intercept=self.intercept,
            correlation=self.correlation.r,
            cautions=";".join(caution.code for caution in self.cautions),
        ).assign(**{"lambda": self.variance_scale})
        return table


def calibrate(
    measured: pd.DataFrame,
    predicted: pd.DataFrame,
    *,
    output: str | None = None,
    levels: Sequence[float] = LEVELS,
    align: Align = "none",
) -> CalibrationResult:
    """Compare measured with predicted effects, variant by variant.

    Parameters
    ----------
    measured : DataFrame
        Columns `variant` (unique), `effect`, and optionally `se`, the standard error of the
        measurement.
    predicted : DataFrame
        Columns `effect_mean`, `effect_sd`, and `variant`; without `variant` it is made of the
        columns chrom, pos, ref, alt (and strand), or chrom, position, ref, alt, as
        ``chrom:pos:ref:alt`` on the forward strand. If several windows have a variant, it is
        taken from the window where it lies nearest to the middle.
    output : str, optional
        Which of the model's outputs, if `predicted` has a column `output` with several.
    levels : sequence of float
    align : "none" or "linear"
        "linear" regresses measured on predicted first (ordinary least squares), for scales that differ
        by a factor. The line is fitted to the same variants, which makes the calibration look slightly
        too good.

    Raises
    ------
    InputError
        Columns missing, names repeated, numbers not finite, sd not positive, or fewer than 10
        variants in both tables.
    """
    _check_options(levels, align)
    found = match(measured, predicted, output)
    slope, intercept = (1.0, 0.0) if align == "none" else fitted_line(found)
    error = found.effect - (intercept + slope * found.mean)
    sd = abs(slope) * found.sd
    z = _standardised(error, sd, found.se)
    sd_scale = _sd_scale(error, sd, found.se)
    pit = ndtr(z)
    counts, edges = np.histogram(pit, bins=PIT_BINS, range=(0, 1))
    correlation = correlation_of(found)
    return CalibrationResult(
        coverage=_coverage(levels, z, _standardised(error, sd * sd_scale, found.se)),
        pit=pit,
        pit_counts=counts,
        pit_edges=edges,
        variance_scale=float(np.mean(z**2)),
        sd_scale=sd_scale,
        quantile_map=QuantileMap.of(z),
        intercept=float(intercept),
        slope=float(slope),
        align=align,
        correlation=correlation,
        cautions=(
            *cautions_of(correlation, sd_scale, slope, align),
            *scale_cautions(found, sd_scale * sd),
        ),
        n=len(z),
        n_only_measured=found.n_only_measured,
        n_only_predicted=found.n_only_predicted,
        n_no_spread=found.n_no_spread,
        n_repeated=found.n_repeated,
    )


def scale_sd(predicted: pd.DataFrame, sd_scale: float) -> pd.DataFrame:
    """A copy with `effect_sd` multiplied by `sd_scale`; `z` and `p_value`, if there, are computed from
    it.

    `effect_mcse` does not change: the Monte Carlo error of a mean does not depend on measurements.
    Quantiles of the draws and q-values cannot be computed from the sd, and are left out.

    Raises
    ------
    InputError
        The factor is not positive and finite, or there is no column `effect_sd`.
    """
    if not (np.isfinite(sd_scale) and sd_scale > 0):
        raise InputError(f"sd_scale must be positive and finite; got {sd_scale}.")
    require(predicted, ("effect_sd",), "the table of predicted effects")
    kept = [c for c in predicted if not str(c).startswith("effect_q") and c != "q_value"]
    scaled: pd.DataFrame = predicted[kept].assign(effect_sd=predicted["effect_sd"] * sd_scale)
    if "z" in scaled:
        scaled["z"] = scaled["z"] / sd_scale
    if "p_value" in scaled and "z" in scaled:
        scaled["p_value"] = 2 * ndtr(-np.abs(scaled["z"]))
    return scaled


def with_spread(predicted: pd.DataFrame, spread: str) -> pd.DataFrame:
    """A copy whose `effect_sd` is "total", or its part "within" or "between" members.

    Raises
    ------
    InputError
        If the model had one member alone, so that there are no parts.
    """
    if spread == "total":
        return predicted
    if f"effect_sd_{spread}" not in predicted:
        raise InputError(
            f"the result has no sd {spread} members: its model had one member alone. Use the total sd"
        )
    kept = [c for c in predicted if c not in ("z", "p_value", "q_value")]
    changed: pd.DataFrame = predicted[kept].assign(effect_sd=predicted[f"effect_sd_{spread}"])
    return changed


def _check_options(levels: Sequence[float], align: str) -> None:
    if not len(levels) or not all(0 < level < 1 for level in levels):
        raise InputError(f"levels must lie between 0 and 1; got {list(levels)}.")
    check_align(align)


def check_align(align: str) -> None:
    """Raise InputError unless the word is known."""
    if align not in ("none", "linear"):
        raise InputError(f"align must be 'none' or 'linear'; got {align!r}.")


def fitted_line(found: Matched) -> tuple[float, float]:
    """Slope and intercept of measured on predicted.

    Raises
    ------
    InputError
        If there is no line with a slope.
    """
    if np.ptp(found.mean) == 0 or np.ptp(found.effect) == 0:
        raise InputError(
            "align 'linear' requires effects that differ; in one of the tables all are equal. Use "
            "align 'none'."
        )
    from scipy.stats import linregress  # takes half a second, and only a fit needs it

    fit = linregress(found.mean, found.effect)
    if fit.slope == 0:
        raise InputError(
            "align 'linear' requires a slope other than 0; measured and predicted effects are not "
            "correlated at all. Use align 'none'."
        )
    return float(fit.slope), float(fit.intercept)


def _standardised(error: FloatArray, sd: FloatArray, se: FloatArray) -> FloatArray:
    return z_ratio(error, np.hypot(sd, se))


def _sd_scale(error: FloatArray, sd: FloatArray, se: FloatArray) -> float:
    """The factor c with mean(error**2 / (c**2 sd**2 + se**2)) = 1."""
    if not se.any():
        return float(np.sqrt(np.mean((error / sd) ** 2)))

    def excess(scale: float) -> float:
        return float(np.mean(error**2 / (scale**2 * sd**2 + se**2))) - 1

    most = float(np.sqrt(np.mean((error / sd) ** 2)))  # what it would be were all se 0
    least = 1e-12 * most
    if most == 0 or excess(least) <= 0:
        return 0.0
    from scipy.optimize import brentq

    return float(brentq(excess, least, most, xtol=1e-12 * most, rtol=1e-12))


def _coverage(levels: Sequence[float], z: FloatArray, scaled_z: FloatArray) -> pd.DataFrame:
    from statsmodels.stats.proportion import proportion_confint

    share = _cross_fitted(z)
    rows = []
    for level in levels:
        limit = float(ndtri((1 + level) / 2))
        inside = int((np.abs(z) <= limit).sum())
        lower, upper = proportion_confint(inside, len(z), method="wilson")
        rows.append(
            {
                "level": level,
                "observed": inside / len(z),
                "lower": lower,
                "upper": upper,
                "scaled": float((np.abs(scaled_z) <= limit).mean()),
                "recalibrated": float((np.abs(share - 0.5) <= level / 2).mean()),
            }
        )
    table: pd.DataFrame = pd.DataFrame(rows)
    return table


def _cross_fitted(z: FloatArray) -> FloatArray:
    """Share below each variant's z by a map made without it; folds interleave the variants."""
    fold = np.arange(len(z)) % FOLDS
    share = np.empty_like(z)
    for number in range(FOLDS):
        share[fold == number] = QuantileMap.of(z[fold != number]).share_below(z[fold == number])
    return share
