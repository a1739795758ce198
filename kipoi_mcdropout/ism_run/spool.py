"""Finished sequences on disk, one file each, until the outputs are whole: what a run is resumed from."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kipoi_mcdropout.effects import EffectSummary
from kipoi_mcdropout.encoding import OneHotLayout
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.mutants import Substitutions
from kipoi_mcdropout.nested import Nested, leaves
from kipoi_mcdropout.outputs import Targets
from kipoi_mcdropout.saturation import SequenceEffects
from kipoi_mcdropout.scores import get_score
from kipoi_mcdropout.writers.journal import Journal
from kipoi_mcdropout.writers.record import SequenceRecord, range_of
from kipoi_mcdropout.writers.shards import JOURNAL

_GROUPS = ("reference", "mutant", "counts")


class Spool:
    """A folder of sequences.

    Parameters
    ----------
    folder : Path
    fingerprint : mapping
        All that the results depend on.
    resume : bool
        Keep what is there; else it is removed.

    Raises
    ------
    InputError
        If what is there is of a run with other inputs or options.
    """

    def __init__(self, folder: Path, fingerprint: Mapping[str, Any], resume: bool) -> None:
        self.folder = folder
        self._journal = Journal(folder / JOURNAL, fingerprint)
        if not resume and folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if self._journal.read() is None:
            self._journal.write({"complete": False})

    def has(self, index: int) -> bool:
        """Whether a sequence is done."""
        return sequence_path(self.folder, index).is_file()

    def save(self, record: SequenceRecord, digest: str) -> None:
        """Keep a sequence; `digest` is that of its inputs."""
        path = sequence_path(self.folder, record.index)
        temporary = path.with_suffix(".new")
        try:
            with temporary.open("wb") as file:
                np.savez(file, **_arrays(record, digest))
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        failure_path(self.folder, record.index).unlink(missing_ok=True)

    def save_failure(self, row: Mapping[str, Any]) -> None:
        """Note that the sequence of a row could not be computed; resumed runs try it again."""
        failure_path(self.folder, row["sequence"]).write_text(json.dumps(row))

    def load(self, index: int, digest: str) -> SequenceRecord:
        """A sequence that is done.

        Raises
        ------
        InputError
            If its inputs were others.
        """
        record, before = load_sequence(self.folder, index)
        if before != digest:
            raise InputError(
                f"the dataloader gives another sequence {index} than it gave before; a run can only be "
                "resumed with the data that it began with. Run without --resume to begin anew"
            )
        return record

    def complete(self, n_sequences: int) -> None:
        """Note that all that this run is to do is done."""
        self._journal.write({"complete": True, "n_sequences": n_sequences})

    def remove(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.folder)

    def is_empty(self) -> bool:
        """Whether nothing was done yet."""
        return not any(self.folder.glob("*.npz"))


class NoSpool:
    """Keeps nothing: for a run that has no file beside which it could."""

    def has(self, index: int) -> bool:
        """Whether a sequence is done: never."""
        return False

    def save(self, record: SequenceRecord, digest: str) -> None:
        """Nothing is kept."""

    def save_failure(self, row: Mapping[str, Any]) -> None:
        """Nothing is kept."""

    def load(self, index: int, digest: str) -> SequenceRecord:
        """There is none."""
        raise LookupError(index)

    def complete(self, n_sequences: int) -> None:
        """Nothing is kept."""

    def remove(self) -> None:
        """There is nothing."""

    def is_empty(self) -> bool:
        """Whether nothing was done yet."""
        return True


def inputs_digest(inputs: Nested) -> str:
    """SHA-256 of the inputs of a sequence."""
    digest = hashlib.sha256()
    for path, leaf in leaves(inputs):
        array = np.ascontiguousarray(leaf)
        digest.update(repr((path, array.shape, str(array.dtype))).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def sequence_path(folder: Path, index: int) -> Path:
    """The file of a sequence, by its number in the order of the dataloader."""
    return folder / f"{index:09d}.npz"


def failure_path(folder: Path, index: int) -> Path:
    """The file of a sequence that could not be computed."""
    return folder / f"{index:09d}.failed.json"


def _arrays(record: SequenceRecord, digest: str) -> dict[str, Any]:
    effects = record.effects
    about = {
        "index": record.index,
        "digest": digest,
        "shape": list(effects.layout.shape),
        "category_axis": effects.layout.category_axis,
        "alphabet": effects.layout.alphabet,
        "window": list(effects.window),
        "labels": list(effects.targets.labels),
        "columns": [int(c) for c in effects.targets.columns],
        "n_outputs": effects.targets.n_outputs,
        "scores": [[summary.score.name, summary.n_draws] for summary in effects.summaries],
        "quantiles": list(effects.summaries[0].quantiles),
        "metadata": list(record.metadata),
    }
    arrays: dict[str, Any] = {"about": json.dumps(about), "codes": effects.reference}
    arrays |= {f"edits/{name}": x for name, x in effects.substitutions._asdict().items()}
    arrays |= {f"metadata/{i}": _plain(x) for i, x in enumerate(record.metadata.values())}
    for s, summary in enumerate(effects.summaries):
        for group in _GROUPS:
            for name, values in getattr(summary, group).items():
                # What the outputs hold of them, so that those of a resumed run are the same.
                narrow = values if group == "counts" else values.astype(np.float32)
                arrays[f"{s}/{group}/{name}"] = narrow
        for q, values in enumerate(summary.quantiles.values()):
            arrays[f"{s}/quantiles/{q}"] = values.astype(np.float32)
        if summary.draws is not None:
            arrays[f"{s}/draws"] = summary.draws
    return arrays


def _plain(value: Any) -> np.ndarray:
    array = np.asarray(value)
    return array.astype(str) if array.dtype.kind == "O" else array


def load_sequence(folder: Path, index: int) -> tuple[SequenceRecord, str]:
    """A sequence that was kept, and the digest of its inputs.

    Raises
    ------
    InputError
        If it is not there, or damaged.
    """
    path = sequence_path(folder, index)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            about = json.loads(str(arrays["about"]))
            return _record(arrays, about), about["digest"]
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise InputError(
            f"{path} is missing or damaged ({error}); remove it and resume the run"
        ) from error


def _record(arrays: Mapping[str, np.ndarray], about: dict[str, Any]) -> SequenceRecord:
    names = ("position", "alt", "without_base")
    edits = Substitutions(*(arrays[f"edits/{name}"] for name in names))
    summaries = []
    for s, (score, n_draws) in enumerate(about["scores"]):
        reference, mutant, counts = (_named(arrays, f"{s}/{group}/") for group in _GROUPS)
        quantiles = {q: arrays[f"{s}/quantiles/{i}"] for i, q in enumerate(about["quantiles"])}
        draws = arrays.get(f"{s}/draws")
        summaries.append(
            EffectSummary(get_score(score), n_draws, reference, mutant, counts, quantiles, draws)
        )
    metadata = {key: arrays[f"metadata/{i}"][()] for i, key in enumerate(about["metadata"])}
    effects = SequenceEffects(
        OneHotLayout(tuple(about["shape"]), about["category_axis"], about["alphabet"]),
        arrays["codes"],
        tuple(about["window"]),
        edits,
        Targets(tuple(about["labels"]), tuple(about["columns"]), about["n_outputs"]),
        summaries,
    )
    return SequenceRecord(about["index"], effects, metadata, range_of(metadata))


def _named(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, Any]:
    return {key.removeprefix(prefix): arrays[key] for key in arrays if key.startswith(prefix)}
