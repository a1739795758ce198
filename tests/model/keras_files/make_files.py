"""Writes the model files of this folder with Keras 2, and what it predicts with them.

Not run by the tests, which need neither TensorFlow nor Keras 2. In an environment of its own:

    pip install tensorflow-cpu tf-keras
    python tests/model/keras_files/make_files.py

`tf_keras` is Keras 2 as it is kept alive. The weights are random, with statistics of batch normalization
that are not the initial ones. `predictions.npz` holds one-hot inputs and the outputs of each model in
inference, in float32.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tf_keras as keras
from tf_keras import layers

FOLDER = Path(__file__).parent
LENGTH = 24


class MonteCarloDropout(layers.Dropout):
    """Dropout that is on in predictions too, unless they are asked for without."""

    def call(self, inputs, training=None):
        """Drop whenever `training` is not False."""
        return super().call(inputs, training=True if training is None else training)


def cnn() -> keras.Model:
    """Whole-model .h5: convolutions, pooling with padding, and dropout of units and channels."""
    return keras.Sequential(
        [
            layers.Conv1D(5, 5, padding="same", input_shape=(LENGTH, 4), name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.LeakyReLU(0.1, name="leaky"),
            layers.SpatialDropout1D(0.2, name="channels"),
            layers.AveragePooling1D(5, 3, padding="same", name="pool"),
            layers.Dropout(0.3, seed=7, name="units"),
            layers.Flatten(name="flat"),
            layers.Dense(2, activation="sigmoid", name="out"),
        ]
    )


def rnn() -> keras.Model:
    """Architecture JSON and weights .h5: recurrent layers of all kinds and a custom layer."""
    x = inputs = keras.Input((LENGTH, 4), name="seq")
    x = layers.Conv1D(3, 6, strides=3, activation="relu", name="conv")(x)
    x = MonteCarloDropout(0.2, name="always")(x)
    lstm = layers.LSTM(
        2, dropout=0.2, recurrent_dropout=0.1, return_sequences=True,
        recurrent_activation="hard_sigmoid", name="lstm",
    )  # fmt: skip
    x = layers.Bidirectional(lstm, name="both")(x)
    x = layers.GRU(2, return_sequences=True, dropout=0.1, name="gru")(x)
    x = layers.GRU(2, return_sequences=True, reset_after=False, name="old_gru")(x)
    x = layers.TimeDistributed(layers.Dense(2, activation="hard_sigmoid"), name="each")(x)
    x = layers.Flatten(name="flat")(x)
    return keras.Model(inputs, layers.Dense(1, name="out")(x))


def image() -> keras.Model:
    """The .keras file: two-dimensional, with two outputs."""
    x = inputs = keras.Input((LENGTH, 4, 1), name="seq")
    x = layers.Conv2D(4, (5, 4), activation="relu", name="conv")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.SpatialDropout2D(0.2, name="channels")(x)
    x = layers.MaxPooling2D((3, 1), padding="same", name="pool")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dropout(0.4, name="units")(x)
    return keras.Model(inputs, [layers.Dense(1, name="first")(x), layers.Dense(2, name="second")(x)])


def with_code() -> keras.Model:
    """Architecture alone, with a Lambda layer, which holds code."""
    return keras.Sequential(
        [
            layers.Lambda(lambda x: x * 2.0, input_shape=(LENGTH, 4), name="twice"),
            layers.Flatten(name="flat"),
            layers.Dense(1, name="out"),
        ]
    )


def save(model: keras.Model, name: str) -> None:
    """Write a model in the format that its name stands for."""
    if name == "cnn":
        model.save(FOLDER / "cnn.h5")
    elif name == "image":
        model.save(FOLDER / "image.keras")
        pack(FOLDER / "image.keras")
    else:
        (FOLDER / f"{name}.json").write_text(model.to_json())
    if name == "rnn":
        model.save_weights(FOLDER / "rnn_weights.h5")


def pack(path: Path) -> None:
    """Compress a .keras file, which Keras 2 does not do, so that the repository stays small."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def main() -> None:
    """Write all files."""
    rng = np.random.default_rng(3)
    x = np.eye(4, dtype=np.float32)[rng.integers(0, 4, (3, LENGTH))]
    found = {"x": x.astype(np.uint8)}
    for make in (cnn, rnn, image, with_code):
        model = make()
        for weight in model.weights:
            values = rng.normal(0.0, 1.0 if make is rnn else 0.5, weight.shape)
            weight.assign(np.abs(values) + 0.5 if "variance" in weight.name else values)
        given = x[..., None] if make is image else x
        outputs = model(given, training=False)
        for i, output in enumerate(outputs if isinstance(outputs, list) else [outputs]):
            found[f"{make.__name__}_{i}"] = np.asarray(output)
        save(model, make.__name__)
    np.savez_compressed(FOLDER / "predictions.npz", **found)


if __name__ == "__main__":
    main()
