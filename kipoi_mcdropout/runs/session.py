"""A run from its locks to its outputs, for all kinds of runs.

A session locks the outputs, finds what an earlier run has left, keeps the store of finished units, and
in the end gives all outputs their names. If the run stops early, either the outputs are complete, or the
run can be resumed, or no file is left behind.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from kipoi_mcdropout.errors import KEPT, NOTHING_KEPT, InputError, OutputError
from kipoi_mcdropout.files.atomic import STDOUT, check_free, sync_folder
from kipoi_mcdropout.files.group import OutputGroup
from kipoi_mcdropout.files.lock import OutputLock, hidden
from kipoi_mcdropout.files.scratch import scratch_folder
from kipoi_mcdropout.runs.fingerprint import differences, fingerprint
from kipoi_mcdropout.runs.shard import Shard
from kipoi_mcdropout.runs.store import (
    RunState,
    UnitStore,
    is_store,
    read_state,
    remove_store,
    shard_as_list,
)

ReadProvenance = Callable[[Path], dict[str, Any] | None]


@dataclass(frozen=True)
class RunPlan:
    """What a run is, and where its outputs go.

    Attributes
    ----------
    kind : str
        "ism" or "score_variants".
    record : dict
        Provenance.
    paths : tuple of Path
        Outputs; "-" is standard output.
    outputs : dict
        What a merge needs to write them from the units, for JSON.
    overwrite : bool
        Replace outputs that exist.
    resume : bool
        Go on where an earlier run was stopped.
    shard : Shard or None
        The share of the units that is computed.
    resumable : bool
        Whether it could be resumed: not where the input or every output is a stream.
    """

    kind: str
    record: dict[str, Any]
    paths: tuple[Path, ...]
    outputs: dict[str, Any]
    overwrite: bool = False
    resume: bool = False
    shard: Shard | None = None
    resumable: bool = True

    @property
    def files(self) -> tuple[Path, ...]:
        """The outputs that are files."""
        return tuple(path for path in self.paths if str(path) != STDOUT)

    def state(self) -> RunState:
        """The run as a store has it, all as JSON gives it back."""
        record, outputs = json.loads(json.dumps([self.record, self.outputs]))
        return RunState(self.kind, fingerprint(self.record), record, outputs, shard_as_list(self.shard))


def shard_folder(first_output: Path, shard: Shard) -> Path:
    """Where a shard keeps its units until they are merged."""
    return first_output.parent / f"{first_output.name}.shards" / shard.folder


class RunSession:
    """A run under way; use as a context.

    Parameters
    ----------
    plan : RunPlan
    read_provenance : callable
        Provenance of an output that exists; None for outputs that never have one. Raises InputError
        where it should be there and is not.

    Attributes
    ----------
    nothing_left : bool
        Whether the run that is to be resumed was complete already.
    store : UnitStore
    group : OutputGroup
        The outputs; without any file in a shard.

    Raises
    ------
    OutputError
        If an output cannot be made, exists, or is being written by another run.
    InputError
        If what is to be resumed is damaged, or was begun with other inputs or options.
    """

    store: UnitStore
    group: OutputGroup

    def __init__(self, plan: RunPlan, read_provenance: ReadProvenance | None = None) -> None:
        self.plan = plan
        self.nothing_left = False
        self._stack = contextlib.ExitStack()
        self._begun: Path | None = None  # the store of a run that is not resumed
        try:
            if plan.shard is None:
                self._begin_whole(read_provenance)
            else:
                self._begin_shard(plan.shard)
        except BaseException:
            if self._begun is not None:
                remove_store(self._begun)
            self._stack.close()
            raise

    @property
    def record(self) -> dict[str, Any]:
        """The provenance that the outputs carry: that of the run that was begun."""
        return self.plan.record if self.nothing_left else self.store.record

    def _begin_shard(self, shard: Shard) -> None:
        check_free(self.plan.files, overwrite=True)
        folder = shard_folder(self.plan.files[0], shard)
        _make_folder(folder.parent)
        self._stack.callback(_remove_if_empty, folder.parent)
        self._stack.callback(OutputLock(folder).release)
        self.group = OutputGroup([])
        self.store = self._open_store(folder)
        self.nothing_left = self.store.state.complete and not self.store.state.n_failed

    def _begin_whole(self, read_provenance: ReadProvenance | None) -> None:
        plan = self.plan
        self.group = OutputGroup(plan.paths, plan.overwrite or plan.resume, fresh=False)
        self._stack.callback(self.group.discard)
        if not plan.resumable:
            folder = self._stack.enter_context(scratch_folder()) / "units"
        else:
            folder = self._find_store()
        if plan.resume and (self._complete_naming(folder) or self._is_complete(folder, read_provenance)):
            self.nothing_left = True
            return
        check_free(plan.files, plan.overwrite)
        for file in self.group.files.values():
            file.overwrite = plan.overwrite
            file.remove_leftovers()
        self.store = self._open_store(folder)

    def _find_store(self) -> Path:
        """The store beside one of the outputs if there is one, else beside the first; others go."""
        folders = [hidden(file.target, "units") for file in self.group.files.values()]
        there = [folder for folder in folders if is_store(folder)]
        return (there or folders)[0]

    def _open_store(self, folder: Path) -> UnitStore:
        state = self.plan.state()
        if self.plan.resume and is_store(folder):
            return UnitStore.reopen(folder, state)
        if self.plan.resumable:
            for other in (hidden(file.target, "units") for file in self.group.files.values()):
                if other != folder and is_store(other):
                    remove_store(other)
        self._begun = folder
        return UnitStore.begin(folder, state, durable=self.plan.resumable)

    def _complete_naming(self, folder: Path) -> bool:
        """Finish a run that was killed while its outputs got their names."""
        if not is_store(folder):
            return False
        before, now = read_state(folder), self.plan.state()
        if not before.naming or before.outputs != now.outputs or before.fingerprint != now.fingerprint:
            return False
        pairs = [(Path(temporary), Path(final)) for temporary, final in before.naming]
        if not all(temporary.exists() or final.exists() for temporary, final in pairs):
            return False  # written again from the units
        for temporary, final in pairs:
            if temporary.exists():
                os.replace(temporary, final)
                sync_folder(final.parent)
        remove_store(folder)
        return True

    def _is_complete(self, folder: Path, read_provenance: ReadProvenance | None) -> bool:
        """Whether all outputs are there already and are of this very run."""
        files = self.plan.files
        if read_provenance is None or is_store(folder) or not all(path.exists() for path in files):
            return False
        wanted, n_known = fingerprint(self.plan.record), 0
        for path in files:
            try:
                record = read_provenance(path)
                found = wanted if record is None else fingerprint(record)
            except (InputError, KeyError):
                return False
            n_known += record is not None
            if other := differences(found, wanted):
                if self.plan.overwrite:
                    return False
                raise OutputError(
                    f"output {path} exists and is from a run with other inputs or options; they differ "
                    f"in: {', '.join(other)}. Add --overwrite to replace it, or choose another name"
                )
        return n_known > 0

    def finish(self, n_units: int, n_failed: int, remove: Iterable[Path] = ()) -> None:
        """All units are done and all outputs written: give these their names, or end the shard.

        Parameters
        ----------
        n_units : int
            Of the whole run.
        n_failed : int
            Of this run or shard.
        remove : iterable of Path
            Files that an earlier run has left and that no longer hold.
        """
        if self.plan.shard is not None:
            self.store.update(n_units=n_units, complete=True, n_failed=n_failed)
            return
        self.group.commit(lambda: self.store.update(n_units=n_units, naming=self.group.names()))
        for path in remove:
            path.unlink(missing_ok=True)
        self.store.remove()

    def kept_words(self) -> str:
        """What is left for --resume, in words."""
        if self.nothing_left or not hasattr(self, "store"):
            return NOTHING_KEPT
        return KEPT if self._is_kept() else NOTHING_KEPT

    def _is_kept(self) -> bool:
        return self.group.is_naming or self.store.is_worth_keeping()

    def __enter__(self) -> RunSession:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is not None:
                error.kept_words = self.kept_words()  # type: ignore[attr-defined]
                if hasattr(self, "store") and not self._is_kept():
                    self.store.remove()
        finally:
            self._stack.close()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the shards need the folder {folder}, which cannot be made: {error.strerror}. Choose "
            "another place or name"
        ) from error


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def absolute(paths: Sequence[Path]) -> list[str]:
    """Complete paths, for run.json; "-" stays."""
    return [str(path) if str(path) == STDOUT else str(path.absolute()) for path in paths]


def without_shard(command: Sequence[str] | None) -> list[str] | None:
    """A command line without its --shard, which is that of the whole run."""
    if command is None:
        return None
    words = [word for word in command if not word.startswith("--shard=")]
    if "--shard" in words:
        at = words.index("--shard")
        del words[at : at + 2]
    return words
