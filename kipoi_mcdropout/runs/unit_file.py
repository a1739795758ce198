"""The file of a finished unit: its result, with data to check that it is complete and the right one.

kipoi_mcdropout unit 1
{"number": 12, "run": ..., "inputs": ..., "failed": null, "empty": false, "about": {...}, "arrays": ...}
the arrays, each at a multiple of 8 bytes
SHA-256 of everything before it, 64 hexadecimal digits
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.atomic import replace_file

_MAGIC = b"kipoi_mcdropout unit 1\n"
_ALIGN = 8
_DIGEST = 64


class DamagedUnitError(InputError):
    """The file of a unit is cut, changed, or of another unit or run."""


@dataclass(frozen=True)
class StoredUnit:
    """The result of a unit as plain values.

    Attributes
    ----------
    about : dict
        Values for JSON.
    arrays : dict of str to numpy.ndarray
        Numbers and texts of fixed width.
    failed : str or None
        Why the unit could not be computed.
    empty : bool
        Whether there was nothing to compute.
    """

    about: dict[str, Any]
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    failed: str | None = None
    empty: bool = False


@dataclass(frozen=True)
class UnitIdentity:
    """Which unit of which run a file holds."""

    number: int  # in the whole run, from 0
    run: str  # digest of the run's fingerprint
    inputs: str | None  # digest of the unit's inputs; None where they are not at hand


def write_unit(path: Path, identity: UnitIdentity, unit: StoredUnit, durable: bool = True) -> None:
    """Write the file of a unit atomically."""
    replace_file(path, _with_digest(_pieces(identity, unit)), durable)


def _pieces(identity: UnitIdentity, unit: StoredUnit) -> Iterator[Any]:
    arrays = {name: np.ascontiguousarray(values) for name, values in unit.arrays.items()}
    head = {
        "number": identity.number, "run": identity.run, "inputs": identity.inputs,
        "failed": unit.failed, "empty": unit.empty, "about": unit.about,
        "arrays": [[name, x.dtype.str, list(np.shape(unit.arrays[name]))] for name, x in arrays.items()],
    }  # fmt: skip
    text = _MAGIC + json.dumps(head).encode()
    yield text + b" " * (-(len(text) + 1) % _ALIGN) + b"\n"
    for x in arrays.values():
        yield x.reshape(-1).view(np.uint8).data if x.size else b""
        yield b"\0" * (-x.nbytes % _ALIGN)


def _with_digest(pieces: Iterator[Any]) -> Iterator[Any]:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
        yield piece
    yield digest.hexdigest().encode()


def read_unit(path: Path, identity: UnitIdentity) -> StoredUnit:
    """Read the file of a unit back.

    Raises
    ------
    DamagedUnitError
        If the file is missing, cut or changed, or holds another unit, or one of another run or input.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DamagedUnitError(f"{path} cannot be read: {error.strerror}") from error
    view = memoryview(data)
    body, end = view[:-_DIGEST], bytes(view[-_DIGEST:])
    if not data.startswith(_MAGIC) or hashlib.sha256(body).hexdigest().encode() != end:
        raise DamagedUnitError(f"{path} is damaged: its checksum does not match. {_REMEDY}")
    newline = data.index(b"\n", len(_MAGIC))
    head = json.loads(data[len(_MAGIC) : newline])
    _check(path, head, identity)
    return StoredUnit(head["about"], _arrays(body[newline + 1 :], head), head["failed"], head["empty"])


_REMEDY = "Remove that file and run the same command with --resume: the unit is computed again"


def _check(path: Path, head: Mapping[str, Any], identity: UnitIdentity) -> None:
    if head["number"] != identity.number:
        raise DamagedUnitError(
            f"{path} must hold unit {identity.number}; it holds unit {head['number']}. {_REMEDY}"
        )
    if head["run"] != identity.run:
        raise DamagedUnitError(f"{path} is from another run, with other inputs or options. {_REMEDY}")
    if identity.inputs is not None and head["inputs"] != identity.inputs:
        raise DamagedUnitError(
            f"unit {identity.number} of the data has changed since {path} was written; resume a run or "
            "merge shards only with the same data. Run without --resume to start again from the "
            "beginning"
        )


def _arrays(body: memoryview, head: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    arrays, begin = {}, 0
    for name, dtype, shape in head["arrays"]:
        count = int(np.prod(shape, dtype=np.int64))
        x = np.frombuffer(body, np.dtype(dtype), count, begin) if count else np.empty(0, dtype)
        arrays[name] = x.reshape(shape)
        begin += x.nbytes + -x.nbytes % _ALIGN
    return arrays


def has_failed(path: Path) -> bool:
    """Whether the file says that its unit failed; not checked further."""
    with path.open("rb") as file:
        if file.readline() != _MAGIC:
            return False
        line = file.readline()
    try:
        return json.loads(line)["failed"] is not None
    except (ValueError, KeyError, TypeError):
        return False
