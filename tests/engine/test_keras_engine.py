"""The incremental engine on Keras models: what it sees through, and where it says why not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import choose, compare, substitutions
from keras_world import import_keras

import kipoi_mcdropout as mcd
from kipoi_mcdropout.dropout.locked_model import LockedModel
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.engine import IncrementalEngine
from kipoi_mcdropout.engine.incremental.costs import dense_flops

pytestmark = pytest.mark.usefixtures("small_models_are_captured")

keras = import_keras()
L = keras.layers
LENGTH = 200


def cnn(**dropout: Any) -> Any:
    """Convolutions, normalization and pooling, as DeepSTARR and its like have them."""
    x = inputs = keras.Input((LENGTH, 4))
    for i, filters in enumerate((32, 16)):
        x = L.Conv1D(filters, 7, padding="same", name=f"conv{i}")(x)
        x = L.BatchNormalization(name=f"norm{i}")(x)
        x = L.Activation("relu")(x)
        x = L.MaxPooling1D(2)(x)
        x = L.SpatialDropout1D(0.2, **dropout)(x)
    x = L.Dropout(0.3, **dropout)(L.Flatten()(x))
    x = L.Dropout(0.4, **dropout)(L.Dense(32, activation="relu")(x))
    return keras.Model(inputs, L.Dense(2, activation="sigmoid")(x))


def image() -> Any:
    """One-hot DNA as an image, as Basset and CpGenie have it."""
    x = inputs = keras.Input((LENGTH, 4, 1))
    x = L.Conv2D(64, (11, 4), activation="relu")(x)
    x = L.SpatialDropout2D(0.2)(x)
    x = L.Dropout(0.3)(L.Flatten()(L.MaxPooling2D((2, 1))(x)))
    return keras.Model(inputs, L.Dense(2)(x))


def recurrent() -> Any:
    x = inputs = keras.Input((LENGTH, 4))
    x = L.MaxPooling1D(20)(L.Conv1D(32, 9, activation="relu", padding="same")(x))
    x = L.Bidirectional(L.LSTM(4, dropout=0.2, recurrent_dropout=0.1), name="lstm")(x)
    return keras.Model(inputs, L.Dense(2)(L.Dropout(0.3)(x)))


@pytest.mark.parametrize("name", ["cnn", "cnn with seeds", "image"])
def test_auto_takes_the_incremental_engine_and_gives_the_same(name: str) -> None:
    keras.utils.set_random_seed(1)
    model = {"cnn": cnn, "cnn with seeds": lambda: cnn(seed=3), "image": image}[name]()
    shape = (LENGTH, 4, 1) if name == "image" else (LENGTH, 4)
    batch = substitutions(LENGTH, dtype=np.float32, shape=shape, category_axis=1, only=40)
    assert choose(LockedModel(model), batch).engine == "incremental"
    done = compare(model, batch)
    assert done.error < 1e-5
    assert not [path for path in done.paths if "full" in path], done.paths


def test_effects_of_auto_are_those_of_full() -> None:
    keras.utils.set_random_seed(2)
    model = mcd.Model(cnn(), outputs=["A", "B"], input_shape=(LENGTH, 4))
    x = np.eye(4, dtype=np.float32)[np.random.default_rng(0).integers(0, 4, (1, LENGTH))]
    auto, full = (
        mcd.ism(model, x, n_draws=4, running=mcd.RunOptions(engine=name)) for name in ("auto", "full")
    )
    assert "engine incremental" in repr(auto)
    assert "engine full" in repr(full)
    for name in ("effect_mean", "effect_sd"):
        a, b = auto.table()[name].to_numpy(), full.table()[name].to_numpy()
        assert np.abs(b).max() > 0
        np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max(), rtol=0)


def test_a_recurrent_layer_of_keras_runs_whole_and_it_is_said_why() -> None:
    keras.utils.set_random_seed(3)
    batch = substitutions(LENGTH, dtype=np.float32, shape=(LENGTH, 4), category_axis=1)
    choice = choose(LockedModel(recurrent()), batch)
    assert choice.engine == "full"
    assert not choice.problem
    assert "lstm.forward_layer" in choice.reason


def test_the_work_of_a_convolution_of_keras_is_counted_whole() -> None:
    """Keras turns its kernel first, so that the convolution's weight is the result of an operation."""
    model = LockedModel(keras.Sequential([keras.Input((LENGTH, 4)), L.Conv1D(16, 9), L.Dropout(0.2)]))
    batch = substitutions(LENGTH, dtype=np.float32, shape=(LENGTH, 4), category_axis=1)
    with model.borrow():
        plan = IncrementalEngine(model, MaskBank(0)).compiled(batch).plan
    (convolution,) = [step.node for step in plan.steps.values() if step.node.name.startswith("conv")]
    assert dense_flops(convolution, plan.graph) == 2 * (LENGTH - 8) * 16 * 4 * 9
