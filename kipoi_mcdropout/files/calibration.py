"""The file of a calibration of intervals: JSON."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.atomic import atomic_path
from kipoi_mcdropout.files.provenance import input_files
from kipoi_mcdropout.files.read_tables import reading
from kipoi_mcdropout.model.versions import package_versions
from kipoi_mcdropout.significance.add_intervals import ConformalOptions
from kipoi_mcdropout.significance.interval_calibration import IntervalCalibration

FORMAT = "kipoi_mcdropout calibration"
FORMAT_VERSION = 1


def calibration_record(
    record: Mapping[str, Any], measured: str | Path, command: Sequence[str] | None = None
) -> dict[str, Any]:
    """How a calibration is made, as plain values for JSON.

    Parameters
    ----------
    record : mapping
        Provenance of the result whose effects are compared.
    measured : str or Path
        The table of measured effects.
    command : sequence of str, optional
    """
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "versions": package_versions(),
        "result": {name: record[name] for name in ("date", "model", "seed", "files")},
        "files": input_files({"measured": measured}),
        "command": None if command is None else list(command),
    }


def write_calibration(
    calibration: IntervalCalibration, path: str | Path, overwrite: bool = False
) -> None:
    """Write a calibration of intervals as JSON; `ism`, `score_variants` and `intervals` read it.

    Raises
    ------
    OutputError
        If the file cannot be made, or exists and `overwrite` is not set.
    """
    values = {"format": FORMAT, "format_version": FORMAT_VERSION, **calibration.to_dict()}
    with atomic_path(path, overwrite) as temporary:
        temporary.write_text(json.dumps(values, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_calibration(path: str | Path) -> IntervalCalibration:
    """Read what `write_calibration` has written.

    Raises
    ------
    InputError
        If the file is missing, damaged, of another kind, or of another version.
    """
    path = Path(path)
    with reading(path):
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
            raise InputError(
                f"{path} is no calibration of intervals. Give a file that `kipoi mcdropout calibrate "
                "--conformal` has written"
            )
        if (version := values.pop("format_version")) != FORMAT_VERSION:
            raise InputError(
                f"{path} has version {version} of the format; this package reads version "
                f"{FORMAT_VERSION}. Write it again"
            )
        return IntervalCalibration.from_dict(values)


def read_conformal(paths: Sequence[str | Path], level: float = 0.95) -> ConformalOptions:
    """Read the calibrations of some outputs or scores, for intervals of one level.

    Raises
    ------
    InputError
        See `read_calibration` and `ConformalOptions`.
    """
    return ConformalOptions(tuple(read_calibration(path) for path in paths), level)
