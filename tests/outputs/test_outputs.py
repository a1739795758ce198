"""Outputs of any structure as labelled columns, and the choice of targets."""

from __future__ import annotations

import dataclasses
import fnmatch
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from kipoi_mcdropout.arrays.nested import map_nested, take
from kipoi_mcdropout.errors import ModelError, TargetError
from kipoi_mcdropout.model.output_names import OutputLabelWarning, label_outputs
from kipoi_mcdropout.outputs.labels import ArrayLabels, OutputLabels, unique_names
from kipoi_mcdropout.outputs.matrix import flatten_outputs
from kipoi_mcdropout.outputs.targets import as_targets, select_targets

LABELS = ["FOXA1", "FOXA2", "DNase", "2"]


@pytest.mark.parametrize(
    ("wanted", "columns"),
    [
        (None, (0, 1, 2, 3)),
        ([], (0, 1, 2, 3)),
        (["DNase"], (2,)),
        (["FOXA*"], (0, 1)),
        (["DNase", "FOXA*", "DNase"], (0, 1, 2)),
        ([1], (1,)),
        (["1"], (1,)),
        (["2"], (3,)),  # a label wins over an index
        (["F????"], (0, 1)),
    ],
)
def test_targets_by_label_index_and_pattern(wanted: list | None, columns: tuple) -> None:
    targets = select_targets(LABELS, wanted)
    assert targets.columns == columns
    assert targets.labels == tuple(LABELS[i] for i in columns)
    assert (targets.selected is None) == (len(columns) == 4)


@pytest.mark.parametrize("wanted", [1.0, [1.0], True, np.float32(1)])
def test_a_target_is_a_text_or_a_whole_number(wanted: object) -> None:
    with pytest.raises(TargetError, match="targets must be labels, numbers from 0, or patterns"):
        as_targets(wanted)


@pytest.mark.parametrize("wanted", ["CTCF", "4", "foxa*", -1, 4])
def test_a_target_that_names_nothing_is_an_error_that_lists_the_labels(wanted: str | int) -> None:
    with pytest.raises(TargetError, match=r"names none of the model's 4 outputs.*FOXA1, FOXA2"):
        select_targets(LABELS, [wanted])


@pytest.mark.parametrize(
    ("wanted", "columns"),
    [("10", (10,)), (1, (1,)), (np.int64(3), (3,)), (np.array([2, 0]), (0, 2)), ("1*", (1, 10, 11))],
)
def test_one_target_needs_no_list(wanted: Any, columns: tuple) -> None:
    labels = [str(i) for i in range(12)]
    assert select_targets(labels, wanted).columns == columns
    assert select_targets(label_outputs(torch.zeros(2, 12)), wanted).columns == columns


@pytest.mark.parametrize("wanted", [True, [True], [1.0], [None]])
def test_what_is_no_target_is_an_error(wanted: Any) -> None:
    with pytest.raises(TargetError, match="targets must be labels, numbers from 0, or patterns"):
        select_targets(LABELS, wanted)


def test_nested_outputs_are_flattened_in_the_order_of_their_labels() -> None:
    outputs = {
        "profile": torch.arange(12.0).reshape(2, 3, 2),
        "counts": [torch.tensor([7, 8])],
        "nothing": None,
    }
    labels = label_outputs(outputs)
    matrix = flatten_outputs(outputs, 2)
    assert list(labels) == [f"profile/{i},{j}" for i in range(3) for j in range(2)] + ["counts/0"]
    assert matrix[1].tolist() == [6, 7, 8, 9, 10, 11, 8]
    assert flatten_outputs(outputs, 2, torch.tensor([6, 0])).tolist() == [[7, 0], [8, 6]]


@pytest.mark.parametrize(
    "outputs", [torch.zeros(3, 2), torch.tensor(1.0), ["text"], torch.zeros(2, dtype=torch.complex64)]
)
def test_an_output_without_the_batch_first_is_an_error(outputs: object) -> None:
    with pytest.raises(ModelError, match="batch of 2 first"):
        flatten_outputs(outputs, 2)


def test_a_model_that_returns_nothing_is_an_error() -> None:
    with pytest.raises(ModelError, match="must return one or more tensors"):
        flatten_outputs([None], 2)


class Pair(NamedTuple):
    """As many models return."""

    profile: torch.Tensor
    counts: torch.Tensor


@dataclasses.dataclass
class Output:
    """As models of libraries return, with fields that are not always set."""

    logits: torch.Tensor
    hidden: torch.Tensor | None = None


def test_named_tuples_and_dataclasses_keep_their_names() -> None:
    pair = Pair(torch.zeros(2, 2), torch.zeros(2))
    assert list(label_outputs(pair)) == ["profile/0", "profile/1", "counts"]
    assert list(label_outputs(Output(torch.zeros(2, 2)))) == ["0", "1"]
    both = Output(torch.zeros(2, 1), torch.zeros(2, 2))
    assert list(label_outputs(both)) == ["logits", "hidden/0", "hidden/1"]
    assert map_nested(lambda x: x + 1, pair)[0].tolist() == [[1, 1], [1, 1]]
    assert isinstance(take(pair, slice(0, 1)), Pair)
    assert map_nested(len, both) == {"logits": 2, "hidden": 2}


def says(*labels: str, name: str = "") -> Any:
    """An array in a Kipoi schema."""
    return SimpleNamespace(column_labels=list(labels), name=name or None)


def test_column_labels_name_the_axis_of_their_length() -> None:
    abc = says("a", "b", "c")
    assert list(label_outputs(torch.zeros(2, 3), abc)) == ["a", "b", "c"]
    assert list(label_outputs(torch.zeros(2, 2, 3), abc)) == ["0,a", "0,b", "0,c", "1,a", "1,b", "1,c"]
    assert list(label_outputs(torch.zeros(2, 3, 2), abc)) == ["a,0", "a,1", "b,0", "b,1", "c,0", "c,1"]
    assert list(label_outputs(torch.zeros(2, 3, 1), abc)) == ["a", "b", "c"]
    assert list(label_outputs(torch.zeros(2), says("a"))) == ["a"]
    assert list(label_outputs(torch.zeros(2, 2, 2), says(*"abcd"))) == ["a", "b", "c", "d"]


def test_where_two_axes_fit_the_axis_is_asked_for() -> None:
    outputs, abce = torch.zeros(2, 4, 4), says("a", "b", "c", "e")
    with pytest.raises(TargetError, match=r"\(4, 4\).* fit axes 0 or 1: .*label_axis=0"):
        label_outputs(outputs, abce)
    assert label_outputs(outputs, abce, label_axis=0)[:5] == ["a,0", "a,1", "a,2", "a,3", "b,0"]
    assert label_outputs(outputs, abce, label_axis=-1)[:5] == ["0,a", "0,b", "0,c", "0,e", "1,a"]
    with pytest.raises(TargetError, match=r"label_axis must be 0 or 1, .*; got 2"):
        label_outputs(outputs, abce, label_axis=2)
    with pytest.raises(TargetError, match=r"label_axis must be 0, .*; got 1"):
        label_outputs(torch.zeros(2, 4, 3), abce, label_axis=1)


def test_labels_that_fit_no_axis_are_not_dropped_without_a_word() -> None:
    with pytest.warns(OutputLabelWarning, match=r"the 2 column labels .*\(a, b\) fit no axis.*\(3,\)"):
        labels = label_outputs(torch.zeros(2, 3), says("a", "b"))
    assert list(labels) == ["0", "1", "2"]
    with pytest.warns(OutputLabelWarning, match="describes 2 output arrays, but the model gives 1"):
        label_outputs(torch.zeros(2, 3), [says("a"), says("b")])


def test_the_outputs_of_a_dict_are_labelled_by_key() -> None:
    schema = {"a": says(), "b": says()}
    outputs = {"b": torch.full((2, 1), 2.0), "a": torch.full((2, 1), 1.0)}
    labels = label_outputs(outputs, schema)
    assert list(labels) == ["b", "a"]
    assert flatten_outputs(outputs, 2)[0].tolist() == [2.0, 1.0]
    with pytest.raises(ModelError, match=r"names in its schema \(a, b\); .* gives b, c\."):
        label_outputs({"b": outputs["b"], "c": outputs["a"]}, schema)
    with pytest.raises(ModelError, match="names in its schema"):
        label_outputs({"b": outputs["b"]}, schema)
    with pytest.raises(ModelError, match="names in its schema"):
        label_outputs(outputs, [says(name="a"), says(name="c")])
    reordered = label_outputs(Pair(outputs["a"], outputs["b"]), {"counts": says("n"), "profile": says()})
    assert list(reordered) == ["profile", "counts/n"]


def test_lists_and_tuples_take_the_names_of_the_schema_in_order() -> None:
    outputs = (torch.zeros(2, 2), torch.zeros(2, 1))
    named = [says("x", "y", name="p"), says(name="q")]
    assert list(label_outputs(outputs, named)) == ["p/x", "p/y", "q"]
    assert list(label_outputs(list(outputs), {"p": says(), "q": says()})) == ["p/0", "p/1", "q"]
    assert list(label_outputs(outputs, [says("x", "y"), says()])) == ["0/x", "0/y", "1"]
    assert list(label_outputs(outputs)) == ["0/0", "0/1", "1"]


def test_labels_that_occur_twice_are_numbered() -> None:
    labels = label_outputs(torch.zeros(2, 3), says("A", "A", "B"))
    assert list(labels) == ["A#1", "A#2", "B"]
    assert unique_names(["A", "A#1", "A"]) == ("A#2", "A#1", "A#3")
    assert select_targets(labels, ["A#2"]).columns == (1,)
    assert select_targets(labels, [1]).labels == ("A#2",)
    with pytest.raises(TargetError, match="'A' names 2 outputs; name one of them: 'A#1', 'A#2'"):
        select_targets(labels, ["A"])
    arrays = label_outputs([torch.zeros(2, 1), torch.zeros(2, 1)], [says(name="x"), says(name="x")])
    assert list(arrays) == ["x#1", "x#2"]


def arrays_of_labels() -> list[ArrayLabels]:
    return [
        ArrayLabels((3,), "", ("a", "b,c", "d"), 0),
        ArrayLabels((2, 3), "", ("a", "b", "c"), 1),
        ArrayLabels((3, 2), "", ("a", "b,c", "1"), 0),
        ArrayLabels((2, 3, 2), "profile", ("a", "b", "c"), 1),
        ArrayLabels((2, 1, 3), "x[1]"),
        ArrayLabels((), "only"),
        ArrayLabels((1, 1)),
        ArrayLabels((2, 2), "", ("p", "q", "r", "s")),
    ]


PATTERNS = ["*", "a", "*,a", "1,*", "a,*", "profile/*,b,1", "?,?", "[01],*", "x[[]1]/1,*", "only", "*b*"]


@pytest.mark.parametrize("array", arrays_of_labels(), ids=str)
def test_labels_are_found_and_matched_as_in_a_list_of_them(array: ArrayLabels) -> None:
    labels = OutputLabels([array])
    texts = [array.label(i) for i in range(len(array))]
    assert len(set(texts)) == len(texts) == len(labels)
    assert list(labels) == texts == labels[:]
    assert labels[-1] == texts[-1]
    for i, text in enumerate(texts):
        assert labels.find(text) == [i]
    for other in ("", "b", "0", "00,a", "3,a", "profile", "profile/0,a", "x", "1,b,c"):
        assert labels.find(other) == [i for i, text in enumerate(texts) if text == other]
    for pattern in PATTERNS:
        assert labels.match(pattern) == [
            i for i, text in enumerate(texts) if fnmatch.fnmatchcase(text, pattern)
        ]


def test_labels_of_several_arrays_are_numbered_through() -> None:
    arrays = [ArrayLabels((2,), "a"), ArrayLabels((), "b"), ArrayLabels((2, 2), "c")]
    labels = OutputLabels(arrays)
    texts = ["a/0", "a/1", "b", "c/0,0", "c/0,1", "c/1,0", "c/1,1"]
    assert list(labels) == texts == [labels[i] for i in range(7)]
    assert select_targets(labels, ["c/1,*", "b"]).columns == (2, 5, 6)
    with pytest.raises(IndexError):
        labels[7]


def test_few_labels_are_made_of_very_many(monkeypatch: pytest.MonkeyPatch) -> None:
    tracks = unique_names([f"track {i}" for i in range(5313)])
    made: list[int] = []
    label = ArrayLabels.label
    monkeypatch.setattr(ArrayLabels, "label", lambda self, i: made.append(i) or label(self, i))
    labels = OutputLabels([ArrayLabels((896, 5313), "", tracks, 1)])
    assert len(labels) == 4_760_448
    assert select_targets(labels, ["447,track 5"]).columns == (447 * 5313 + 5,)
    assert select_targets(labels, "448,track 1?").columns == tuple(448 * 5313 + i for i in range(10, 20))
    with pytest.raises(TargetError, match=r"4760448 outputs for each input, 0,track 0, .*choose some"):
        select_targets(labels, None)
    assert len(made) < 40
