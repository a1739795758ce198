"""What a model returns beside its predictions is left out by name, and the rest is as without it."""

from __future__ import annotations

import dataclasses
import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from small_models import LENGTH, Linear, array, fixed, one_hot, with_schema
from torch import Tensor, nn

from kipoi_mcdropout import MCDropoutISM, Model, mc_predict
from kipoi_mcdropout.errors import ModelError, TargetError
from kipoi_mcdropout.outputs.used import OutputLeftOutWarning

ENGINES = ["full", "incremental"]


class Returns(Linear):
    """Returns what a function makes of three numbers for each input."""

    def __init__(self, make: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.make = make

    def forward(self, x: Tensor) -> Any:
        return self.make(self.body(x))


@dataclasses.dataclass
class Fields(OrderedDict):
    """As HuggingFace's ModelOutput: a dict and a dataclass; fields that are None are no items."""

    loss: Any = None
    logits: Any = None
    states: Any = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if getattr(self, field.name) is not None:
                self[field.name] = getattr(self, field.name)


class Pair(NamedTuple):
    logits: Any
    loss: Any


BESIDE = {
    "a loss": (lambda y: {"loss": y.mean(), "logits": y}, "'loss' .it is one number for the whole"),
    "a text": (lambda y: {"logits": y, "name": "x"}, "'name' .it is of type str"),
    "a number": (lambda y: (y, 0.5), "'1' .it is of type float"),
    "another axis": (lambda y: [y, y.T], r"'1' .its shape is \(3, 2\) for a batch of 2"),
    "two layers": (lambda y: {"logits": y, "h": torch.stack([y, y])}, r"'h' .its shape is \(2, 3, 3\)"),
    "one layer": (lambda y: {"logits": y, "h": y[None]}, r"'h' .its shape is \(1, 2, 3\)"),
    "similarities": (lambda y: {"logits": y, "s": y @ y.T}, r"'s' .its shapes for batches of 2 and 3"),
    "complex": (lambda y: {"logits": y, "c": torch.complex(y, y)}, "'c' .its numbers are complex"),
    "sparse": (lambda y: {"logits": y, "s": y.to_sparse()}, "'s' .it is a sparse"),
    "named tuple": (lambda y: Pair(y, y.sum()), "'loss' .it is one number"),
    "nested": (lambda y: {"logits": [y], "c": (torch.zeros(7, 2), {"k": y.T})}, "'c/0' .*'c/1/k'"),
    "library": (lambda y: Fields(y.mean(), y, (torch.stack([y, y]),)), "'loss' .*'states/0'"),
}  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", BESIDE)
def test_what_is_no_prediction_is_left_out_with_a_warning(name: str, engine: str) -> None:
    make, words = BESIDE[name]
    options: dict[str, Any] = {"n_draws": 3, "end": 4, "category_axis": 0, "engine": engine}
    expected = MCDropoutISM(fixed(Linear()), 0, **options).score(one_hot(1))["diff"]
    ism = MCDropoutISM(fixed(Returns(make)), 0, **options)
    with pytest.warns(OutputLeftOutWarning, match=words):
        found = ism.score(one_hot(1))["diff"]
    ism.score(one_hot(1, seed=1))  # said once, not for every sequence: warnings are errors here
    assert ism.output_labels(one_hot(1)) == ("0", "1", "2")
    for statistic, values in expected.items():
        np.testing.assert_array_equal(found[statistic], values)


def test_nothing_is_said_where_all_is_used() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = mc_predict(fixed(Returns(lambda y: {"a": y, "b": (y[:, 0], None)})), one_hot(), 2)
    assert found.labels == ("a/0", "a/1", "a/2", "b/0")


@pytest.mark.filterwarnings("ignore::kipoi_mcdropout.outputs.used.OutputLeftOutWarning")
@pytest.mark.parametrize("wanted", ["loss", "lo*s", "hidden/0/1"])
def test_a_target_that_is_left_out_is_an_error_with_the_reason(wanted: str) -> None:
    net = fixed(Returns(lambda y: {"logits": y, "loss": y.mean(), "hidden": [y.T]}))
    with pytest.raises(TargetError, match=r"cannot be reported: .* returns '(loss|hidden/0)', but"):
        mc_predict(net, one_hot(), 2, targets=wanted)
    assert mc_predict(net, one_hot(), 2, targets="1").labels == ("1",)


class SometimesMore(Linear):
    """Gives an output more for inputs that begin with A."""

    def forward(self, x: Tensor) -> Any:
        y = self.body(x)
        return {"logits": y, "extra": y if bool(x[:, 0, 0].any()) else None}


class MoreInTwo(Linear):
    def forward(self, x: Tensor) -> Any:
        return [y := self.body(x), y if len(x) == 2 else None]


def test_an_output_that_is_none_for_some_inputs_is_named() -> None:
    with pytest.raises(ModelError, match="returns '1' for some, and None or nothing for others"):
        mc_predict(fixed(MoreInTwo()), one_hot(), 2)
    x = one_hot(4)
    x[:, :, 0] = np.eye(4)[[3, 3, 3, 0]]
    x[:, 0, 1:] = 0  # so that no shuffling of the first input begins with A
    with pytest.raises(ModelError, match="returns 'extra' for some, and None or nothing for others"):
        mc_predict(fixed(SometimesMore()), x, 2, batch_size=1)


class Shuffled(Linear):
    """A dict whose order is another one in each pass."""

    passes = 0

    def forward(self, x: Tensor) -> Any:
        Shuffled.passes += 1
        y = self.body(x)
        heads = {"a": y[:, 0], "b": y[:, 1], "c": y[:, 2]}
        return dict(sorted(heads.items(), reverse=Shuffled.passes % 2 == 0))


def test_outputs_of_a_dict_are_matched_by_key_in_every_pass() -> None:
    expected = mc_predict(fixed(Linear()), one_hot(3), 4)
    found = mc_predict(fixed(Shuffled()), one_hot(3), 4)
    columns = ["abc".index(label) for label in found.labels]
    np.testing.assert_array_equal(found.mean, expected.mean[:, columns])
    np.testing.assert_array_equal(found.sd, expected.sd[:, columns])


def test_a_schema_may_be_silent_of_what_is_left_out() -> None:
    net = fixed(Returns(lambda y: {"loss": y.mean(), "logits": y, "state": None}))
    for names in ({"logits": array("x", "y", "z")}, {"loss": array(), "logits": array("x", "y", "z")}):
        with pytest.warns(OutputLeftOutWarning):
            assert mc_predict(with_schema(net, names), one_hot(), 2).labels == ("x", "y", "z")
    pair = fixed(Returns(lambda y: (y.mean(), y)))
    said = [array(name="loss"), array("x", "y", "z", name="logits")]
    with pytest.warns(OutputLeftOutWarning):
        assert mc_predict(with_schema(pair, said), one_hot(), 2).labels == ("x", "y", "z")


def test_a_selection_may_take_one_of_them() -> None:
    net = fixed(Returns(lambda y: {"loss": y.mean(), "name": "x", "logits": y}))
    ism = MCDropoutISM(net, 0, n_draws=3, end=3, output_sel_fn=lambda row: row["logits"][:2])
    assert ism.output_labels(one_hot()) == ("0", "1")


class Squeezing(Linear):
    """Loses the batch of one, and returns a loss too."""

    def forward(self, x: Tensor) -> Any:
        return {"logits": self.body(x).squeeze(), "loss": x.mean()}


def test_a_model_that_squeezes_a_batch_of_one_keeps_its_outputs() -> None:
    with pytest.warns(OutputLeftOutWarning, match="'loss'"):
        found = mc_predict(fixed(Squeezing()), one_hot(3), 3, batch_size=1)
    np.testing.assert_allclose(found.mean, mc_predict(fixed(Linear()), one_hot(3), 3).mean, atol=1e-6)


# --- names -----------------------------------------------------------------------------------------


def test_names_that_come_twice_are_numbered_wherever_they_come_from() -> None:
    by_schema = mc_predict(with_schema(fixed(Linear()), array("A", "A", "B")), one_hot(), 2)
    by_hand = mc_predict(Model(fixed(Linear()), outputs=["A", "A", "B"]), one_hot(), 2)
    assert by_schema.labels == by_hand.labels == ("A#1", "A#2", "B")
    keys = fixed(Returns(lambda y: {"a": y[:, :2], "a/0": y[:, 2]}))
    assert mc_predict(keys, one_hot(), 2).labels == ("a/0#1", "a/1", "a/0#2")
    same = fixed(Returns(lambda y: {1: y[:, 0], "1": y[:, 1], "": y[:, 2:]}))
    assert mc_predict(same, one_hot(), 2).labels == ("1#1", "1#2", "0")


def test_one_number_of_a_dict_has_its_name() -> None:
    for make in (lambda y: {"score": y[:, 0]}, lambda y: {"score": y[:, :1]}):
        assert mc_predict(fixed(Returns(make)), one_hot(), 2).labels == ("score",)
    assert mc_predict(fixed(Returns(lambda y: y[:, 0])), one_hot(), 2).labels == ("0",)


def test_the_incremental_engine_was_really_entered() -> None:
    from kipoi_mcdropout.dropout.locked_model import LockedModel
    from kipoi_mcdropout.dropout.mask_bank import MaskBank
    from kipoi_mcdropout.engine import IncrementalEngine
    from kipoi_mcdropout.sequence.mutants import MutantBatch, substituted
    from kipoi_mcdropout.sequence.one_hot import OneHotLayout

    layout = OneHotLayout((4, LENGTH), 0)
    codes = layout.codes(one_hot(1))
    mutants = substituted(codes[0], np.array([3, 7]), (codes[0][[3, 7]] + 1) % 4)
    batch = MutantBatch(one_hot(1), None, layout, codes, np.zeros(2, np.int64), mutants)
    model = LockedModel(fixed(Returns(lambda y: {"loss": y.mean(), "logits": y})))
    engine = IncrementalEngine(model, MaskBank(0))
    with model.borrow(), pytest.warns(OutputLeftOutWarning):
        blocks = list(engine.run(batch, [0, 1]))
    assert blocks[0].alt.shape == (2, 2, 3)
    assert engine.paths["slices"] > 0
    assert isinstance(model.module, nn.Module)
