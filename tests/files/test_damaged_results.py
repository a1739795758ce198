"""A result that was cut or damaged is refused in one line, with exit code 2, by all that read it."""

from __future__ import annotations

import fcntl
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import h5py
import pandas as pd
import pytest
from toy import make_toy

from kipoi_mcdropout.cli import cli_main, interpret_ism
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.files.atomic import write_tsv
from kipoi_mcdropout.files.open_hdf5 import open_hdf5
from kipoi_mcdropout.files.read import read_effects, read_provenance
from kipoi_mcdropout.files.read_tables import read_header, read_table

SUFFIXES = ("h5", "tsv", "tsv.gz", "parquet")
PAIR = ["--exposure", "FOXA2", "--outcome", "DNase"]
# Of each command: what comes after its name, {} being the result and OUT what it writes.
COMMANDS = {
    "mr": ["{}", *PAIR, "-o", "OUT.tsv"],
    "export_mr": ["{}", *PAIR, "-o", "OUT"],
    "calibrate": ["{}", "measured.tsv", "--target", "DNase", "-o", "OUT.tsv"],
    "plot": ["volcano", "{}", "--target", "DNase", "-o", "OUT.svg"],
    "report": ["{}", "-o", "OUT.html"],
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    toy = make_toy(folder / "toy")
    words = [str(toy.model), "--source", "dir", "--dataloader_args", json.dumps(toy.dataloader_args)]
    words += ["--n_draws", "4"]
    outputs = [str(folder / f"r.{suffix}") for suffix in SUFFIXES]
    interpret_ism("ism", [*words, "--model_input", "seq", "-o", *outputs])
    cli_main("mcdropout", ["predict", *words, "-o", *(o.replace("/r.", "/p.") for o in outputs)])
    (folder / "measured.tsv").write_text("variant\teffect\na\t1\n")
    return folder


def refused(
    command: str, path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], code: int = 2
) -> str:
    """The one line on stderr of a command that refuses the result."""
    places = {"{}": str(path), "measured.tsv": str(tmp_path / "measured.tsv")}
    (tmp_path / "measured.tsv").write_text("variant\teffect\na\t1\n")
    before = set(tmp_path.iterdir())
    words = [w.replace("OUT", str(tmp_path / "out")) for w in COMMANDS[command]]
    with pytest.raises(SystemExit) as stop:
        cli_main("mcdropout", [command, *(places.get(w, w) for w in words)])
    (line,) = capsys.readouterr().err.splitlines()
    assert stop.value.code == code, line
    assert str(path) in line
    assert set(tmp_path.iterdir()) == before
    return line


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def whole_lines(data: bytes) -> bytes:
    """The first half, cut at the end of a line."""
    return data[: data.index(b"\n", len(data) // 2) + 1]


def flipped(data: bytes) -> bytes:
    """A byte of the data is another: in the middle, which is in a compressed block."""
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :]


def last_field_missing(data: bytes) -> bytes:
    lines = data.split(b"\n")
    lines[5] = lines[5].rpartition(b"\t")[0]
    return b"\n".join(lines)


def a_word_for_a_number(data: bytes) -> bytes:
    lines = data.split(b"\n")
    fields = lines[5].split(b"\t")
    fields[lines[1].split(b"\t").index(b"effect_mean")] = b"much"
    lines[5] = b"\t".join(fields)
    return b"\n".join(lines)


DAMAGE: list[tuple[str, Callable[[bytes], bytes]]] = [
    *((suffix, half) for suffix in SUFFIXES),
    *((suffix, lambda _data: b"") for suffix in SUFFIXES),
    *((suffix, lambda _data: bytes(range(256)) * 9) for suffix in SUFFIXES),
    ("tsv", whole_lines),
    ("tsv", last_field_missing),
    ("tsv", a_word_for_a_number),
    ("tsv", lambda data: data + data.split(b"\n")[-2] + b"\n"),
    ("tsv", lambda data: data.replace(b'"n_draws"', b"n_draws", 1)),
    ("tsv.gz", flipped),
    ("parquet", flipped),
]


@pytest.mark.parametrize("number", range(len(DAMAGE)))
@pytest.mark.parametrize("command", COMMANDS)
def test_damaged_results_are_refused(
    command: str, number: int, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suffix, damage = DAMAGE[number]
    path = tmp_path / f"r.{suffix}"
    path.write_bytes(damage((results / f"r.{suffix}").read_bytes()))
    refused(command, path, tmp_path, capsys)


def test_a_damaged_block_of_hdf5_is_refused(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.h5"
    path.write_bytes((results / "r.h5").read_bytes())
    with h5py.File(path, "r") as file:
        at = file["scores/diff/effect_mean"].id.get_chunk_info(0).byte_offset
    data = bytearray(path.read_bytes())
    data[at : at + 40] = b"\0" * 40
    path.write_bytes(bytes(data))
    for command in ("mr", "report"):
        assert "cannot be read" in refused(command, path, tmp_path, capsys)


def test_what_was_cut_is_said(results: Path, tmp_path: Path) -> None:
    n = len(read_effects(results / "r.tsv"))
    assert read_header(results / "r.tsv").n_rows == n
    data = (results / "r.tsv").read_bytes()
    path = tmp_path / "r.tsv"
    path.write_bytes(whole_lines(data))
    with pytest.raises(InputError, match=rf"of the {n} rows that its first line says"):
        read_effects(path)
    path.write_bytes(data[:-3])
    with pytest.raises(InputError, match="ends in the middle of a line"):
        read_effects(path)
    # Rows that were removed on purpose, as the message says.
    first, rest = whole_lines(data).split(b"\n", 1)
    path.write_bytes(first.split(b', "rows"')[0] + b"}\n" + rest)
    assert len(read_effects(path)) < n
    assert read_provenance(path) == read_provenance(results / "r.tsv")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("command", COMMANDS)
def test_predictions_are_no_effects(
    command: str, suffix: str, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused(command, results / f"p.{suffix}", tmp_path, capsys)
    assert "cannot show" in line if command == "report" and suffix != "h5" else "predict" in line


def test_tables_of_mr_say_how_many_rows_they_have(tmp_path: Path) -> None:
    table = pd.DataFrame({"exposure": ["a\tb", "#c", "NA"], "estimate": [1.0, 2.0, 3.0]})
    write_tsv(table, tmp_path / "t.tsv", provenance={"seed": 1})
    assert read_header(tmp_path / "t.tsv").n_rows == 3
    assert read_table(tmp_path / "t.tsv")["exposure"].tolist() == ["a\tb", "#c", "NA"]
    text = (tmp_path / "t.tsv").read_text().splitlines(keepends=True)
    (tmp_path / "t.tsv").write_text("".join(text[:-1]))
    with pytest.raises(InputError, match="has 2 of the 3 rows"):
        read_table(tmp_path / "t.tsv")


def test_a_gzipped_table_of_another_program_is_read(results: Path, tmp_path: Path) -> None:
    path = tmp_path / "r.tsv.gz"
    path.write_bytes(gzip.compress((results / "r.tsv").read_bytes()))
    pd.testing.assert_frame_equal(read_effects(path), read_effects(results / "r.tsv"))


def test_a_lock_of_another_program_does_not_hinder_reading(results: Path) -> None:
    with (results / "r.h5").open("rb+") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert len(read_effects(results / "r.h5")) > 100


def test_a_file_that_cannot_be_locked_is_no_bad_file(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*args: object, **options: object) -> None:
        raise OSError("Unable to synchronously open file (unable to lock file, errno = 37)")

    monkeypatch.setattr(h5py, "File", no_locks)
    line = refused("mr", results / "r.h5", tmp_path, capsys, code=1)
    assert "HDF5_USE_FILE_LOCKING=FALSE" in line
    with pytest.raises(OSError, match="may be sound"):
        open_hdf5(results / "r.h5")
