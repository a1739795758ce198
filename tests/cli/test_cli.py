"""The commands as a user runs them: outputs, exit codes, messages, and nothing half-written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from kipoi.readers import HDF5Reader
from toy import LENGTH, Toy, make_toy

from kipoi_mcdropout.cli import cli_main, interpret_feature_importance, interpret_ism

pytestmark = pytest.mark.usefixtures("small_models_are_captured")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return make_toy(tmp_path_factory.mktemp("toy"))


def _model_words(toy: Toy) -> list[str]:
    data = json.dumps(toy.dataloader_args)
    return [str(toy.model), "--source", "dir", "--dataloader_args", data]


def _ism(toy: Toy, *words: str) -> None:
    interpret_ism("ism", [*_model_words(toy), "--model_input", "seq", "--n_draws", "3", *words])


def test_the_three_formats_hold_the_same_numbers(toy: Toy, tmp_path: Path) -> None:
    files = [str(tmp_path / name) for name in ("a.h5", "a.tsv", "a.parquet", "b.tsv.gz")]
    _ism(toy, "-s", "diff", "logit", "--quantiles", "0.05", "--keep_draws", "-o", *files)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "a.parquet", "a.tsv", "b.tsv.gz"]

    parquet = pd.read_parquet(files[2])
    tsv = pd.read_table(files[1], skiprows=1)
    zipped = pd.read_table(files[3], skiprows=1)
    assert list(tsv) == list(parquet)
    pd.testing.assert_frame_equal(tsv, zipped)
    n_mutated = 3 * LENGTH - 2  # the third sequence has two N
    assert len(parquet) == n_mutated * 3 * 3 * 2  # alternatives, outputs, scores
    for column in parquet.select_dtypes("number"):
        np.testing.assert_allclose(tsv[column], parquet[column], rtol=2e-7)

    with h5py.File(files[0]) as file:
        labels = [label.decode() for label in file["output"]]
        assert [d.label for d in file["scores/diff/effect_sd"].dims] == [
            "sequence", "position", "alt", "output",
        ]  # fmt: skip
        assert file["scores/diff/effect_sd"].dims[3][0].name == "/output"
        assert file["scores/diff/effect_draws"].shape == (3, LENGTH, 4, 3, 3)
        draws = file["scores/diff/effect_draws"][:]
        np.testing.assert_allclose(
            draws.std(-1, ddof=1), file["scores/diff/effect_sd"][:], rtol=1e-4, atol=1e-7
        )
        rows = parquet[parquet.score == "logit"]
        for name in ("effect_mean", "effect_sd", "effect_q0.05", "alt_var", "n_saturated"):
            values = file[f"scores/logit/{name}"][:]
            base = rows.alt.map("ACGT".index)
            output = rows.output.map(labels.index)
            np.testing.assert_array_equal(
                values[rows.sequence, rows.position, base, output], rows[name].astype(np.float32)
            )
            assert np.isfinite(values).sum() == len(rows)
        reference = [row.tobytes().decode() for row in file["reference"]]

    read_back = HDF5Reader.load(files[0])
    assert list(read_back["metadata"]["ranges"]["id"]) == ["region0", "region1", "region2"]
    assert list(read_back["metadata"]["ranges"]["start"]) == [0, LENGTH, 2 * LENGTH]
    genome = toy.fasta.read_text().splitlines()[1].upper()
    assert "".join(reference) == genome
    assert (parquet.ref == [genome[pos - 1] for pos in parquet.pos]).all(), "pos is 1-based"
    assert (parquet.ref != parquet.alt).all()
    assert set(parquet.name) == {"region0", "region1", "region2"}


def test_every_output_carries_its_provenance(toy: Toy, tmp_path: Path) -> None:
    import hashlib

    import pyarrow.parquet

    files = [str(tmp_path / name) for name in ("a.h5", "a.tsv", "a.parquet")]
    _ism(toy, "--seed", "7", "--target", "DNase", "-o", *files)
    with h5py.File(files[0]) as file:
        records = [json.loads(file.attrs["provenance"])]
    first_line = Path(files[1]).read_text().splitlines()[0]
    records.append(json.loads(first_line[2:])["kipoi_mcdropout"])
    metadata = pyarrow.parquet.read_schema(files[2]).metadata
    records.append(json.loads(metadata[b"kipoi_mcdropout"]))
    assert records[0] == records[1] == records[2]
    record = records[0]
    assert record["seed"] == 7
    assert record["n_draws"] == 3
    assert record["sites"] == [
        {"site": 0, "name": "drop", "kind": "dropout", "p": 0.5, "mask_shape": [1, 6, LENGTH]}
    ]
    assert record["files"]["fasta_file"]["sha256"] == hashlib.sha256(toy.fasta.read_bytes()).hexdigest()
    assert record["versions"]["torch"]
    assert record["command"][:3] == ["kipoi", "interpret", "ism"]
    assert len(record["model"]["weights_sha256"]) == 64


def test_three_ways_to_the_same_table(toy: Toy, tmp_path: Path) -> None:
    words = [*_model_words(toy), "--model_input", "seq", "--n_draws", "3"]
    interpret_ism("ism", [*words, "--method", "mcdropout_ism", "-o", str(tmp_path / "a.tsv")])
    cli_main("mcdropout", ["ism", *words, "-o", str(tmp_path / "b.tsv")])
    kwargs = json.dumps({"model_input": "seq", "n_draws": 3})
    interpret_feature_importance(
        "feature_importance",
        [*_model_words(toy), "--imp_score", "mcdropout_ism", "--imp_score_kwargs", kwargs,
         "-o", str(tmp_path / "c.tsv")],
    )  # fmt: skip
    tables = [(tmp_path / f"{name}.tsv").read_text().split("\n", 1)[1] for name in "abc"]
    assert tables[0] == tables[1] == tables[2]
    assert len(tables[0]) > 10_000


def test_window_and_target_limit_what_is_written(toy: Toy, tmp_path: Path) -> None:
    _ism(toy, "--start", "2", "--end", "5", "--target", "FOXA*", "-o", str(tmp_path / "a.parquet"),
         str(tmp_path / "a.h5"))  # fmt: skip
    table = pd.read_parquet(tmp_path / "a.parquet")
    assert set(table.position) == {2, 3, 4}
    assert set(table.output) == {"FOXA1", "FOXA2"}
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["scores/diff/effect_sd"].shape == (3, 3, 4, 2)
        assert list(file["position"]) == [2, 3, 4]


def test_batches_of_the_dataloader_do_not_matter(toy: Toy, tmp_path: Path) -> None:
    for size in ("1", "2", "3"):
        _ism(toy, "--batch_size", size, "-o", str(tmp_path / f"{size}.parquet"))
    one, *others = (pd.read_parquet(tmp_path / f"{size}.parquet") for size in "123")
    for other in others:
        pd.testing.assert_frame_equal(one, other, rtol=0, atol=1e-6, check_exact=False)


def test_positions_without_a_base_are_mentioned(
    toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _ism(toy, "-o", str(tmp_path / "a.tsv"))
    captured = capsys.readouterr()
    assert "sequence region2: 2 positions are N in the reference and are not mutated: 10, 11" in (
        captured.err
    )
    assert "3 sequences, 3 draws" in captured.err


def test_predict_agrees_with_mc_predict(toy: Toy, tmp_path: Path) -> None:
    import kipoi

    from kipoi_mcdropout import mc_predict

    files = [str(tmp_path / "p.tsv"), str(tmp_path / "p.h5"), str(tmp_path / "p.parquet")]
    words = ["--n_draws", "4", "--seed", "2", "--batch_size", "2", "--keep_draws", "-o", *files]
    cli_main("mcdropout", ["predict", *_model_words(toy), *words])
    model = kipoi.get_model(str(toy.model), source="dir")
    inputs = next(model.default_dataloader(**toy.dataloader_args).batch_iter(batch_size=3))["inputs"]
    expected = mc_predict(model, inputs, 4, 2, keep_draws=True)
    np.testing.assert_allclose(expected.draws.mean(0), expected.mean, rtol=1e-6)
    table = pd.read_table(files[0], skiprows=1)
    assert list(table.output) == ["FOXA1", "FOXA2", "DNase"] * 3
    np.testing.assert_allclose(table["mean"], expected.mean.ravel(), atol=1e-6)
    np.testing.assert_allclose(table["sd"], expected.sd.ravel(), atol=1e-6)
    np.testing.assert_allclose(table["point"], model.predict_on_batch(inputs).ravel(), atol=1e-6)
    read_back = HDF5Reader.load(files[1])
    np.testing.assert_allclose(read_back["preds"]["draws"], expected.draws.swapaxes(0, 1), atol=1e-6)
    assert pd.read_parquet(files[2]).name.tolist()[::3] == ["region0", "region1", "region2"]


def test_audit_prints_every_site(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    cli_main("mcdropout", ["audit", str(toy.model), "--source", "dir"])
    random_input = capsys.readouterr().out
    cli_main("mcdropout", ["audit", *_model_words(toy)])
    assert "0     drop    dropout  0.5  1 x 6 x 24  locked" in random_input
    assert "before the first site (the same in every draw): conv" in random_input
    with_data = capsys.readouterr().out
    for text in (random_input, with_data):
        assert "engine auto: full (estimated at" in text
        assert "a sequence with 72 substitutions and 30 draws: about" in text
        conv = next(line for line in text.splitlines() if line.startswith("conv1d"))
        assert "windows, once" in conv
        assert "5 of 24" in conv
    with pytest.raises(SystemExit):
        cli_main("mcdropout", ["audit", *_model_words(toy), "--category_axis", "0"])
    assert "one-hot along axis 0" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["audit", "ism"])
def test_a_model_without_dropout_is_an_error(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = make_toy(tmp_path / "still", p=0.0)
    words = ["-o", str(tmp_path / "a.tsv"), "--model_input", "seq"] if command == "ism" else []
    with pytest.raises(SystemExit) as stop:
        cli_main("mcdropout", [command, *_model_words(toy), *words])
    assert stop.value.code == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert "nothing is random in the model" in message
    assert "drop: p = 0" in message
    assert not (tmp_path / "a.tsv").exists()


BAD_INPUT = {
    "wrong model_input": ([], ["--model_input", "dna"], "must name one of the model's inputs: seq"),
    "negative n_draws": ([], ["--n_draws", "-3"], "n_draws must be at least 2"),
    "one draw": ([], ["--n_draws", "1"], "one draw has no variance"),
    "unknown engine": ([], ["--engine", "warp"], "engine must be one of"),
    "negative seed": ([], ["--seed", "-1"], "seed must satisfy 0 <= seed"),
    "unknown score": ([], ["-s", "effect"], "score must be one of ref, alt, diff"),
    "unknown target": ([], ["--target", "CTCF"], "names none of the model's 3 outputs"),
    "bad json": ([], ["-k", "{oops"], "--score_kwargs must be a JSON object"),
    "unknown suffix": ([], ["-o", "a.bed"], "must end in one of .h5"),
    "missing folder": ([], ["-o", "nowhere/a.tsv"], "there is no"),
    "window": ([], ["--start", "30"], "0 <= start < end"),
    "unknown dataloader argument": ([], ["--dataloader_args", "fasta=x"], "it takes"),
    "missing data": (
        [],
        ["--dataloader_args", '{"fasta_file": "none.fa", "intervals_file": "none.bed"}'],
        "the dataloader cannot be created",
    ),
    "no such model": (["model"], [], "cannot be loaded"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_explained_and_writes_nothing(
    case: str, toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    removed, added, message = BAD_INPUT[case]
    words = [*_model_words(toy), "-o", "a.tsv", "a.h5", "--n_draws", "2"]
    if "model" in removed:
        words[0] = "no_such_folder"
    with pytest.raises(SystemExit) as stop:
        cli_main("mcdropout", ["ism", *words, *added])
    assert stop.value.code == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("kipoi mcdropout ism: error: ")
    assert message in line
    assert list(tmp_path.iterdir()) == []


def test_nan_weights_and_empty_dataloader(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    poisoned = make_toy(tmp_path / "nan", poison=True)
    empty = make_toy(tmp_path / "empty")
    empty.bed.write_text("")
    for toy, message in ((poisoned, "'dense.weight' has 1 NaN"), (empty, "gave no sequence")):
        with pytest.raises(SystemExit) as stop:
            _ism(toy, "-o", str(tmp_path / "a.tsv"))
        assert stop.value.code == 2
        assert message in capsys.readouterr().err.splitlines()[-1]
        assert not (tmp_path / "a.tsv").exists()


def test_p_of_one_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        _ism(make_toy(tmp_path / "toy", p=1.0), "-o", str(tmp_path / "a.tsv"))
    assert stop.value.code == 2
    assert "has p = 1.0; required 0 <= p < 1" in capsys.readouterr().err


def test_a_model_of_another_framework_is_refused(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import kipoi

    class SklearnModel:
        default_dataloader = None

    monkeypatch.setattr(kipoi, "get_model", lambda *_, **__: SklearnModel())
    with pytest.raises(SystemExit) as stop:
        _ism(toy, "-o", str(tmp_path / "a.tsv"))
    assert stop.value.code == 2
    assert "PyTorch model is required" in capsys.readouterr().err


def test_an_existing_file_stays_unless_overwrite_is_asked_for(
    toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("precious")
    with pytest.raises(SystemExit) as stop:
        _ism(toy, "-o", str(path))
    assert stop.value.code == 2
    assert "add --overwrite" in capsys.readouterr().err
    assert path.read_text() == "precious"
    _ism(toy, "--overwrite", "-o", str(path))
    assert path.read_text().startswith("# {")
    assert path.stat().st_mode & 0o444 == 0o444, "readable as other files are"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into a read-only folder")
def test_a_read_only_folder_is_named(
    toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(SystemExit) as stop:
        _ism(toy, "-o", str(tmp_path / "a.tsv"))
    tmp_path.chmod(0o700)
    assert stop.value.code == 2
    assert "needs a folder that can be written to" in capsys.readouterr().err


def test_a_folder_where_nothing_can_be_made_is_named(
    toy: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    if not Path("/proc/self").is_dir():
        pytest.skip("no /proc on this system")
    with pytest.raises(SystemExit) as stop:  # for root too
        _ism(toy, "-o", "/proc/self/a.tsv")
    assert stop.value.code == 2
    assert "needs a folder that can be written to" in capsys.readouterr().err


def test_a_full_disk_leaves_no_file(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from kipoi_mcdropout.files.table import TsvTable

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(TsvTable, "write", full)
    with pytest.raises(SystemExit) as stop:
        _ism(toy, "-o", str(tmp_path / "a.tsv"), str(tmp_path / "a.h5"))
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert "No space left on device" in error
    assert "The finished part is kept" in error
    assert [path.name for path in tmp_path.iterdir()] == [".a.tsv.units"]


def test_ctrl_c_leaves_no_file(toy: Toy, tmp_path: Path) -> None:
    code = (  # Ctrl-C is ignored where the tests run in the background of a script
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from kipoi_mcdropout.cli import interpret_ism; interpret_ism('ism', sys.argv[1:])"
    )
    words = [*_model_words(toy), "--model_input", "seq", "--n_draws", "100000"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words, "-o", str(tmp_path / "a.tsv")],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    while not list(tmp_path.iterdir()) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate()
    assert process.returncode == 130, error
    assert "interrupted. No output was written" in error
    assert list(tmp_path.iterdir()) == []


def test_an_output_selection_function_from_a_file(toy: Toy, tmp_path: Path) -> None:
    (tmp_path / "pick.py").write_text("def last(outputs):\n    return outputs[2:]\n")
    _ism(toy, "-f", f"{tmp_path}/pick.py::last", "-o", str(tmp_path / "a.parquet"))
    _ism(toy, "--target", "DNase", "-o", str(tmp_path / "b.parquet"))
    a, b = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in "ab")
    np.testing.assert_allclose(a.effect_sd, b.effect_sd, atol=1e-6)


@pytest.mark.parametrize("command", ["ism", "predict", "audit"])
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli_main("mcdropout", [command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert f"example:\n  kipoi mcdropout {command} example/model" in text


def test_command_line_and_lazy_import_need_no_torch() -> None:
    code = (
        "import sys, kipoi_mcdropout, kipoi_mcdropout.cli, kipoi_mcdropout.plugin.mutation\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
        "assert kipoi_mcdropout.mc_predict and 'torch' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
