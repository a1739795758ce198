"""The finished units of a run or a shard, in a folder. Resume and merge read from it.

run.json        what the run is: its provenance, its outputs, its shard, whether it is complete
000000012.unit  a finished unit, see `unit_file`
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.atomic import replace_file
from kipoi_mcdropout.runs.fingerprint import differences, digest_of
from kipoi_mcdropout.runs.shard import Shard
from kipoi_mcdropout.runs.unit_file import (
    StoredUnit,
    UnitIdentity,
    has_failed,
    read_unit,
    write_unit,
)

RUN_FILE = "run.json"
_FORMAT = "kipoi_mcdropout run 1"


@dataclass(frozen=True)
class RunState:
    """What `run.json` says.

    Attributes
    ----------
    kind : str
        "ism" or "score_variants".
    fingerprint : dict
        All that the results depend on.
    record : dict
        Provenance, as every output will carry it.
    outputs : dict
        The outputs of the whole run, by name, and what is needed to write them from the units.
    shard : (int, int) or None
        Number, from 1, and how many shards there are.
    n_units : int or None
        Of the whole run; None until all units were counted.
    complete : bool
        Whether every unit of this run, or of this shard, is there.
    n_failed : int
        Units of a complete shard that could not be computed; resumed, it tries them again.
    naming : list of [str, str]
        Temporary and final path of each output, once all are whole and may have their names.
    """

    kind: str
    fingerprint: dict[str, Any]
    record: dict[str, Any]
    outputs: dict[str, Any]
    shard: list[int] | None = None
    n_units: int | None = None
    complete: bool = False
    n_failed: int = 0
    naming: list[list[str]] = field(default_factory=list)


def read_state(folder: Path) -> RunState:
    """What a folder's `run.json` says.

    Raises
    ------
    InputError
        If it is missing or damaged.
    """
    path = folder / RUN_FILE
    try:
        content = json.loads(path.read_bytes())
        state = content["state"]
        if content["format"] != _FORMAT or content["sha256"] != digest_of(state):
            raise ValueError("its checksum does not match")
        return RunState(**state)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is missing or damaged ({error}). Remove the folder {folder} and run without "
            "--resume; a shard must be run again"
        ) from error


def is_store(folder: Path) -> bool:
    """Whether a run has left something in a folder."""
    return (folder / RUN_FILE).exists() or any(folder.glob("*.unit"))


def remove_store(folder: Path) -> None:
    """Remove a store. `run.json` goes last: a kill in between leaves a store that can be read."""
    for path in folder.glob("*.unit"):
        path.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


class UnitStore:
    """A folder of units that grows.

    Parameters
    ----------
    folder : Path
    state : RunState
    durable : bool
        Sync each unit to the disk; False for folders that no run is resumed from.
    """

    def __init__(self, folder: Path, state: RunState, durable: bool = True) -> None:
        self.folder = folder
        self.state = state
        self._run = digest_of(state.fingerprint)
        self._durable = durable

    @classmethod
    def begin(cls, folder: Path, state: RunState, durable: bool = True) -> UnitStore:
        """A new store; what is in the folder is removed."""
        remove_store(folder)
        folder.mkdir(parents=True, exist_ok=True)
        store = cls(folder, state, durable)
        store._write_state()
        return store

    @classmethod
    def reopen(cls, folder: Path, state: RunState) -> UnitStore:
        """The store of a run that was stopped. Its record is kept; its outputs are those of `state`.

        Raises
        ------
        InputError
            If it is damaged, or of a run with other inputs or options.
        """
        before = read_state(folder)
        other = differences(before.fingerprint, state.fingerprint)
        if before.kind != state.kind:
            other.append("command")
        if before.shard != state.shard:
            other.append("shard")
        if other:
            raise InputError(
                "a run can only be resumed with the same inputs and options; they differ in: "
                f"{', '.join(other)}. Run without resume to start again from the beginning"
            )
        for left in folder.glob("*.new"):
            left.unlink(missing_ok=True)
        store = cls(folder, replace(before, outputs=state.outputs))
        if before.outputs != state.outputs:
            store.update(complete=False)
        return store

    @classmethod
    def read(cls, folder: Path) -> UnitStore:
        """A store to read from, as a merge does."""
        return cls(folder, read_state(folder))

    @property
    def record(self) -> dict[str, Any]:
        """The run's provenance."""
        return self.state.record

    def has(self, number: int) -> bool:
        """Whether a unit is done and has not failed."""
        path = self._path(number)
        return path.is_file() and not has_failed(path)

    def load(self, number: int, inputs: str | None) -> StoredUnit:
        """A unit that is done, checked; `inputs` is the digest of its inputs, where these are at hand.

        Raises
        ------
        DamagedUnitError
            If its file is damaged, of another unit, another run, or other inputs.
        """
        return read_unit(self._path(number), UnitIdentity(number, self._run, inputs))

    def save(self, number: int, inputs: str, unit: StoredUnit) -> None:
        """Keep a unit."""
        write_unit(self._path(number), UnitIdentity(number, self._run, inputs), unit, self._durable)

    def release(self, number: int) -> None:
        """The outputs have a unit; its file is kept only where a run can be resumed from it."""
        if not self._durable:
            self._path(number).unlink(missing_ok=True)

    def update(self, **changes: Any) -> None:
        """Change what run.json says."""
        self.state = replace(self.state, **changes)
        self._write_state()

    def is_worth_keeping(self) -> bool:
        """Whether a unit is done and a run could be resumed from it."""
        return self._durable and any(not has_failed(path) for path in self.folder.glob("*.unit"))

    def remove(self) -> None:
        """Remove everything."""
        remove_store(self.folder)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:09d}.unit"

    def _write_state(self) -> None:
        state = asdict(self.state)
        content = {"format": _FORMAT, "state": state, "sha256": digest_of(state)}
        replace_file(self.folder / RUN_FILE, [json.dumps(content).encode()], self._durable)


def digest_of_texts(texts: Iterable[str]) -> str:
    """SHA-256 of several texts, in order."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode("utf-8", "surrogateescape"))
        digest.update(b"\n")
    return digest.hexdigest()


def shard_as_list(shard: Shard | None) -> list[int] | None:
    """A shard as run.json has it."""
    return None if shard is None else [shard.index, shard.of]
