"""Gives effects the intervals of one or more calibrations, each of which is of one output and score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from kipoi_mcdropout.arrays.array_types import FloatArray
from kipoi_mcdropout.effects.columns import INTERVAL_STATISTICS
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.significance.interval_calibration import SD_COLUMNS, IntervalCalibration
from kipoi_mcdropout.significance.matched_effects import require
from kipoi_mcdropout.significance.result_identity import ResultIdentity

RECORDED = "conformal"  # in the options of a result's provenance


@dataclass(frozen=True)
class ConformalOptions:
    """Calibrations, and the level of the intervals.

    Parameters
    ----------
    calibrations : sequence of IntervalCalibration
        At most one for each output and score. Effects of other outputs and scores get NaN.
    level : float
        The share of measurements that each interval is to hold.

    Raises
    ------
    InputError
        If two are of one output and score, or one has too few effects for the level.
    """

    calibrations: tuple[IntervalCalibration, ...]
    level: float = 0.95

    def __post_init__(self) -> None:
        pairs = [(one.output, one.score) for one in self.calibrations]
        for output, score in pairs:
            if pairs.count((output, score)) > 1:
                raise InputError(
                    f"one calibration for each output and score is required; several are of {output}, "
                    f"score {score}"
                )
        for one in self.calibrations:
            one.groups.check_level(self.level)

    def check_fits(self, record: Mapping[str, Any], outputs: Sequence[str]) -> None:
        """Raise InputError unless every calibration is of the model, a score and an output of a result.

        Parameters
        ----------
        record : mapping
            Provenance of the result.
        outputs : sequence of str
            Names of its outputs.
        """
        identity = ResultIdentity.of(record)
        several = bool(record.get("members"))
        for one in self.calibrations:
            one.check_fits(identity, record["options"]["scores"], outputs)
            if one.sd != "total" and not several:
                raise InputError(
                    f"the calibration of output {one.output} is by the sd {one.sd} members; the model "
                    "has one member alone"
                )

    def columns(
        self, score: str, outputs: Sequence[str], statistics: Mapping[str, Any]
    ) -> dict[str, FloatArray]:
        """`INTERVAL_STATISTICS` of the effects of one score, each shape=(mutants, outputs).

        Parameters
        ----------
        score : str
        outputs : sequence of str
        statistics : mapping of str to array, each shape=(mutants, outputs)
            `effect_mean`, and the sd of `SD_COLUMNS`.
        """
        mean = np.asarray(statistics["effect_mean"])
        columns = {name: np.full(mean.shape, np.nan, mean.dtype) for name in INTERVAL_STATISTICS}
        for one in self.calibrations:
            if one.score != score or one.output not in outputs:
                continue
            i = list(outputs).index(one.output)
            found = one.intervals(mean[:, i], statistics[SD_COLUMNS[one.sd]][:, i], self.level)
            for name, values in zip(INTERVAL_STATISTICS, found, strict=True):
                columns[name][:, i] = values
        return columns

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, for the provenance of a result."""
        return {"level": self.level, "calibrations": [one.to_dict() for one in self.calibrations]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ConformalOptions:
        """From `to_dict`, also by way of JSON."""
        made = (IntervalCalibration.from_dict(one) for one in values["calibrations"])
        return cls(tuple(made), values["level"])

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> ConformalOptions | None:
        """Those with which a result was made, by its provenance; None where it has no intervals."""
        values = record["options"].get(RECORDED)
        return None if values is None else cls.from_dict(values)


def add_intervals(
    table: pd.DataFrame, record: Mapping[str, Any], options: ConformalOptions
) -> pd.DataFrame:
    """A copy of a result's table with `INTERVAL_STATISTICS`.

    Parameters
    ----------
    table : DataFrame
        Of `files.read.read_effects`.
    record : mapping
        Its provenance.
    options : ConformalOptions

    Raises
    ------
    InputError
        If a calibration is not of the result's model, or of an output and score that it has; or if the
        table has such columns already.
    """
    require(table, ("output", "score", "effect_mean", "effect_sd"), "the table of effects")
    if taken := [name for name in INTERVAL_STATISTICS if name in table]:
        raise InputError(
            f"the result has the columns {', '.join(taken)} already. Give the result without them"
        )
    options.check_fits(record, list(dict.fromkeys(table["output"].astype(str))))
    empty = np.full(len(table), np.nan, table["effect_mean"].to_numpy().dtype)
    added = {name: empty.copy() for name in INTERVAL_STATISTICS}
    output, score = table["output"].astype(str), table["score"].astype(str)
    for one in options.calibrations:
        rows = np.flatnonzero((output == one.output) & (score == one.score))
        mine = table.iloc[rows]
        names = [name for name in ("effect_mean", *SD_COLUMNS.values()) if name in mine]
        statistics = {name: mine[[name]].to_numpy() for name in names}
        for name, values in options.columns(one.score, [one.output], statistics).items():
            added[name][rows] = values[:, 0]
    with_columns: pd.DataFrame = table.assign(**added)
    return with_columns


def with_conformal(record: Mapping[str, Any], options: ConformalOptions) -> dict[str, Any]:
    """The provenance of a result to which intervals are added; `ConformalOptions.of_record` reads it."""
    return {**record, "options": {**record["options"], RECORDED: options.to_dict()}}


def without_tables(record: Mapping[str, Any]) -> dict[str, Any]:
    """A provenance whose calibrations are named, without their tables: for the header of a VCF."""
    values = record["options"].get(RECORDED)
    if values is None:
        return dict(record)
    tables = ("groups", "levels", "sign")
    named = [
        {name: x for name, x in one.items() if name not in tables} for one in values["calibrations"]
    ]
    options = {**record["options"], RECORDED: {**values, "calibrations": named}}
    return {**record, "options": options}
