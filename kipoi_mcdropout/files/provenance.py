"""What is recorded about a run in each of its outputs."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kipoi_mcdropout.model.versions import package_versions

if TYPE_CHECKING:  # results are read without torch
    from kipoi_mcdropout.dropout.sites import SitePlan

_BLOCK = 2**20


def file_checksum(path: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def input_files(arguments: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Path and checksum of every argument that is the path of a file."""
    return {
        name: {"path": str(value), "sha256": file_checksum(Path(value))}
        for name, value in arguments.items()
        if isinstance(value, (str, Path)) and value and Path(value).is_file()
    }


def has_own_draws(record: Mapping[str, Any]) -> bool:
    """Whether each mutant of a run has a number of draws of its own (--until)."""
    return "until" in record.get("options", {})


def describe_sites(plan: SitePlan) -> list[dict[str, Any]]:
    """The dropout sites as plain values."""
    return [
        {"site": s.index, "name": s.name, "kind": s.kind, "p": s.p, "mask_shape": list(s.shape)}
        for s in plan.sites
    ]


def provenance(
    *,
    model: str,
    source: str,
    identity: Mapping[str, str],
    plan: SitePlan,
    seed: int,
    n_draws: int,
    options: Mapping[str, Any],
    files: Mapping[str, Any],
    command: Sequence[str] | None = None,
    engine_reason: str | None = None,
    members: Sequence[Mapping[str, str]] = (),
) -> dict[str, Any]:
    """All that is needed to say where numbers come from, as plain values for JSON.

    `identity` is that of the model; see `identity.model_identity`. `engine_reason` says why the
    engine in `options["engine_used"]` was taken, where there is a choice. `members` has the name and the
    identity of each, where there are several; `plan` is that of the first model.
    """
    record: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "versions": package_versions(),
        "model": {"name": model, "source": source, **identity},
        "files": dict(files),
        "seed": seed,
        "n_draws": n_draws,
        "sites": describe_sites(plan),
        "idle_sites": dict(plan.idle),
        "notes": list(plan.notes),
        "options": dict(options),
        "command": None if command is None else list(command),
    }
    if members:
        record["members"] = [dict(member) for member in members]
    return record if engine_reason is None else {**record, "engine_reason": engine_reason}
