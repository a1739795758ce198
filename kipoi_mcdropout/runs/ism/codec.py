"""The effects of a block of substitutions as plain values for the store, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.effects.saturation import SequenceEffects
from kipoi_mcdropout.files.record import SequenceRecord, range_of
from kipoi_mcdropout.outputs.targets import Targets
from kipoi_mcdropout.runs.ism.units import Block
from kipoi_mcdropout.runs.schedule import Failure
from kipoi_mcdropout.runs.summaries import decode_summaries, encode_summaries
from kipoi_mcdropout.runs.unit_file import StoredUnit
from kipoi_mcdropout.sequence.layout import layout_from_dict
from kipoi_mcdropout.sequence.mutants import Substitutions


class IsmCodec:
    """See `compute.Codec`."""

    def name(self, block: Block) -> str:
        """The sequence, for messages."""
        return f"sequence {block.sequence} ({block.name})"

    def encode(self, block: Block, result: SequenceEffects | Failure | None) -> StoredUnit:
        """The unit's file: its statistics as float32, as the outputs hold them; or why it failed."""
        about: dict[str, Any] = {
            "sequence": block.sequence, "name": block.name, "block": block.number, "of": block.of,
        }  # fmt: skip
        if not isinstance(result, SequenceEffects):
            return StoredUnit(about, failed="not computed" if result is None else result.reason)
        summaries, arrays = encode_summaries(result.summaries, np.float32)
        about |= {**_about(result), **summaries, "metadata": list(block.metadata)}
        arrays |= {f"edits/{name}": x for name, x in result.substitutions._asdict().items()}
        arrays |= {f"metadata/{i}": _plain(x) for i, x in enumerate(block.metadata.values())}
        return StoredUnit(about, {**arrays, "codes": result.reference})


def failure_row(stored: StoredUnit) -> dict[str, Any]:
    """Row of the table of failed sequences."""
    return {
        "sequence": stored.about["sequence"], "name": stored.about["name"], "reason": stored.failed,
    }  # fmt: skip


def _about(effects: SequenceEffects) -> dict[str, Any]:
    """What `decode` needs beside the arrays, as plain values for JSON."""
    return {
        "layout": effects.layout.to_dict(),
        "window": list(effects.window),
        "labels": list(effects.targets.labels),
        "columns": [int(c) for c in effects.targets.columns],
        "n_outputs": effects.targets.n_outputs,
    }


def _plain(value: Any) -> NDArray[Any]:
    """A value of the metadata as an array without Python objects; texts as dtype str."""
    array = np.asarray(value)
    return array.astype(str) if array.dtype.kind == "O" else array


def decode(stored: StoredUnit) -> SequenceRecord:
    """The block in a unit's file that did not fail; the inverse of `IsmCodec.encode`."""
    about, arrays = stored.about, stored.arrays
    edits = Substitutions(*(arrays[f"edits/{name}"] for name in Substitutions._fields))
    metadata = {key: arrays[f"metadata/{i}"][()] for i, key in enumerate(about["metadata"])}
    effects = SequenceEffects(
        layout_from_dict(about["layout"]),
        arrays["codes"],
        (about["window"][0], about["window"][1]),
        edits,
        Targets(tuple(about["labels"]), tuple(about["columns"]), about["n_outputs"]),
        decode_summaries(about, arrays),
    )
    return SequenceRecord(about["sequence"], effects, metadata, range_of(metadata))
