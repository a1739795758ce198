"""Outputs of any structure as labelled columns, and the choice of targets."""

from __future__ import annotations

import pytest
import torch

from kipoi_mcdropout.errors import ModelError, TargetError
from kipoi_mcdropout.outputs import default_labels, flatten_outputs, select_targets

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


@pytest.mark.parametrize("wanted", ["CTCF", "4", "foxa*", -1, 4])
def test_a_target_that_names_nothing_is_an_error_that_lists_the_labels(wanted: str | int) -> None:
    with pytest.raises(TargetError, match="names none of the model's 4 outputs.*FOXA1, FOXA2"):
        select_targets(LABELS, [wanted])


def test_nested_outputs_are_flattened_in_the_order_of_their_labels() -> None:
    outputs = {"profile": torch.arange(12.0).reshape(2, 3, 2), "counts": [torch.tensor([7.0, 8.0])]}
    labels = default_labels(outputs)
    matrix = flatten_outputs(outputs, 2)
    assert labels == [f"profile/{i},{j}" for i in range(3) for j in range(2)] + ["counts/0/0"]
    assert matrix[1].tolist() == [6, 7, 8, 9, 10, 11, 8]
    assert flatten_outputs(outputs, 2, torch.tensor([6, 0])).tolist() == [[7, 0], [8, 6]]


def test_names_label_the_columns_they_fit() -> None:
    one = torch.zeros(2, 3)
    assert default_labels(one, ["a", "b", "c"]) == ["a", "b", "c"]
    assert default_labels(one, ["a", "b"]) == ["0", "1", "2"]
    assert default_labels(torch.zeros(2, 2, 2), ["a", "b"]) == ["0,a", "0,b", "1,a", "1,b"]


@pytest.mark.parametrize("outputs", [torch.zeros(3, 2), torch.tensor(1.0), [None]])
def test_an_output_without_the_batch_first_is_an_error(outputs: object) -> None:
    with pytest.raises(ModelError, match="batch of 2 first"):
        flatten_outputs(outputs, 2)
