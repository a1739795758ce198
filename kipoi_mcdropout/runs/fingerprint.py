"""What the result of a run depends on, taken from its provenance."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

# Of the record of a run, what may differ between a run and its resumption, or between shards.
_PASSING = ("date", "command", "versions", "engine_reason", "ledger", "dtype_check")


def fingerprint(record: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a run's provenance that its results depend on, flat, as JSON gives it back."""
    flat = {name: value for name, value in record.items() if name not in (*_PASSING, "options")}
    if "members" in flat:  # the same networks, whatever they are called and in whatever order they came
        flat["members"] = [{k: v for k, v in x.items() if k != "name"} for x in flat["members"]]
    versions = record["versions"]
    packages = {"versions": {k: versions[k] for k in ("kipoi-mcdropout", "torch") if k in versions}}
    settings: dict[str, Any] = json.loads(json.dumps({**flat, **packages, **record["options"]}))
    return settings


def digest_of(fingerprint: Mapping[str, Any]) -> str:
    """SHA-256 of a fingerprint."""
    return hashlib.sha256(json.dumps(fingerprint, sort_keys=True).encode()).hexdigest()


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Names of what differs between two fingerprints."""
    return sorted(k for k in {*one, *other} if one.get(k) != other.get(k))
