"""Files of Keras 2 and 3 on torch, compared with what TensorFlow predicted (keras_files)."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from keras_world import FILES, import_keras, predictions

from kipoi_mcdropout.errors import ModelError
from kipoi_mcdropout.model.identity import model_identity
from kipoi_mcdropout.model.keras.load import load_keras_model

keras = import_keras()
L = keras.layers
TENSORFLOW = predictions()
X = TENSORFLOW["x"]
RNN = FILES / "rnn.json", FILES / "rnn_weights.h5"


class MonteCarloDropout(L.Dropout):
    def call(self, inputs: Any, training: Any = None) -> Any:
        return super().call(inputs, training=True if training is None else training)


INPUT = keras.Input((4,), name="input")
CUSTOM = {"MonteCarloDropout": MonteCarloDropout}


def outputs(model: Any, x: np.ndarray = X) -> list[np.ndarray]:
    found = model.predict_on_batch(x)
    return found if isinstance(found, list) else [found]


def assert_as_tensorflow(name: str, found: list[np.ndarray]) -> None:
    for i, output in enumerate(found):
        expected = TENSORFLOW[f"{name}_{i}"]
        assert np.ptp(expected) > 0.005
        np.testing.assert_allclose(output, expected, rtol=0, atol=2e-6)


def test_a_whole_model_file() -> None:
    assert_as_tensorflow("cnn", outputs(load_keras_model(FILES / "cnn.h5")))


def test_architecture_and_weights_with_a_layer_of_ones_own() -> None:
    assert_as_tensorflow("rnn", outputs(load_keras_model(*RNN, CUSTOM)))


def test_an_archive_of_keras_2_with_two_outputs() -> None:
    found = outputs(load_keras_model(FILES / "image.keras"), X[..., None])
    assert len(found) == 2
    assert_as_tensorflow("image", found)


def test_the_ending_of_a_file_does_not_matter(tmp_path: Path) -> None:
    """Kipoi keeps downloads under their checksum."""
    shutil.copy(FILES / "cnn.h5", tmp_path / "8f14e45f")
    shutil.copy(FILES / "image.keras", tmp_path / "6512bd43")
    assert_as_tensorflow("cnn", outputs(load_keras_model(tmp_path / "8f14e45f")))
    assert_as_tensorflow("image", outputs(load_keras_model(tmp_path / "6512bd43"), X[..., None]))


def edited(folder: Path, change: Any) -> Path:
    """The architecture of the recurrent model, changed."""
    config = json.loads((FILES / "rnn.json").read_text())
    change({layer["name"]: layer for layer in config["config"]["layers"]}, config)
    (folder / "edited.json").write_text(json.dumps(config))
    return folder / "edited.json"


def test_a_gru_that_is_older_than_reset_after_is_read_as_it_was_meant(tmp_path: Path) -> None:
    """In Keras 3 the argument that is missing would mean True."""

    def change(layers: Any, _: Any) -> None:
        assert layers["old_gru"]["config"].pop("reset_after") is False

    assert_as_tensorflow("rnn", outputs(load_keras_model(edited(tmp_path, change), RNN[1], CUSTOM)))


def test_hard_sigmoid_is_that_of_the_keras_that_wrote_it(tmp_path: Path) -> None:
    x = np.array([[-3.0, -1.0, 0.5, 2.0]], np.float32)
    config = {"name": "a", "activation": "hard_sigmoid", "dtype": "float32", "trainable": True}
    old = {"class_name": "Activation", "config": {**config, "batch_input_shape": [None, 4]}}
    (tmp_path / "old.json").write_text(json.dumps({"class_name": "Sequential", "config": [old]}))
    with h5py.File(tmp_path / "none.h5", "w") as file:
        file.attrs["layer_names"] = [b"a"]
        file.create_group("a").attrs["weight_names"] = np.array([], "S1")
    (found,) = outputs(load_keras_model(tmp_path / "old.json", tmp_path / "none.h5"), x)
    np.testing.assert_allclose(found, np.clip(0.2 * x + 0.5, 0, 1), atol=1e-6)
    new = keras.Sequential([keras.Input((4,)), L.Activation("hard_sigmoid")])
    new.save(tmp_path / "new.keras")
    (found,) = outputs(load_keras_model(tmp_path / "new.keras"), x)
    np.testing.assert_allclose(found, np.clip(x / 6 + 0.5, 0, 1), atol=1e-6)


def test_a_sequential_model_of_keras_before_2_3_is_a_list(tmp_path: Path) -> None:
    shutil.copy(FILES / "cnn.h5", tmp_path / "list.h5")
    with h5py.File(tmp_path / "list.h5", "r+") as file:
        config = json.loads(file.attrs["model_config"])
        layers = [x for x in config["config"]["layers"] if x["class_name"] != "InputLayer"]
        for layer in layers:
            layer.pop("module", None)
        layers[0]["config"]["batch_input_shape"] = [None, 24, 4]
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": layers})
        del file.attrs["keras_version"]
    assert_as_tensorflow("cnn", outputs(load_keras_model(tmp_path / "list.h5")))


@pytest.mark.parametrize("where", ["in the file", "said by Kipoi"])
def test_kernels_of_theano_are_turned_around(tmp_path: Path, where: str) -> None:
    path = tmp_path / "theano.h5"
    shutil.copy(FILES / "cnn.h5", path)
    with h5py.File(path, "r+") as file:
        kernel = file["model_weights/conv/conv/kernel:0"]
        kernel[:] = kernel[()][::-1]  # as Theano has it: it convolves, and the result is the same
        for attrs in (file.attrs, file["model_weights"].attrs):
            del attrs["backend"]
            if where == "in the file":
                attrs["backend"] = "theano"
    given = None if where == "in the file" else "theano"
    assert_as_tensorflow("cnn", outputs(load_keras_model(path, backend=given)))


def test_code_in_a_file_is_not_run_but_a_function_can_be_given(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"'twice'.*Lambda.*not run.*custom_objects"):
        load_keras_model(FILES / "with_code.json", FILES / "cnn.h5")
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file.attrs["layer_names"] = [b"twice", b"flat", b"out"]
        for name in ("twice", "flat"):
            file.create_group(name).attrs["weight_names"] = np.array([], "S1")
        group = file.create_group("out")
        group.attrs["weight_names"] = [b"kernel", b"bias"]
        group["kernel"], group["bias"] = np.ones((96, 1)), np.zeros(1)
    functions = {"twice": lambda x: 2.0 * x}
    model = load_keras_model(FILES / "with_code.json", tmp_path / "weights.h5", functions)
    np.testing.assert_allclose(outputs(model)[0], np.full((3, 1), 48.0))


def drop_time(layers: Any, _: Any) -> None:
    layers["gru"]["config"]["time_major"] = True


def keras_1(layers: Any, _: Any) -> None:
    layers["conv"]["config"]["border_mode"] = "valid"


def fused(layers: Any, _: Any) -> None:
    layers["gru"]["class_name"] = "CuDNNGRU"


def another_model(_: Any, config: Any) -> None:
    config["class_name"] = "Graph"


def several_axes(layers: Any, _: Any) -> None:
    layers["flat"].update(class_name="BatchNormalization", config={"axis": [1, 2]})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop_time, "'gru'.*time_major=True"),
        (keras_1, "'conv'.*Keras 1.*'border_mode'"),
        (fused, "'gru'.*CuDNNGRU.*not a layer of Keras 3"),
        (another_model, "'Graph'"),
        (several_axes, "'flat'.*several axes"),
    ],
)
def test_what_would_have_another_result_is_refused_by_name(
    tmp_path: Path, change: Any, words: str
) -> None:
    with pytest.raises(ModelError, match=f"edited.json: .*{words}"):
        load_keras_model(edited(tmp_path, change), RNN[1], CUSTOM)


def test_files_that_do_not_belong_together() -> None:
    with pytest.raises(ModelError, match=r"'always'.*MonteCarloDropout.*custom_objects"):
        load_keras_model(*RNN)
    with pytest.raises(ModelError, match=r"the architecture has 6 layers with weights, cnn.h5 has 3"):
        load_keras_model(RNN[0], FILES / "cnn.h5", CUSTOM)
    with pytest.raises(ModelError, match="architecture without weights"):
        load_keras_model(RNN[0])
    with pytest.raises(ModelError, match="weights and no architecture"):
        load_keras_model(RNN[1])
    with pytest.raises(ModelError, match="none of a Keras model"):
        load_keras_model(FILES / "make_files.py", RNN[1])
    with pytest.raises(ModelError, match=r"no config.json"):
        load_keras_model(FILES / "predictions.npz")


def test_weights_of_another_shape_change_nothing(tmp_path: Path) -> None:
    def change(layers: Any, _: Any) -> None:
        layers["conv"]["config"]["kernel_size"] = [4]

    with pytest.raises(ModelError, match=r"'conv' has weights of shapes .*\(4, 4, 3\).*\(6, 4, 3\)"):
        load_keras_model(edited(tmp_path, change), RNN[1], CUSTOM)


def own_model(rate: float = 0.3) -> Any:
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((24, 4), name="seq")
    x = L.LSTM(3, dropout=rate, name="lstm")(L.Conv1D(3, 4, name="conv")(x))
    x = L.Dense(2, name="out")(L.Dropout(rate, name="drop")(x))
    return keras.Model(inputs, x, name="own")


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_files_of_keras_3(tmp_path: Path, ending: str) -> None:
    model, path = own_model(), tmp_path / f"own{ending}"
    if ending == ".keras":
        model.save(path)
    else:
        keras.src.legacy.saving.legacy_h5_format.save_model_to_hdf5(model, str(path))
    np.testing.assert_allclose(outputs(load_keras_model(path))[0], outputs(model)[0], atol=1e-6)


def test_architecture_and_weights_of_keras_3(tmp_path: Path) -> None:
    model = own_model()
    (tmp_path / "arch.json").write_text(model.to_json())
    model.save_weights(tmp_path / "own.weights.h5")
    model.save_weights(tmp_path / "other.weights.h5")
    (tmp_path / "other.weights.h5").rename(tmp_path / "c4ca4238")
    for weights in ("own.weights.h5", "c4ca4238"):
        found = load_keras_model(tmp_path / "arch.json", tmp_path / weights)
        np.testing.assert_allclose(outputs(found)[0], outputs(model)[0], atol=1e-6)


def test_the_checksum_is_that_of_what_the_model_does(tmp_path: Path) -> None:
    """Random seeds and the names that Keras counts up are no part of it."""
    own_model().save(tmp_path / "a.keras")
    own_model(rate=0.4).save(tmp_path / "b.keras")
    first, again = (model_identity(load_keras_model(tmp_path / "a.keras")) for _ in range(2))
    other = model_identity(load_keras_model(tmp_path / "b.keras"))
    assert first == again
    assert first["weights_sha256"] == other["weights_sha256"]
    model = load_keras_model(tmp_path / "a.keras")
    model(X, training=True)
    assert model_identity(model) == first
    model.layers[-1].kernel.assign_add(np.full((3, 2), 1e-3, np.float32))
    assert model_identity(model)["weights_sha256"] != first["weights_sha256"]


def test_the_probability_of_a_dropout_is_part_of_the_checksum() -> None:
    def of(rate: float) -> str:
        model = keras.Sequential([INPUT, L.Dropout(rate, name="drop")], name="one")
        return model_identity(model)["settings_sha256"]

    assert of(0.3) == of(0.3)
    assert of(0.3) != of(0.4)


def test_a_layer_of_ones_own_is_part_of_the_checksum() -> None:
    class Scaled(L.Layer):
        def __init__(self, by: float) -> None:
            super().__init__(name="scaled")
            self.by = by

        def call(self, x: Any) -> Any:
            return x * self.by

    def of(by: float) -> str:
        return model_identity(keras.Sequential([INPUT, Scaled(by)], name="one"))["settings_sha256"]

    assert of(2.0) == of(2.0)
    assert of(2.0) != of(3.0)


def test_the_fixtures_are_of_keras_2() -> None:
    with h5py.File(FILES / "cnn.h5") as file:
        assert file.attrs["keras_version"].startswith("2.")
    with zipfile.ZipFile(FILES / "image.keras") as archive:
        assert json.loads(archive.read("metadata.json"))["keras_version"].startswith("2.")
