"""The labels of outputs through the whole path: Python, tables and files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from small_models import Linear, array, fixed, one_hot, with_schema
from torch import Tensor, nn

from kipoi_mcdropout import MCDropoutISM, mc_predict
from kipoi_mcdropout.errors import ModelError, TargetError
from kipoi_mcdropout.files import effect_files
from kipoi_mcdropout.files.read import read_effects
from kipoi_mcdropout.files.record import SequenceBlocks, SequenceRecord

RECORD = {"n_draws": 3, "seed": 0}


class TwoHeads(Linear):
    """A dict whose order is not that of the schema."""

    def forward(self, x: Tensor) -> Any:
        small = 1e-3 * self.body(x)[:, :1]
        return {"b": 2 + small, "a": 1 + small}


def test_outputs_of_a_dict_are_labelled_by_key_not_by_order() -> None:
    model = with_schema(fixed(TwoHeads()), {"a": array(shape=(1,)), "b": array(shape=(1,))})
    found = mc_predict(model, one_hot(), n_draws=3)
    mean = dict(zip(found.labels, found.mean[0], strict=True))
    assert mean["a"] == pytest.approx(1, abs=0.1)
    assert mean["b"] == pytest.approx(2, abs=0.1)
    assert mc_predict(model, one_hot(), 3, targets="a").mean[0] == pytest.approx(mean["a"])
    other = with_schema(fixed(TwoHeads()), {"a": array(), "c": array()})
    with pytest.raises(ModelError, match=r"names in its schema \(a, c\); its forward pass gives b, a"):
        mc_predict(other, one_hot(), n_draws=3)


class Heads(NamedTuple):
    profile: Tensor
    counts: Tensor


class Named(Linear):
    def forward(self, x: Tensor) -> Any:
        y = self.body(x)
        return Heads(y, y[:, 0])


@pytest.mark.parametrize("engine", ["full", "incremental", "auto"])
def test_named_tuples_keep_their_names_in_every_engine(engine: str) -> None:
    ism = MCDropoutISM(fixed(Named()), 0, n_draws=3, category_axis=0, engine=engine)
    assert ism.output_labels(one_hot()) == ("profile/0", "profile/1", "profile/2", "counts")
    scores = ism.score(one_hot())["diff"]["effect_mean"]
    np.testing.assert_allclose(scores[..., 0], scores[..., 3], atol=1e-7)


class Profile(nn.Module):
    """An output of shape (4, 4) of which only the first row is not zero."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Linear(4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner(x)
        return torch.stack([y, *[torch.zeros_like(y)] * 3], dim=1)


def test_the_axis_of_the_labels_is_asked_for_where_two_fit() -> None:
    model = with_schema(fixed(Profile()), array("a", "b", "c", "e"))
    with pytest.raises(TargetError, match="choose the axis that they name, with label_axis=0"):
        mc_predict(model, one_hot(), n_draws=3)
    found = mc_predict(model, one_hot(), n_draws=3, label_axis=0)
    values = zip(found.labels, found.mean[0], strict=True)
    nonzero = {label.partition(",")[0] for label, y in values if y}
    assert nonzero == {"a"}


def test_labels_that_occur_twice_are_the_same_in_all_formats(tmp_path: Path) -> None:
    model = with_schema(fixed(Linear(3)), array("A", "A", "B"))
    ism = MCDropoutISM(model, 0, n_draws=3, category_axis=0, end=10)
    paths = [tmp_path / f"out.{suffix}" for suffix in ("h5", "tsv", "parquet")]
    with effect_files(paths, RECORD) as files:
        for i, effects in enumerate(ism.effects(one_hot())):
            files.write(SequenceBlocks.of(SequenceRecord(i, effects)))
    tables = [read_effects(path) for path in paths]
    for table in tables:
        assert list(dict.fromkeys(table["output"])) == ["A#1", "A#2", "B"]
        assert not table.duplicated(["name", "position", "alt", "output"]).any()
    second = [read_effects(path, [1]) for path in paths]
    columns = ["position", "alt", "output", "effect_mean"]
    for table in second:
        assert set(table["output"]) == {"A#2"}
        assert len(table) == 2 * 30
        pd.testing.assert_frame_equal(table[columns], second[0][columns], check_dtype=False, rtol=1e-6)
    pd.testing.assert_frame_equal(read_effects(paths[1], "A#2"), second[1])


def test_a_selection_keeps_the_names_it_gives() -> None:
    def both(y: np.ndarray) -> dict[str, np.ndarray]:
        return {"first": y[0], "sum": y.sum()}

    net = fixed(Linear()).to(torch.bfloat16)
    ism = MCDropoutISM(net, 0, n_draws=3, end=3, output_sel_fn=both)
    assert ism.output_labels(one_hot()) == ("first", "sum")
    alone = MCDropoutISM(net, 0, n_draws=3, end=3, output_sel_fn=lambda y: y[:2])
    assert alone.output_labels(one_hot()) == ("0", "1")
