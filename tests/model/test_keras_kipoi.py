"""Keras models of Kipoi on torch: by `load_kipoi_model`, and from the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import kipoi.model
import numpy as np
import pandas as pd
import pytest
from keras_world import FILES, OBJECTS_PY, import_keras, kipoi_folder, predictions

import kipoi_mcdropout as mcd
from kipoi_mcdropout.cli import cli_main
from kipoi_mcdropout.errors import ModelError
from kipoi_mcdropout.model.keras.load import load_keras_model
from kipoi_mcdropout.model.load import load_kipoi_model
from kipoi_mcdropout.model.reference import ModelReference

keras = import_keras()
TENSORFLOW = predictions()
X = TENSORFLOW["x"]


@pytest.fixture(autouse=True)
def _keras_is_on_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where TensorFlow is installed."""
    monkeypatch.setenv("KERAS_BACKEND", "torch")


@pytest.mark.parametrize("name", ["cnn", "rnn"])
def test_a_model_of_kipoi_predicts_what_tensorflow_did(tmp_path: Path, name: str) -> None:
    toy = kipoi_folder(tmp_path, name)
    model = load_kipoi_model(str(toy.model), "dir")
    np.testing.assert_allclose(model.predict_on_batch(X), TENSORFLOW[f"{name}_0"], atol=2e-6)
    assert isinstance(model, kipoi.model.KerasModel)
    assert (model.type, model.name, model.source_name) == ("keras", str(toy.model), "dir")
    assert model.schema.inputs.shape == (24, 4)
    batch = next(model.default_dataloader(**toy.dataloader_args).batch_iter(batch_size=2))
    assert model.predict_on_batch(batch["inputs"]).shape[0] == 2
    pipeline = model.pipeline.predict(toy.dataloader_args, batch_size=2)
    assert pipeline.shape[0] == 3
    assert kipoi.model.KerasModel.__init__.__module__ == "kipoi.model"
    assert kipoi.model.AVAILABLE_MODELS["keras"] is kipoi.model.KerasModel


def test_the_public_function_and_the_names_of_outputs(tmp_path: Path) -> None:
    toy = kipoi_folder(tmp_path, "cnn")
    model = mcd.Model(mcd.load_kipoi_model(str(toy.model), "dir"))
    assert [row.name for row in mcd.audit(model).rows] == ["channels", "units"]
    found = mcd.mc_predict(model, X, n_draws=3)
    np.testing.assert_allclose(np.asarray(found.point), TENSORFLOW["cnn_0"], atol=2e-6)
    assert list(found.labels) == ["A", "B"]


def test_other_processes_find_the_same_model(tmp_path: Path) -> None:
    toy = kipoi_folder(tmp_path, "rnn")
    reference = ModelReference.of(load_kipoi_model(str(toy.model), "dir", with_dataloader=False))
    again = reference.load()
    np.testing.assert_allclose(again.predict_on_batch(X), TENSORFLOW["rnn_0"], atol=2e-6)
    (toy.model / "custom_objects.py").write_text(OBJECTS_PY + "# changed\n")
    with pytest.raises(ModelError, match="code differ"):
        reference.load()


def test_custom_objects_that_need_tensorflow_are_named(tmp_path: Path) -> None:
    toy = kipoi_folder(tmp_path, "rnn")
    (toy.model / "custom_objects.py").write_text("import a_package_that_is_missing\nOBJECTS = {}\n")
    with pytest.raises(ModelError, match=r"custom_objects.py, cannot be imported: .*missing.*keras.ops"):
        load_kipoi_model(str(toy.model), "dir")


def test_channels_first_is_refused(tmp_path: Path) -> None:
    toy = kipoi_folder(tmp_path, "rnn")
    text = (toy.model / "model.yaml").read_text().replace("ordering: tf", "ordering: th")
    (toy.model / "model.yaml").write_text(text)
    with pytest.raises(ModelError, match="image_dim_ordering must be 'tf'"):
        load_kipoi_model(str(toy.model), "dir")


WRAPPED = """
from keras.models import load_model
from kipoi.model import BaseModel


class Wrapped(BaseModel):
    def __init__(self, weights):
        self.model = load_model(weights)

    def predict_on_batch(self, x):
        return 10 * self.model.predict_on_batch(x) + 1
"""


def test_a_model_that_loads_keras_by_its_own_code(tmp_path: Path) -> None:
    """As Optimus_5Prime and APARENT do. Their load_model is ours, and their own sum stays."""
    toy = kipoi_folder(tmp_path, "cnn")
    text = (toy.model / "model.yaml").read_text()
    (toy.model / "model.yaml").write_text(text.replace("type: keras", "defined_as: wrapped.Wrapped"))
    (toy.model / "wrapped.py").write_text(WRAPPED)
    theirs = keras.models.load_model
    try:
        model = load_kipoi_model(str(toy.model), "dir")
    finally:
        sys.modules.pop("wrapped", None)
    assert keras.models.load_model is theirs
    found = mcd.mc_predict(mcd.Model(model), X, n_draws=8)
    np.testing.assert_allclose(np.asarray(found.point), 10 * TENSORFLOW["cnn_0"] + 1, atol=2e-5)
    inner = mcd.mc_predict(mcd.Model(model.model), X, n_draws=8)
    np.testing.assert_allclose(np.asarray(found.sd), 10 * np.asarray(inner.sd), rtol=1e-4)
    assert (np.asarray(found.sd) > 0.01).all()


def test_ism_and_variants_from_the_shell(tmp_path: Path) -> None:
    toy = kipoi_folder(tmp_path, "cnn")
    args = ["--dataloader_args", json.dumps(toy.dataloader_args), "--n_draws", "3"]
    out = tmp_path / "ism.tsv"
    cli_main("mcdropout", ["ism", str(toy.model), "--source", "dir", *args, "-o", str(out)])
    rows = pd.read_csv(out, sep="\t", comment="#")
    assert set(rows["output"]) == {"A", "B"}
    assert (rows["effect_sd"] > 0).any()
    base = "".join(toy.fasta.read_text().split("\n")[1:])[11].upper()
    alt = "ACGT"[("ACGT".index(base) + 1) % 4]
    vcf = tmp_path / "in.vcf"
    header = "##fileformat=VCFv4.2\n##contig=<ID=chr1>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    vcf.write_text(f"{header}chr1\t12\t.\t{base}\t{alt}\t.\t.\t.\n")
    table = tmp_path / "variants.tsv"
    cli_main("mcdropout", [
        "score_variants", str(toy.model), "--source", "dir", "--input_vcf", str(vcf), "--fasta_file",
        str(toy.fasta), "--n_draws", "3", "-o", str(tmp_path / "out.vcf"), "--table", str(table),
    ])  # fmt: skip
    assert "A" in set(pd.read_csv(table, sep="\t", comment="#")["output"])


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment}
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)


def test_keras_on_another_backend_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    network = keras.Sequential([keras.Input((24, 4)), keras.layers.Dropout(0.5)])
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    for use in (lambda: mcd.Model(network), lambda: load_keras_model(FILES / "cnn.h5")):
        with pytest.raises(ModelError, match=r"jax.*KERAS_BACKEND=torch"):
            use()


def test_a_backend_that_cannot_be_imported_is_named(tmp_path: Path) -> None:
    code = f"""
from kipoi_mcdropout.model.keras.load import load_keras_model
from kipoi_mcdropout.errors import ModelError
try:
    load_keras_model({str(tmp_path / "model.h5")!r})
except ModelError as error:
    print(error)
"""
    done = run_python(code, KERAS_BACKEND="jax", PYTHONSAFEPATH="1")
    assert "KERAS_BACKEND=jax" in done.stdout, done.stderr
    assert "Set KERAS_BACKEND=torch" in done.stdout


def test_keras_is_imported_only_for_keras_models() -> None:
    code = """
import sys
import numpy as np
from torch import nn
import kipoi_mcdropout as mcd
net = nn.Sequential(nn.Flatten(), nn.Linear(80, 3), nn.Dropout(0.5), nn.Linear(3, 1))
mcd.ism(mcd.Model(net, input_shape=(4, 20)), np.eye(4, dtype="f4")[np.zeros(20, int)].T[None], n_draws=2)
print("keras" in sys.modules)
"""
    done = run_python(code)
    assert done.stdout.strip() == "False", done.stderr


def test_keras_that_is_not_installed_is_named_with_its_extra(tmp_path: Path) -> None:
    toy = kipoi_folder(tmp_path, "cnn")
    code = f"""
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name == "keras" else find(name, *a)
from kipoi_mcdropout.model.load import load_kipoi_model
from kipoi_mcdropout.cli import cli_main
from kipoi_mcdropout.errors import ModelError
try:
    load_kipoi_model({str(toy.model)!r}, "dir")
except ModelError as error:
    print(error)
"""
    assert "pip install 'kipoi_mcdropout[keras]'" in run_python(code).stdout


def test_a_keras_file_is_a_model_for_the_commands_and_for_load_model(tmp_path: Path) -> None:
    model = mcd.load_model(FILES / "cnn.h5", outputs=["A", "B"])
    found = mcd.mc_predict(model, X, n_draws=2)
    np.testing.assert_allclose(np.asarray(found.point), TENSORFLOW["cnn_0"], atol=2e-6)
    fasta, regions = tmp_path / "genome.fa", tmp_path / "regions.bed"
    fasta.write_text(">chr1\n" + "ACGTTGCA" * 6 + "\n")
    regions.write_text("chr1\t3\t27\n")
    effects = mcd.ism(model, fasta=fasta, regions=regions, n_draws=3)
    assert set(effects.table()["output"]) == {"A", "B"}
    vcf, out = tmp_path / "in.vcf", tmp_path / "out.tsv"
    header = "##fileformat=VCFv4.2\n##contig=<ID=chr1>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    vcf.write_text(f"{header}chr1\t17\t.\tA\tG\t.\t.\t.\n")
    words = ["--input_vcf", str(vcf), "-f", str(fasta), "--outputs", "A", "B", "--n_draws", "3"]
    cli_main("mcdropout", ["score_variants", str(FILES / "cnn.h5"), *words, "-t", str(out)])
    assert set(pd.read_csv(out, sep="\t", comment="#")["output"]) == {"A", "B"}


def test_python_code_may_give_a_keras_model(tmp_path: Path) -> None:
    """For layers of one's own; random seeds are not taken for random weights."""
    code = f"""
from pathlib import Path
from kipoi_mcdropout.model.keras.load import load_keras_model
{OBJECTS_PY}

def net():
    folder = Path({str(FILES)!r})
    return load_keras_model(folder / "rnn.json", folder / "rnn_weights.h5", OBJECTS)
"""
    (tmp_path / "mine.py").write_text(code)
    found = mcd.mc_predict(mcd.load_model(f"{tmp_path / 'mine.py'}:net"), X, n_draws=2)
    np.testing.assert_allclose(np.asarray(found.point), TENSORFLOW["rnn_0"], atol=2e-6)


def test_the_command_that_tries_a_model_of_the_zoo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import zoo_model

    toy = kipoi_folder(tmp_path, "cnn")
    with h5py.File(tmp_path / "expect.h5", "w") as file:
        file["inputs"], file["preds"] = X, TENSORFLOW["cnn_0"]
    words = [str(toy.model), "--source", "dir", "--expect", str(tmp_path / "expect.h5")]
    assert zoo_model.main(words) == 0
    shown = capsys.readouterr().out
    assert "channels" in shown
    assert shown.count("(good)") == 2
    with h5py.File(tmp_path / "expect.h5", "r+") as file:
        file["preds"][:] += 0.1
    assert zoo_model.main(words) == 1
    assert "TOO LARGE" in capsys.readouterr().out


def test_weights_in_place_of_a_models_own(tmp_path: Path) -> None:
    """As a fold or a replicate has them."""
    toy = kipoi_folder(tmp_path, "cnn")
    shutil.copy(FILES / "cnn.h5", tmp_path / "fold.h5")
    with h5py.File(tmp_path / "fold.h5", "r+") as file:
        file["model_weights/out/out/bias:0"][:] = 3.0
    for words in ({"model": toy.model, "source": "dir"}, {"model": FILES / "cnn.h5"}):
        model = mcd.load_model(**words, weights=tmp_path / "fold.h5")
        point = np.asarray(mcd.mc_predict(model, X, n_draws=2).point)
        assert (point > TENSORFLOW["cnn_0"] + 0.05).all()
    with pytest.raises(ModelError, match=r"3 layers with weights, rnn_weights.h5 has 6"):
        mcd.load_model(toy.model, source="dir", weights=FILES / "rnn_weights.h5")
