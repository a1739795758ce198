"""What a model may take and give: types of inputs and weights, structures of outputs, axes."""

from __future__ import annotations

import dataclasses
import warnings
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from small_models import LENGTH, Linear, fixed, one_hot
from torch import Tensor, nn

import kipoi_mcdropout as mcd
from kipoi_mcdropout import MCDropoutISM, locked_forward, mc_predict
from kipoi_mcdropout.dropout.fewer_inputs import LessMemoryWarning
from kipoi_mcdropout.dropout.memory import ModelMemoryError
from kipoi_mcdropout.errors import InputError, ModelError, ModelForwardError
from kipoi_mcdropout.model.adapter import KipoiModel
from kipoi_mcdropout.model.sequence_model import sequence_model
from kipoi_mcdropout.sequence.mutants import all_substitutions
from kipoi_mcdropout.sequence.one_hot import OneHotLayout

ENGINES = ["full", "incremental", "auto"]
DTYPES = [bool, np.uint8, np.int8, np.int32, np.int64, np.float16, np.float64]


def effects(net: Any, x: Any, **options: Any) -> dict[str, np.ndarray]:
    return MCDropoutISM(net, 0, **{"n_draws": 3, "end": 5, **options}).score(x)["diff"]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_one_hot_inputs_of_every_type_give_the_same_effects(dtype: Any, engine: str) -> None:
    net = fixed(Linear())
    x = one_hot(1)
    expected = effects(net, x, engine=engine)
    found = effects(net, x.astype(dtype), engine=engine)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=0, atol=2e-6)
    point = mc_predict(net, x.astype(dtype), n_draws=2).point
    np.testing.assert_array_equal(point, mc_predict(net, x, n_draws=2).point)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float16, 3e-3), (torch.bfloat16, 3e-2)]
)
def test_inputs_follow_the_weights_in_type(dtype: torch.dtype, tolerance: float, engine: str) -> None:
    x = one_hot(1)
    expected = effects(fixed(Linear()), x, engine="full")
    found = effects(fixed(Linear()).to(dtype), x, engine=engine)
    scale = np.nanmax(np.abs(expected["alt_mean"]))
    for name in ("effect_mean", "effect_sd", "ref_mean", "effect_point"):
        assert found[name].dtype == np.float64
        np.testing.assert_allclose(found[name], expected[name], atol=tolerance * scale)


def test_a_module_without_weights_keeps_the_type_of_its_input() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Dropout(0.5))
    x = torch.from_numpy(one_hot()).double()
    assert locked_forward(net, x, draw=0, seed=1).dtype == torch.float64
    assert locked_forward(net, x.float(), draw=0, seed=1).dtype == torch.float32
    assert locked_forward(net, x.bool(), draw=0, seed=1).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.bool])
def test_tensors_are_taken_as_arrays_are(dtype: torch.dtype) -> None:
    net, x = fixed(Linear()), one_hot()
    found = mc_predict(net, torch.from_numpy(x).to(dtype), n_draws=2)
    np.testing.assert_array_equal(found.mean, mc_predict(net, x, n_draws=2).mean)


def test_the_oracle_takes_arrays_too() -> None:
    net, x = fixed(Linear()), one_hot()
    expected = locked_forward(net, torch.from_numpy(x), draw=0, seed=1)
    assert torch.equal(locked_forward(net, x, draw=0, seed=1), expected)
    assert torch.equal(locked_forward(net, x.astype(np.float64), draw=0, seed=1), expected)


class Tokens(nn.Module):
    """Takes whole numbers, and a mask, as language models do."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(6, 8)
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(8, 2)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        assert ids.dtype == torch.int64
        assert mask.dtype == torch.bool
        h = self.drop(self.embed(ids)).masked_fill(~mask[..., None], 0)
        return self.head(h.mean(dim=1))


@pytest.mark.parametrize("length", [4, 7])
def test_tokens_and_masks_stay_whole_numbers(length: int) -> None:
    inputs = {"ids": np.arange(2 * length).reshape(2, length) % 6, "mask": np.ones((2, length), bool)}
    assert mc_predict(fixed(Tokens()), inputs, n_draws=3).sd.min() > 0
    with pytest.raises(
        InputError, match=r"one-hot .* got shape \(\d,\), whole numbers such as tokens.*vocabulary"
    ):
        MCDropoutISM(fixed(Tokens()), "ids", n_draws=3).score(inputs)


@dataclasses.dataclass
class Output:
    logits: Tensor
    loss: Tensor | None = None


class Library(OrderedDict):
    """Made as the outputs of HuggingFace's models are: a dict with the fields as attributes."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


class Wrapped(Linear):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: Tensor) -> Any:
        y = self.body(x)
        return {
            "tuple": lambda: (y, None),
            "dataclass": lambda: Output(y),
            "library": lambda: Library(logits=y),
            "nested": lambda: {"logits": [y], "state": {"hidden": None}},
        }[self.how]()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("how", ["tuple", "dataclass", "library", "nested"])
def test_structures_of_outputs(how: str, engine: str) -> None:
    expected = effects(fixed(Linear()), one_hot(1), engine=engine)
    found = effects(fixed(Wrapped(how)), one_hot(1), engine=engine)
    np.testing.assert_array_equal(found["effect_mean"], expected["effect_mean"])
    assert mc_predict(fixed(Wrapped(how)), one_hot(), n_draws=2).labels == ("0", "1", "2")


class Scalar(Linear):
    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)[:, 0]


@pytest.mark.parametrize("engine", ENGINES)
def test_one_number_per_sequence(engine: str) -> None:
    found = effects(fixed(Scalar()), one_hot(1), engine=engine)
    expected = effects(fixed(Linear()), one_hot(1), engine=engine, targets=0)
    np.testing.assert_allclose(found["effect_mean"], expected["effect_mean"], atol=1e-7)


def test_the_axis_of_the_bases_is_found() -> None:
    class Any4(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop = nn.Dropout(0.5)

        def forward(self, x: Tensor) -> Tensor:
            return self.drop(x.flatten(1)).cumsum(1)[:, -2:]

    for length in (40, 200, 300):
        wide = one_hot(1, length)
        tall = np.ascontiguousarray(wide.transpose(0, 2, 1))
        assert effects(Any4(), wide)["effect_mean"].shape == (1, 4, 5, 2)
        assert effects(Any4(), tall)["effect_mean"].shape == (1, 5, 4, 2)
        for wrong, axis in ((wide, 1), (tall, 0)):
            with pytest.raises(InputError, match=f"try category_axis {1 - axis}") as caught:
                effects(Any4(), wrong, category_axis=axis)
            assert len(str(caught.value)) < 320
    with pytest.raises(
        InputError, match=r"axes 0 and 1 .*\(4, 4\).* choose the axis of the bases with category_axis"
    ):
        effects(Any4(), one_hot(1, 4))
    with pytest.raises(InputError, match=r"must have 4 places.*shape \(7, 9\)"):
        effects(Any4(), np.zeros((1, 7, 9), np.float32))


def test_five_channels_need_an_alphabet_and_n_is_no_base() -> None:
    net = fixed(Linear(n_channels=5))
    x = one_hot(1, channels=5)
    x[0, :, 2] = [0, 0, 0, 0, 1]
    for options in ({}, {"category_axis": 0}):
        with pytest.raises(InputError, match=r"5 places and the alphabet ACGT 4 letters.*=ACGTN"):
            effects(net, x, **options)
    found = effects(net, x, alphabet="ACGTN")["effect_mean"][0, :, :, 0]
    mutated = np.isfinite(found)
    assert not mutated[4].any()
    assert not mutated[:, 2].any()
    assert mutated[:4].sum() == 3 * 4
    layout = OneHotLayout.of(x, alphabet="ACGTN")
    codes = layout.codes(x)
    assert all_substitutions(codes[0], 5, 0, 5, no_base=layout.no_base).without_base.tolist() == [2]
    np.testing.assert_array_equal(layout.encode(codes, x.dtype), x)
    with pytest.raises(InputError, match=r"5 places and the alphabet ACGT 4 letters.*alphabet=ACGTN"):
        sequence_model(net, input_shape=(5, LENGTH))


@pytest.mark.parametrize("options", [{"category_axis": 0}, {}])
def test_an_alphabet_of_another_length_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(InputError, match=r"each of the 4 categories along axis 0|must have 3 places"):
        effects(fixed(Linear()), one_hot(1), alphabet="ACG", **options)


def test_a_window_is_given_without_the_rest_of_the_sequence() -> None:
    net, x = fixed(Linear()), one_hot()
    whole = MCDropoutISM(net, 0, n_draws=3).score(x)["diff"]
    part = MCDropoutISM(net, 0, n_draws=3, start=12, end=20).score(x)["diff"]
    assert part["effect_mean"].shape == (2, 4, 8, 3)
    np.testing.assert_allclose(part["effect_mean"], whole["effect_mean"][:, :, 12:20], atol=1e-6)


def test_no_draws_give_the_point_alone_of_any_model() -> None:
    plain = nn.Sequential(nn.Flatten(), nn.Linear(4 * LENGTH, 3))
    for net in (fixed(plain), fixed(Linear())):
        x = one_hot()
        found = mc_predict(net, x, n_draws=0)
        np.testing.assert_allclose(found.point, net(torch.from_numpy(x)).detach().numpy(), rtol=1e-5)
        assert found.n_draws == 0
        assert found.n_nonfinite.tolist() == [[0] * 3] * 2
        assert all(np.isnan(values).all() for values in (found.mean, found.var, found.sd, found.mcse))


class Overflow(Linear):
    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x).abs() + 1
        return torch.cat([y[:, :1], y[:, 1:2] * 1e30 * 1e30, y[:, 2:] / torch.zeros(())], dim=1)


@pytest.mark.parametrize("n_draws", [0, 3])
def test_outputs_that_are_not_finite_are_counted(n_draws: int) -> None:
    found = mc_predict(fixed(Overflow()), one_hot(), n_draws=n_draws)
    assert found.n_nonfinite.tolist() == [[0, n_draws or 1, n_draws or 1]] * 2
    assert np.isnan(found.point[:, 1:]).all()
    assert np.isnan(found.mean[:, 1:]).all()
    assert np.isfinite(found.point[:, 0]).all()


class Hungry(Linear):
    """Runs out of memory with more than four inputs at a time."""

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 4:
            torch.empty(2**62, dtype=torch.uint8)
        return self.body(x)


class Card(Linear):
    def forward(self, x: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_a_run_goes_on_with_fewer_inputs_where_memory_runs_out() -> None:
    net, x = fixed(Hungry()), one_hot(9)
    expected = mc_predict(net, x, n_draws=3, batch_size=4)
    with pytest.warns(LessMemoryWarning, match=r"9 inputs at a time: it goes on with at most 4") as told:
        found = mc_predict(net, x, n_draws=3, batch_size=9)
    assert len(told) == 1
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-5)
    np.testing.assert_allclose(found.sd, expected.sd, rtol=1e-4)


@pytest.mark.parametrize("engine", ["full", "incremental"])
def test_effects_are_the_same_where_memory_runs_out(engine: str) -> None:
    class Greedy(Linear):
        limit = 10**9

        def forward(self, x: Tensor) -> Tensor:
            if len(x) > self.limit:
                torch.empty(2**62, dtype=torch.uint8)
            return self.body(x)

    net, x = fixed(Greedy()), one_hot(1)
    running = mcd.RunOptions(engine=engine, batch_size=32)
    expected = mcd.ism(net, x, n_draws=3, running=running).table()
    net.limit = 3
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = mcd.ism(net, x, n_draws=3, running=running).table()
    assert engine == "incremental" or any(w.category is LessMemoryWarning for w in told)
    for name in ("effect_mean", "effect_sd"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-6)


def test_memory_that_does_not_suffice_for_one_input_is_said_in_a_line() -> None:
    with pytest.raises(ModelMemoryError, match="CUDA out of memory") as caught:
        mc_predict(fixed(Card()), one_hot(8), n_draws=2)
    assert "\n" not in str(caught.value)


def test_other_errors_of_the_model_keep_their_words() -> None:
    class Broken(Linear):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(ModelForwardError, match=r"^RuntimeError: shapes cannot be multiplied, in the"):
        mc_predict(fixed(Broken()), one_hot(), n_draws=2)


def test_a_model_with_no_output_that_can_be_reported_is_refused_by_name() -> None:
    class Complex(Linear):
        def forward(self, x: Tensor) -> Any:
            return {"phase": torch.complex(self.body(x), self.body(x)), "loss": self.body(x).sum()}

    words = r"'phase': its numbers are complex, torch.complex64; 'loss': it is one number for the whole"
    with pytest.raises(ModelError, match=words):
        mc_predict(fixed(Complex()), one_hot(), n_draws=2)


def test_weights_of_every_type_are_checked() -> None:
    net = fixed(Linear()).to(torch.bfloat16)
    net.body[1].weight.data[0, 0] = float("nan")
    with pytest.raises(ModelError, match=r"'body\.1\.weight' has 1 NaN"):
        KipoiModel(net)
