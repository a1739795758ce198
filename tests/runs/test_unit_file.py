"""A unit's file is whole and the right one, or it is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.runs.store import RUN_FILE, RunState, UnitStore, read_state
from kipoi_mcdropout.runs.unit_file import (
    DamagedUnitError,
    StoredUnit,
    UnitIdentity,
    read_unit,
    write_unit,
)

IDENTITY = UnitIdentity(3, "a run", "its inputs")
UNIT = StoredUnit(
    {"name": "région"},
    {
        "float": np.array([[0.1, np.nan], [np.inf, -0.0]]),
        "narrow": np.arange(3, dtype=np.float32),
        "text": np.array(["chr1", "chrX"]),
        "scalar": np.asarray(7),
        "empty": np.empty((0, 5)),
        "codes": np.array([1, 2, 3], np.uint8),
    },
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "3.unit"
    write_unit(path, IDENTITY, UNIT)
    return path


def test_what_was_written_comes_back(path: Path) -> None:
    found = read_unit(path, IDENTITY)
    assert (found.about, found.failed, found.empty) == (UNIT.about, None, False)
    assert list(found.arrays) == list(UNIT.arrays)
    for name, values in UNIT.arrays.items():
        assert found.arrays[name].dtype == values.dtype
        assert found.arrays[name].shape == values.shape
        assert found.arrays[name].tobytes() == values.tobytes()
        assert found.arrays[name].flags.aligned


def test_every_changed_byte_and_every_cut_is_noticed(path: Path) -> None:
    data = path.read_bytes()
    for i in range(len(data)):
        path.write_bytes(data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :])
        with pytest.raises(DamagedUnitError, match=r"3\.unit is damaged"):
            read_unit(path, IDENTITY)
        path.write_bytes(data[:i])
        with pytest.raises(DamagedUnitError, match=r"3\.unit is damaged"):
            read_unit(path, IDENTITY)
    path.write_bytes(data + b"\0")
    with pytest.raises(DamagedUnitError):
        read_unit(path, IDENTITY)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (UnitIdentity(4, "a run", "its inputs"), "must hold unit 4; it holds unit 3"),
        (UnitIdentity(3, "another", "its inputs"), "is from another run"),
        (UnitIdentity(3, "a run", "others"), "unit 3 of the data has changed"),
    ],
)
def test_the_file_of_another_unit_is_refused(path: Path, other: UnitIdentity, message: str) -> None:
    with pytest.raises(DamagedUnitError, match=message):
        read_unit(path, other)
    assert read_unit(path, UnitIdentity(3, "a run", None)).about == UNIT.about


def state(**changes: object) -> RunState:
    record = {"seed": 0}
    return RunState("ism", {"seed": 0}, record, {"files": ["/out.h5"]}, **changes)  # type: ignore[arg-type]


def test_a_store_is_reopened_with_its_own_record(tmp_path: Path) -> None:
    store = UnitStore.begin(tmp_path / "s", state())
    store.save(0, "digest", UNIT)
    store.save(1, "digest", StoredUnit({}, failed="no memory"))
    (tmp_path / "s/000000002.unit.new").write_bytes(b"half")
    later = RunState("ism", {"seed": 0}, {"seed": 0, "date": "later"}, {"files": ["/out.h5"]})
    found = UnitStore.reopen(tmp_path / "s", later)
    assert found.record == {"seed": 0}
    assert [found.has(i) for i in range(3)] == [True, False, False]
    assert found.load(1, "digest").failed == "no memory"
    assert not (tmp_path / "s/000000002.unit.new").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe\0\1", b"null", b'{"state": 3}'])
def test_a_damaged_run_file_is_named(tmp_path: Path, content: bytes) -> None:
    UnitStore.begin(tmp_path / "s", state())
    (tmp_path / "s" / RUN_FILE).write_bytes(content)
    with pytest.raises(InputError, match=r"run\.json is missing or damaged"):
        UnitStore.reopen(tmp_path / "s", state())


def test_a_flipped_digit_in_the_run_file_is_noticed(tmp_path: Path) -> None:
    UnitStore.begin(tmp_path / "s", state(shard=[1, 3], n_units=7))
    path = tmp_path / "s" / RUN_FILE
    for before, after in ((b'"n_units": 7', b'"n_units": 6'), (b"[1, 3]", b"[2, 3]")):
        text = path.read_bytes()
        assert before in text
        path.write_bytes(text.replace(before, after))
        with pytest.raises(InputError, match="its checksum does not match"):
            read_state(tmp_path / "s")
        path.write_bytes(text)
