"""Dropout of Keras layers under locked masks, compared with Keras's own training pass.

Oracle: Keras runs the model with `training=True`, and what it takes random numbers from is replaced, so
that it draws the masks of our mask bank.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from keras_world import import_keras

from kipoi_mcdropout.dropout.locked_model import POINT, LockedModel, locked_forward
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.dropout.masks import RUN_SCOPE
from kipoi_mcdropout.dropout.sites import Site
from kipoi_mcdropout.errors import BatchDependenceError, ModelError, UnlockableDropoutError
from kipoi_mcdropout.model.audit import audit

keras = import_keras()
L = keras.layers
SEED, DRAW, N = 5, 3, 4
X = torch.rand(N, 8, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _weights_are_the_same() -> None:
    keras.utils.set_random_seed(0)


def sites(model: Any, x: torch.Tensor = X) -> tuple[Site, ...]:
    """Dropout sites of a model."""
    locked = LockedModel(model)
    with locked.borrow():
        return locked.plan(x).sites


@contextmanager
def keras_draws(masks: list[torch.Tensor]) -> Iterator[None]:
    """Within it Keras draws these masks (bool, broadcastable), in order."""
    left = iter(masks)

    def dropout(x: torch.Tensor, p: float, **_: Any) -> torch.Tensor:
        return x * next(left).to(x.dtype) / (1 - p)

    def bernoulli(p: torch.Tensor, **_: Any) -> torch.Tensor:
        return next(left).to(p.dtype).expand(p.shape)

    def rand(size: Any, **_: Any) -> torch.Tensor:
        return torch.where(next(left), 0.999, 0.0).expand(tuple(size))

    with (
        patch.object(torch.nn.functional, "dropout", dropout),
        patch.object(torch, "bernoulli", bernoulli),
        patch.object(torch, "rand", rand),
    ):
        yield
    assert next(left, None) is None, "Keras drew fewer masks"


def oracle(model: Any, x: torch.Tensor = X) -> torch.Tensor:
    """Keras's own training pass under the masks of the draw; by channel: channels are last in Keras."""
    bank, masks = MaskBank(SEED), []
    for site in sites(model, x):
        keep = bank.keep(site, DRAW, RUN_SCOPE, x.device)
        masks.append(keep.movedim(1, -1) if site.kind == "feature_dropout" else keep)
    with keras_draws(masks), torch.no_grad():
        return model(x, training=True)


def model_of(*layers: Any, shape: tuple[int, ...] = (8, 4)) -> Any:
    return keras.Sequential([keras.Input(shape), *layers])


LAYERS = {
    "dropout": lambda: L.Dropout(0.4),
    "dropout with a seed": lambda: L.Dropout(0.4, seed=1),
    "channels": lambda: L.SpatialDropout1D(0.4),
    "one mask for all positions": lambda: L.Dropout(0.4, noise_shape=(None, 1, 4)),
    "alpha": lambda: L.AlphaDropout(0.4),
    "lstm": lambda: L.LSTM(3, dropout=0.3, recurrent_dropout=0.4),
    "lstm without recurrent dropout": lambda: L.LSTM(3, dropout=0.3, return_sequences=True),
    "gru": lambda: L.GRU(3, dropout=0.3, recurrent_dropout=0.4, reset_after=False),
    "gru with seed": lambda: L.GRU(3, dropout=0.3, seed=2),
    "rnn": lambda: L.SimpleRNN(3, dropout=0.3, recurrent_dropout=0.4),
    "both directions": lambda: L.Bidirectional(L.LSTM(3, dropout=0.3, recurrent_dropout=0.2)),
    "at each position": lambda: L.TimeDistributed(L.Dropout(0.3)),
    "attention": lambda: L.Attention(dropout=0.3),
}


@pytest.mark.parametrize("name", LAYERS)
def test_keras_would_give_the_same_with_these_masks(name: str) -> None:
    layer = LAYERS[name]()
    x = inputs = keras.Input((8, 4))
    x = layer([x, x]) if name == "attention" else layer(x)
    model = keras.Model(inputs, L.Flatten()(x))
    got = locked_forward(model, X, DRAW, SEED)
    torch.testing.assert_close(got, oracle(model), rtol=1e-5, atol=1e-6)
    point = locked_forward(model, X, POINT, SEED)
    assert (got - point).abs().max() > 0.01
    np.testing.assert_allclose(point.numpy(), model.predict_on_batch(X.numpy()), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "shape"), [("SpatialDropout2D", (8, 4, 3)), ("SpatialDropout3D", (2, 4, 4, 3))]
)
def test_channels_of_images(layer: str, shape: tuple[int, ...]) -> None:
    x = torch.rand(N, *shape, generator=torch.Generator().manual_seed(1))
    for order in ("channels_last", "channels_first"):
        model = model_of(getattr(L, layer)(0.4, data_format=order), L.Flatten(), shape=shape)
        (site,) = sites(model, x)
        keep = MaskBank(SEED).keep(site, DRAW, RUN_SCOPE, x.device)
        axis = -1 if order == "channels_last" else 1
        expected = (x * keep.movedim(1, axis) / 0.6).flatten(1)
        torch.testing.assert_close(locked_forward(model, x, DRAW, SEED), expected)
        assert site.shape[1] == x.shape[axis]


def test_all_inputs_of_a_draw_share_their_masks() -> None:
    model = model_of(L.LSTM(3, dropout=0.3, recurrent_dropout=0.4), L.Dropout(0.5))
    twice = torch.cat([X, X[:2]])
    together = locked_forward(model, twice, DRAW, SEED)
    torch.testing.assert_close(together[:2], together[N:])
    alone = locked_forward(model, X[1:2], DRAW, SEED)[0]
    torch.testing.assert_close(alone, together[1], rtol=1e-5, atol=1e-6)
    assert (locked_forward(model, X, DRAW + 1, SEED) - together[:N]).abs().max() > 0.01


def test_batch_normalization_stays_in_inference() -> None:
    norm = L.BatchNormalization()
    model = model_of(L.Conv1D(3, 3), norm, L.Dropout(0.4), L.Flatten())
    norm.moving_mean.assign(np.array([0.5, -0.5, 2.0]))
    norm.moving_variance.assign(np.array([2.0, 0.5, 3.0]))
    before = [keras.ops.convert_to_numpy(weight).copy() for weight in norm.weights]
    (site,) = sites(model)
    keep = MaskBank(SEED).keep(site, DRAW, RUN_SCOPE, X.device)
    with torch.no_grad():
        expected = norm(model.layers[0](X), training=False) * keep / 0.6
    torch.testing.assert_close(locked_forward(model, X, DRAW, SEED), expected.flatten(1))
    for weight, value in zip(norm.weights, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(weight), value)


def test_batch_normalization_that_always_takes_the_batch_is_refused() -> None:
    x = inputs = keras.Input((8, 4))
    x = L.BatchNormalization(name="norm")(x, training=True)
    model = keras.Model(inputs, L.Dropout(0.4)(L.Flatten()(x)))
    with pytest.raises(BatchDependenceError, match="'norm'"):
        locked_forward(model, X, DRAW, SEED)


class AlwaysOn(L.Dropout):
    """As DeepMEL and others have it."""

    def call(self, inputs: Any, training: Any = None) -> Any:
        return super().call(inputs, training=True)


def test_dropout_that_is_always_on_is_locked_too() -> None:
    x = inputs = keras.Input((8, 4))
    x = AlwaysOn(0.3, name="mine")(x)
    x = L.Dropout(0.4, name="said")(L.Flatten()(x), training=True)
    model = keras.Model(inputs, x)
    assert [site.name for site in sites(model)] == ["mine", "said"]
    torch.testing.assert_close(locked_forward(model, X, DRAW, SEED), oracle(model))
    torch.testing.assert_close(locked_forward(model, X, POINT, SEED), X.flatten(1))


class InItsOwnCode(keras.Model):
    """Dropout in the code of the model itself, which asks for `training`."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = [L.Dense(5, activation="relu"), L.Dense(2)]

    def call(self, x: Any, training: bool = False) -> Any:
        x = self.blocks[0](x)
        if training:
            x = keras.random.dropout(x, 0.4, seed=3)
        return self.blocks[1](x)


def test_dropout_in_the_models_own_code() -> None:
    model = InItsOwnCode()
    x = X[:, 0]
    with pytest.raises(ModelError, match="no weights yet"):
        locked_forward(model, x, DRAW, SEED)
    model(x)
    torch.testing.assert_close(locked_forward(model, x, DRAW, SEED), oracle(model, x))


def test_a_model_inside_a_model_has_names_of_both() -> None:
    inner = model_of(L.Dense(3, name="dense"), L.Dropout(0.3, name="drop"))
    inner.name = "body"
    model = model_of(inner, L.Flatten(), L.Dropout(0.0, name="none"))
    found = audit(model, X.numpy())
    assert [row.name for row in found.rows if row.locked == "locked"] == ["body.drop"]
    assert found.plan.idle == {"none": "p = 0"}
    assert found.plan.before_first_site == ("body.dense",)
    assert not found.plan.notes
    torch.testing.assert_close(locked_forward(model, X, DRAW, SEED), oracle(model))


def state(model: Any) -> list[Any]:
    """All that a use of the model could change."""
    parts = model._flatten_layers()
    values = [keras.ops.convert_to_numpy(variable).copy() for variable in model.variables]
    flags = [part.training for part in parts]
    return [*values, flags, [sorted(part.__dict__) for part in parts]]


def test_the_model_is_only_borrowed() -> None:
    places = keras.src.backend.torch.random, L.AlphaDropout
    theirs = places[0].dropout, places[1].call
    model = model_of(
        L.LSTM(3, dropout=0.3, recurrent_dropout=0.4, seed=1, return_sequences=True),
        L.Dropout(0.3, noise_shape=(None, 1, 3), seed=2),
        L.AlphaDropout(0.2),
    )
    model.layers[1].training = False
    before = state(model)
    locked_forward(model, X, DRAW, SEED)
    with pytest.raises(RuntimeError, match=r"cannot be multiplied.*'lstm.*cell'"):
        locked_forward(model, X[:, :, :2], DRAW, SEED)
    for old, new in zip(before, state(model), strict=True):
        np.testing.assert_array_equal(np.asarray(old, dtype=object), np.asarray(new, dtype=object))
    assert (places[0].dropout, places[1].call) == theirs
    assert keras.config.is_traceback_filtering_enabled()


def test_a_pass_that_failed_leaves_no_masks_behind() -> None:
    """A recurrent cell keeps its masks from the first step to the end of the pass."""
    model = model_of(L.LSTM(3, dropout=0.3, recurrent_dropout=0.4))
    expected = oracle(model)
    model.layers[0].cell.get_dropout_mask(torch.ones(9, 4))
    torch.testing.assert_close(locked_forward(model, X, DRAW, SEED), expected)


def test_an_error_is_the_models_own_and_names_the_layer() -> None:
    class Broken(L.Layer):
        def call(self, x: Any) -> Any:
            raise ZeroDivisionError("in my layer")

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    model = keras.Sequential([L.Dropout(0.3), Broken(name="mine")])
    model.build((None, 8, 4))
    with pytest.raises(RuntimeError, match=r"ZeroDivisionError: in my layer.*module 'mine'"):
        locked_forward(model, X, DRAW, SEED)


def test_a_mask_of_another_shape_is_locked() -> None:
    """Keras draws it itself; here whole inputs are dropped."""
    model = model_of(L.Dropout(0.4, noise_shape=(None, 1, 1)), L.Flatten())
    (site,) = sites(model)
    assert site.shape == (1, 1, 1)
    draws = [locked_forward(model, X, draw, SEED) for draw in range(20)]
    kept = [bool(draw.abs().max() > 0) for draw in draws]
    assert 0 < sum(kept) < 20
    for draw, is_kept in zip(draws, kept, strict=True):
        torch.testing.assert_close(draw, X.flatten(1) / 0.6 * is_kept)


def test_alpha_dropout_with_a_mask_of_another_shape_is_refused_by_name() -> None:
    model = model_of(L.AlphaDropout(0.4, noise_shape=(None, 1, 4), name="odd"), L.Flatten())
    with pytest.raises(UnlockableDropoutError, match="'odd'"):
        locked_forward(model, X, DRAW, SEED)


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("kind", ["GaussianNoise", "GaussianDropout"])
def test_noise_is_the_same_for_all_inputs_of_a_draw(kind: str, seed: int | None) -> None:
    """Noise is added, with the standard deviation 0.3; or multiplied, with sqrt(0.3 / 0.7)."""
    model = model_of(getattr(L, kind)(0.3, seed=seed), L.Flatten())
    x = X.flatten(1) + 0.5
    given = x.reshape(N, 8, 4)
    noise = []
    for draw in range(60):
        got = locked_forward(model, given, draw, SEED)
        rows = got - x if kind == "GaussianNoise" else got / x
        torch.testing.assert_close(rows, rows[:1].expand(N, -1), rtol=1e-4, atol=1e-5)
        noise.append(rows[0])
    mean, sd = (0.0, 0.3) if kind == "GaussianNoise" else (1.0, (0.3 / 0.7) ** 0.5)
    numbers = torch.stack(noise)  # 60 x 32 of them
    assert abs(numbers.mean().item() - mean) < 5 * sd / numbers.numel() ** 0.5
    assert abs(numbers.std().item() / sd - 1) < 0.1
    torch.testing.assert_close(locked_forward(model, given, POINT, SEED), x)


def test_a_dropout_can_be_left_off() -> None:
    model = model_of(L.Dropout(0.4, name="first"), L.Flatten(), L.Dropout(0.3, name="second"))
    locked = LockedModel(model, ignore=("first",))
    with locked.borrow():
        got = locked.outputs(X, DRAW, MaskBank(SEED))
        (site,) = locked.plan(X).sites
    keep = MaskBank(SEED).keep(site, DRAW, RUN_SCOPE, X.device)
    torch.testing.assert_close(got, X.flatten(1) * keep / 0.7)
