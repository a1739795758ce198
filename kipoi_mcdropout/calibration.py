"""Are the intervals honest? Predicted effects and their sd against measured effects.

A prediction says: the measured effect is normal with mean `effect_mean` and variance
``effect_sd**2 + se**2``, se being the error of the measurement. Whether measured effects fall where
that says is looked at in three ways: coverage of central intervals, the histogram of probability
integral transforms (PIT), and one number, lambda, the mean squared standardised error. Two remedies
come of it: a factor for the sd, and a monotone map of the levels (Kuleshov, Fenner and Ermon, ICML
2018).

Both must be on one scale: measured log fold changes are no predicted differences of probability.
Where they are proportional, ``align="linear"`` finds the line first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mr.instrument_checks import zero_variance
from kipoi_mcdropout.mr.instruments import ZERO_VARIANCE_RTOL

FloatArray = NDArray[np.float64]
Align = Literal["none", "linear"]

LEVELS = (0.5, 0.8, 0.95)
PIT_BINS = 10
MIN_VARIANTS = 10
FOLDS = 5
VARIANT_COLUMNS = ("chrom", "position", "ref", "alt")


@dataclass(frozen=True, eq=False)
class CalibrationResult:
    """What `calibrate` found.

    Attributes
    ----------
    coverage : DataFrame
        A row per level: level, observed (share of measured effects inside the central interval),
        lower and upper (95 % Wilson interval of that share), scaled (share after `sd_scale`),
        recalibrated (share under the isotonic map, each variant by a map fitted without it; 5
        folds).
    pit : array, shape=(n,)
        Predicted probability of a value below the measured one. Uniform if calibrated; heaped at
        the ends if sd is too small, in the middle if too large.
    pit_counts, pit_edges : array, shape=(10,), (11,)
        Its histogram.
    variance_scale : float
        lambda = mean((measured - mean)**2 / (sd**2 + se**2)); 1 if calibrated.
    sd_scale : float
        Factor for `effect_sd` that makes lambda 1: sqrt(lambda) where measurements have no se. 0
        where the measurements' se alone is more than the errors seen.
    isotonic_x, isotonic_y : array
        Knots of the map from predicted to observed probability, monotone, between them linear.
    intercept, slope : float
        The line measured = intercept + slope * predicted that was taken out first; 0 and 1 with
        align "none".
    n, n_only_measured, n_only_predicted : int
        Variants used, and those that only one of the two tables has.
    n_no_spread : int
        Variants left out since they have no interval: neither do their draws differ by more than
        rounding, nor has the measurement an se.
    """

    coverage: pd.DataFrame
    pit: FloatArray
    pit_counts: NDArray[np.int64]
    pit_edges: FloatArray
    variance_scale: float
    sd_scale: float
    isotonic_x: FloatArray
    isotonic_y: FloatArray
    intercept: float
    slope: float
    align: Align
    n: int
    n_only_measured: int
    n_only_predicted: int
    n_no_spread: int = 0

    def recalibrate(self, probability: ArrayLike) -> FloatArray:
        """Observed probability that goes with a predicted one, through the isotonic map."""
        return np.interp(np.asarray(probability, float), self.isotonic_x, self.isotonic_y)

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
        tails = _inverse_map(self.isotonic_x, self.isotonic_y, [(1 - level) / 2, (1 + level) / 2])
        low, high = stats.norm.ppf(tails)
        return center + low * width, center + high * width

    def provenance(self) -> dict[str, Any]:
        """What to record where `sd_scale` is applied."""
        names = ("sd_scale", "variance_scale", "align", "intercept", "slope", "n")
        return {name: getattr(self, name) for name in names}


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
        columns chrom, position, ref, alt as ``chrom:position:ref:alt``.
    output : str, optional
        Which of the model's outputs, if `predicted` has a column `output` with several.
    levels : sequence of float
    align : "none" or "linear"
        "linear" regresses measured on predicted first (ordinary least squares), for scales that
        differ by a factor. The line is fitted to the same variants, which favours calibration a
        little.

    Raises
    ------
    InputError
        Columns missing, names repeated, numbers not finite, sd not positive, or fewer than 10
        variants in both tables.
    ImportError
        scikit-learn is not installed; ``pip install kipoi_mcdropout[calibration]``.
    """
    _check_options(levels, align)
    both, only_measured, only_predicted = _matched(measured, predicted, output)
    both, no_spread = _with_spread(both)
    y, mean, sd, se = (both[name].to_numpy(float) for name in ("effect", "mean", "sd", "se"))
    slope, intercept = (1.0, 0.0) if align == "none" else _line(mean, y)
    mean, sd = intercept + slope * mean, abs(slope) * sd
    pit = stats.norm.cdf((y - mean) / np.hypot(sd, se))
    sd_scale = _sd_scale(y - mean, sd, se)
    counts, edges = np.histogram(pit, bins=PIT_BINS, range=(0, 1))
    isotonic_x, isotonic_y = _isotonic(pit)
    return CalibrationResult(
        coverage=_coverage(levels, pit, _scaled_pit(y - mean, sd * sd_scale, se)),
        pit=pit,
        pit_counts=counts,
        pit_edges=edges,
        variance_scale=float(np.mean((y - mean) ** 2 / (sd**2 + se**2))),
        sd_scale=sd_scale,
        isotonic_x=isotonic_x,
        isotonic_y=isotonic_y,
        intercept=float(intercept),
        slope=float(slope),
        align=align,
        n=len(both),
        n_only_measured=only_measured,
        n_only_predicted=only_predicted,
        n_no_spread=no_spread,
    )


def scale_sd(predicted: pd.DataFrame, sd_scale: float) -> pd.DataFrame:
    """A copy with `effect_sd` multiplied by `sd_scale`, and `z` and `p_value`, if there, made of it.

    `effect_mcse` stays: the Monte Carlo error of a mean has nothing to do with how well the model's
    uncertainty fits measurements. Quantiles of the draws and q-values do not follow from the sd, and are
    left out.

    Raises
    ------
    InputError
        The factor is not positive and finite, or there is no column `effect_sd`.
    """
    if not (np.isfinite(sd_scale) and sd_scale > 0):
        raise InputError(f"sd_scale must be positive and finite; got {sd_scale}.")
    _require(predicted, ("effect_sd",), "the table of predicted effects")
    kept = [c for c in predicted if not str(c).startswith("effect_q") and c != "q_value"]
    scaled = predicted[kept].assign(effect_sd=predicted["effect_sd"] * sd_scale)
    if "z" in scaled:
        scaled["z"] = scaled["z"] / sd_scale
    if "p_value" in scaled and "z" in scaled:
        scaled["p_value"] = 2 * stats.norm.sf(np.abs(scaled["z"]))
    return scaled


def _matched(
    measured: pd.DataFrame, predicted: pd.DataFrame, output: str | None
) -> tuple[pd.DataFrame, int, int]:
    _require(measured, ("variant", "effect"), "the table of measured effects")
    _require(predicted, ("effect_mean", "effect_sd"), "the table of predicted effects")
    predicted = _one_output(predicted, output)
    left = pd.DataFrame({"variant": measured["variant"].astype(str), "effect": measured["effect"]})
    left["se"] = measured["se"] if "se" in measured.columns else 0.0
    right = pd.DataFrame(
        {
            "variant": _variant_names(predicted),
            "mean": predicted["effect_mean"],
            "sd": predicted["effect_sd"],
        }
    )
    for table, what in ((left, "measured"), (right, "predicted")):
        again = table["variant"][table["variant"].duplicated()]
        if len(again):
            raise InputError(
                f"each variant may occur once; {len(again)} {what} rows repeat one, first: "
                f"{again.iloc[0]}. Average them, or choose one."
            )
    both = left.merge(right, on="variant", validate="one_to_one")
    if len(both) < MIN_VARIANTS:
        raise InputError(
            f"at least {MIN_VARIANTS} variants in both tables are required; {len(both)} are. "
            "Measured "
            f"names look like {_example(left)}, predicted like {_example(right)}: are they the "
            "same?"
        )
    _check_numbers(both)
    return both, len(left) - len(both), len(right) - len(both)


def _example(table: pd.DataFrame) -> str:
    return repr(table["variant"].iloc[0]) if len(table) else "nothing"


def _variant_names(predicted: pd.DataFrame) -> pd.Series:
    if "variant" in predicted.columns:
        return predicted["variant"].astype(str)
    _require(predicted, VARIANT_COLUMNS, "the table of predicted effects, without 'variant',")
    return predicted[list(VARIANT_COLUMNS)].astype(str).agg(":".join, axis=1)


def _one_output(predicted: pd.DataFrame, output: str | None) -> pd.DataFrame:
    if "output" not in predicted.columns:
        return predicted
    names = predicted["output"].astype(str)
    known = names.unique().tolist()
    if output is None and len(known) == 1:
        return predicted
    if output not in known:
        raise InputError(
            f"one output is required, of {', '.join(known[:5])}{' ...' if len(known) > 5 else ''}; "
            f"got {output!r}."
        )
    return predicted[names == output]


def _check_numbers(both: pd.DataFrame) -> None:
    values = both[["effect", "mean", "sd", "se"]].to_numpy(float)
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        raise InputError(
            f"effects, sd and se must be finite; they are not for {bad.sum()} variants, first: "
            f"{both['variant'][bad].iloc[0]}. Remove these."
        )
    wrong = (both["sd"] < 0) | (both["se"] < 0)
    if wrong.any():
        raise InputError(
            f"sd and se must not be negative; this fails for {wrong.sum()} variants, first: "
            f"{both['variant'][wrong].iloc[0]}. Remove these."
        )


def _with_spread(both: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The variants that have an interval, and the number of the others."""
    spread = np.hypot(both["sd"].to_numpy(float), both["se"].to_numpy(float))
    none = zero_variance(both["mean"].to_numpy(float), spread, ZERO_VARIANCE_RTOL)
    if (~none).sum() < MIN_VARIANTS:
        raise InputError(
            f"at least {MIN_VARIANTS} variants whose effects vary over the draws are required; "
            f"{(~none).sum()} do. Is there a dropout between them and the output? See `audit`"
        )
    return both[~none].reset_index(drop=True), int(none.sum())


def _require(table: pd.DataFrame, columns: Sequence[str], what: str) -> None:
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise InputError(
            f"{what} must have columns {', '.join(columns)}; it lacks {', '.join(missing)} and has "
            f"{', '.join(map(str, table.columns))}. Rename its columns."
        )


def _check_options(levels: Sequence[float], align: str) -> None:
    if not len(levels) or not all(0 < level < 1 for level in levels):
        raise InputError(f"levels must lie between 0 and 1; got {list(levels)}.")
    if align not in ("none", "linear"):
        raise InputError(f"align must be 'none' or 'linear'; got {align!r}.")


def _line(mean: FloatArray, y: FloatArray) -> tuple[float, float]:
    """Slope and intercept of measured on predicted."""
    if np.ptp(mean) == 0 or np.ptp(y) == 0:
        raise InputError(
            "a line requires effects that differ; all are equal in one of the tables. Use align 'none'."
        )
    fit = stats.linregress(mean, y)
    return float(fit.slope), float(fit.intercept)


def _scaled_pit(error: FloatArray, sd: FloatArray, se: FloatArray) -> FloatArray:
    spread = np.hypot(sd, se)
    certain = np.where(error == 0, 0.0, np.copysign(np.inf, error))  # of a spread of 0
    return stats.norm.cdf(np.divide(error, spread, out=certain, where=spread > 0))


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
    return float(optimize.brentq(excess, least, most, xtol=1e-12 * most, rtol=1e-12))


def _coverage(levels: Sequence[float], pit: FloatArray, scaled_pit: FloatArray) -> pd.DataFrame:
    from statsmodels.stats.proportion import proportion_confint

    crossed = _cross_fitted(pit)
    rows = []
    for level in levels:
        inside = int(_inside(pit, level).sum())
        lower, upper = proportion_confint(inside, len(pit), method="wilson")
        rows.append(
            {
                "level": level,
                "observed": inside / len(pit),
                "lower": lower,
                "upper": upper,
                "scaled": float(_inside(scaled_pit, level).mean()),
                "recalibrated": float(_inside(crossed, level).mean()),
            }
        )
    return pd.DataFrame(rows)


def _inside(pit: FloatArray, level: float) -> NDArray[np.bool_]:
    return np.abs(pit - 0.5) <= level / 2


def _cross_fitted(pit: FloatArray) -> FloatArray:
    """PIT of each variant through a map that was fitted without it; folds interleave the variants."""
    fold = np.arange(len(pit)) % FOLDS
    mapped = np.empty_like(pit)
    for number in range(FOLDS):
        x, y = _isotonic(pit[fold != number])
        mapped[fold == number] = np.interp(pit[fold == number], x, y)
    return mapped


def _isotonic(pit: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Knots of the map from predicted to observed probability, from (0, 0) to (1, 1)."""
    try:
        from sklearn.isotonic import IsotonicRegression
    except ImportError as error:
        raise ImportError(
            "isotonic recalibration requires scikit-learn: pip install kipoi_mcdropout[calibration]"
        ) from error
    ordered = np.sort(pit)
    observed = (np.arange(len(pit)) + 0.5) / len(pit)
    fit = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(ordered, observed)
    x = np.concatenate([[0.0], fit.X_thresholds_, [1.0]])
    y = np.concatenate([[0.0], fit.y_thresholds_, [1.0]])
    return x, y


def _inverse_map(x: FloatArray, y: FloatArray, values: ArrayLike) -> FloatArray:
    """Predicted probability at which the monotone map reaches `values`."""
    rising = np.concatenate([[True], np.diff(y) > 0])
    return np.interp(np.asarray(values, float), y[rising], x[rising])
