"""A calibration that gives intervals and probabilities of the sign to the effects of one output.

It is made by `calibrate_intervals` from measured effects, kept in a file (`files.calibration`), and
applied to other effects of the same model, score and output.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.errors import InputError, InputWarning
from kipoi_mcdropout.significance.alignment import check_align, fitted_line
from kipoi_mcdropout.significance.cautions import Align, Caution, interval_cautions
from kipoi_mcdropout.significance.conformal import (
    ConformalGroups,
    chosen_edges,
    default_edges,
    effects_needed,
)
from kipoi_mcdropout.significance.matched_effects import Matched, match, require
from kipoi_mcdropout.significance.result_identity import ResultIdentity
from kipoi_mcdropout.significance.venn_abers import VennAbers

SD_COLUMNS = {"total": "effect_sd", "within": "effect_sd_within", "between": "effect_sd_between"}


class Intervals(NamedTuple):
    """What a calibration says of effects: `INTERVAL_STATISTICS`, arrays of one shape."""

    lower: FloatArray
    upper: FloatArray
    sign_probability: FloatArray


@dataclass(frozen=True, eq=False)
class IntervalCalibration:
    """Intervals and probabilities of the sign for the effects of one output and score.

    Attributes
    ----------
    output, score : str
    sd : "total", "within" or "between"
        The sd that the intervals are proportional to.
    source : ResultIdentity
        The model of the effects that were compared with measured ones.
    align : "none" or "linear"
    intercept, slope : float
        measured = intercept + slope * predicted; 0 and 1 with align "none".
    sd_floor : float
        The spread of an effect is sqrt(sd**2 + sd_floor**2): an sd of 0 gives no interval of length 0.
    groups : ConformalGroups
    sign : VennAbers
        Probability that the measurement has the sign of the effect, by |effect| / spread.
    n, n_sequences : int
        Effects of the calibration, and the sequences or chromosomes that they lie in.
    cautions : tuple of Caution
    made : dict
        Provenance of the calibration.
    """

    output: str
    score: str
    sd: str
    source: ResultIdentity
    align: Align
    intercept: float
    slope: float
    sd_floor: float
    groups: ConformalGroups
    sign: VennAbers
    n: int
    n_sequences: int
    cautions: tuple[Caution, ...] = ()
    made: dict[str, Any] = field(default_factory=dict)

    def intervals(self, mean: ArrayLike, sd: ArrayLike, level: float = 0.95) -> Intervals:
        """Intervals for new effects, on the scale of the measured effects.

        Parameters
        ----------
        mean, sd : array
            `effect_mean` and the sd of `SD_COLUMNS`, as predicted. NaN gives NaN.
        level : float
            The share of measurements that the intervals are to hold.

        Raises
        ------
        InputError
            If the calibration has too few effects for the level; see `ConformalGroups.at`.
        """
        mean, sd = np.asarray(mean, np.float64), np.asarray(sd, np.float64)
        spread = np.hypot(sd, self.sd_floor)
        half = self.groups.at(np.abs(mean), level) * abs(self.slope) * spread
        center = self.intercept + self.slope * mean
        right = self.sign.probability(np.abs(mean) / spread)
        return Intervals(center - half, center + half, np.where(mean == 0, 0.5, right))

    def check_fits(self, other: ResultIdentity, scores: Sequence[str], outputs: Sequence[str]) -> None:
        """Raise InputError unless the calibration is of the model, a score and an output of a result.

        Warns
        -----
        InputWarning
            If the result has another number of draws.
        """
        told = f"the calibration of output {self.output} (score {self.score}) "
        if other.model_sha256 != self.source.model_sha256:
            raise InputError(
                f"{told}is of the model {self.source.model} (checksum "
                f"{self.source.model_sha256[:12]}); the result is of {other.model} "
                f"({other.model_sha256[:12]}). Calibrate with a result of this model"
            )
        if self.score not in scores:
            raise InputError(f"{told}does not fit: the result has the scores {', '.join(scores)}")
        if self.output not in outputs:
            shown = ", ".join(outputs[:5]) + (" ..." if len(outputs) > 5 else "")
            raise InputError(f"{told}does not fit: the result has the outputs {shown}")
        here = other.of_score(self.score)
        for name, value in self.source.of_score(self.score).items():
            if here[name] != value:
                raise InputError(
                    f"{told}was made with {name} {value}; the result has {name} {here[name]}, "
                    "which changes effects and their sd. Calibrate with a result made in the same way"
                )
        if other.n_draws == 0:
            raise InputError(f"{told}needs effects with an sd; the result has no draws")
        if other.n_draws != self.source.n_draws:
            warnings.warn(
                f"{told}was made with {self.source.n_draws} draws; the result has {other.n_draws}. The "
                "error of the sd depends on their number, so the level of the intervals is not exact",
                InputWarning,
                stacklevel=2,
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; an infinite half-width or end is null."""
        groups = [
            {
                "effect_from": low, "effect_to": None if math.isinf(high) else high, "n": n,
                "half_widths": [None if math.isinf(width) else width for width in widths.tolist()],
            }
            for low, high, n, widths in zip(
                self.groups.edges[:-1], self.groups.edges[1:], self.groups.n, self.groups.half_widths,
                strict=True,
            )
        ]  # fmt: skip
        plain = ("output", "score", "sd", "align", "intercept", "slope", "sd_floor", "n", "n_sequences")
        return {
            **{name: getattr(self, name) for name in plain},
            "source": asdict(self.source),
            "levels": list(self.groups.levels),
            "groups": groups,
            "sign": {name: values.tolist() for name, values in vars(self.sign).items()},
            "cautions": [list(caution) for caution in self.cautions],
            "made": self.made,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> IntervalCalibration:
        """From `to_dict`, also by way of JSON."""
        parts = values["groups"]
        widths = [[math.inf if w is None else w for w in part["half_widths"]] for part in parts]
        edges = (*(part["effect_from"] for part in parts), math.inf)
        groups = ConformalGroups(
            edges, tuple(part["n"] for part in parts), tuple(values["levels"]), np.array(widths)
        )
        plain = ("output", "score", "sd", "align", "intercept", "slope", "sd_floor", "n", "n_sequences")
        return cls(
            **{name: values[name] for name in plain},
            source=ResultIdentity(**values["source"]),
            groups=groups,
            sign=VennAbers(**{name: np.array(x) for name, x in values["sign"].items()}),
            cautions=tuple(Caution(*words) for words in values["cautions"]),
            made=values["made"],
        )


def calibrate_intervals(
    measured: pd.DataFrame,
    predicted: pd.DataFrame,
    record: dict[str, Any],
    *,
    align: Align = "none",
    sd: str = "total",
    bins: Sequence[float] = (),
    level: float = 0.95,
    made: dict[str, Any] | None = None,
) -> IntervalCalibration:
    """Make a calibration of intervals from measured effects.

    The intervals are for measurements like these ones: the error of the measurement is part of what they
    hold, and `se` is not used.

    Parameters
    ----------
    measured, predicted : DataFrame
        See `calibration.calibrate`; `predicted` has one output and one score, in the columns `output`
        and `score`. Give all measured variants, not those with large measured effects alone: the
        intervals are right for variants that are chosen in the same way, and new ones cannot be chosen
        by what is not measured yet.
    record : dict
        Provenance of the result that `predicted` was read from.
    align : "none" or "linear"
        See `calibration.calibrate`.
    sd : "total", "within" or "between"
    bins : sequence of float, optional
        Where groups by |predicted effect| end (the last has no end); by default `default_edges`.
    level : float
        A level that each group must have enough effects for; groups that do not are merged.
    made : dict, optional
        What to keep with the calibration about how it was made, as plain values for JSON.

    Raises
    ------
    InputError
        If the tables are not as stated, or have too few effects in common for the level.

    Warns
    -----
    InputWarning
        Where groups of `bins` are merged, by name.
    """
    check_align(align)
    if not 0 < level < 1:
        raise InputError(f"level must lie between 0 and 1; got {level}")
    columns = ("output", "score", "effect_mean", SD_COLUMNS[sd])
    require(predicted, columns, "the table of predicted effects")
    chosen = predicted.assign(effect_sd=predicted[SD_COLUMNS[sd]])
    found = match(measured, chosen, None, all_spreads=True)
    if len(found.mean) < effects_needed(level):
        raise InputError(
            f"level {level:g} needs at least {effects_needed(level)} measured effects; got "
            f"{len(found.mean)}"
        )
    slope, intercept = (1.0, 0.0) if align == "none" else fitted_line(found)
    floor = float(np.median(found.sd[found.sd > 0]))
    spread, size = np.hypot(found.sd, floor), np.abs(found.mean)
    error = np.abs(found.effect - (intercept + slope * found.mean))
    edges = chosen_edges(size, bins, level) if len(bins) else default_edges(size)
    groups = ConformalGroups.of(size, error / (abs(slope) * spread), edges)
    return IntervalCalibration(
        output=str(predicted["output"].iloc[0]),
        score=str(predicted["score"].iloc[0]),
        sd=sd,
        source=ResultIdentity.of(record),
        align=align,
        intercept=intercept,
        slope=slope,
        sd_floor=floor,
        groups=groups,
        sign=_sign_curve(found, spread),
        n=len(found.mean),
        n_sequences=found.n_sequences,
        cautions=tuple(interval_cautions(found, groups, abs(slope) * spread, level)),
        made=made or {},
    )


def _sign_curve(found: Matched, spread: FloatArray) -> VennAbers:
    """Whether the signs agree, by |effect| / spread.

    A measured effect of 0 counts half; a predicted one has no sign, and does not count.
    """
    signed = found.mean != 0
    if not signed.any():
        raise InputError("effects other than 0 are required; all predicted effects are 0")
    right = (1 + np.sign(found.mean) * np.sign(found.effect)) / 2
    return VennAbers.of((np.abs(found.mean) / spread)[signed], right[signed])
