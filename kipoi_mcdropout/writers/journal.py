"""How far a run has come, for taking it up again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kipoi_mcdropout.errors import InputError

# Of the record of a run, what may differ between it and its resumption.
_PASSING = ("date", "command", "versions", "engine_reason")


def fingerprint(record: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a run's provenance that its results depend on, flat."""
    flat = {name: value for name, value in record.items() if name not in (*_PASSING, "options")}
    versions = record["versions"]
    packages = {"versions": {k: versions[k] for k in ("kipoi-mcdropout", "torch") if k in versions}}
    return {**flat, **packages, **record["options"]}


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Names of what differs between two fingerprints."""
    return sorted(k for k in {*one, *other} if one.get(k) != other.get(k))


class Journal:
    """How far a run has come, in a small file that is replaced as a whole.

    Parameters
    ----------
    path : Path
    fingerprint : mapping
        All that the results depend on; a run is taken up only where it is the same.
    """

    def __init__(self, path: Path, fingerprint: Mapping[str, Any]) -> None:
        self.path = path
        self.fingerprint = json.loads(json.dumps(fingerprint))

    def read(self) -> dict[str, Any] | None:
        """What was last written; None if there is no journal.

        Raises
        ------
        InputError
            If it is of a run with other inputs or options.
        """
        if not self.path.is_file():
            return None
        try:
            entry = json.loads(self.path.read_text())
        except json.JSONDecodeError as error:
            raise InputError(f"{self.path} is damaged; remove it and run without resume") from error
        before = entry["fingerprint"]
        if before != self.fingerprint:
            other = differences(before, self.fingerprint)
            raise InputError(
                "a run can only be resumed with the inputs and options that it began with; different: "
                f"{', '.join(other)}. Run without resume to begin anew"
            )
        return entry["state"]

    @staticmethod
    def read_any(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        """Fingerprint and state, of whatever run it is.

        Raises
        ------
        InputError
            If there is no journal, or it is damaged.
        """
        try:
            entry = json.loads(path.read_text())
            return entry["fingerprint"], entry["state"]
        except (OSError, json.JSONDecodeError, KeyError) as error:
            raise InputError(f"{path} is missing or damaged; run that shard again") from error

    def write(self, state: Mapping[str, Any]) -> None:
        """Replace what is recorded."""
        temporary = self.path.with_name(self.path.name + ".new")
        temporary.write_text(json.dumps({"fingerprint": self.fingerprint, "state": state}))
        os.replace(temporary, self.path)

    def remove(self) -> None:
        """The run is complete."""
        self.path.unlink(missing_ok=True)
