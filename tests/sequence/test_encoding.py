"""One-hot arrays of every layout, as codes and back; which arrays are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.sequence.mutants import (
    MutantBatch,
    all_substitutions,
    sequence_scope,
    substituted,
)
from kipoi_mcdropout.sequence.one_hot import OneHotLayout

LAYOUTS = [((7, 4), 1), ((4, 7), 0), ((4, 1, 7), 0), ((1, 7, 4), 2), ((7, 4), -1)]


def _one_hot(codes: np.ndarray, shape: tuple[int, ...], axis: int) -> np.ndarray:
    """Independent encoding, element by element."""
    x = np.zeros((len(codes), *shape), np.float32)
    axis = axis % len(shape)
    for row in range(len(codes)):
        others = [range(s) for i, s in enumerate(shape) if i != axis]
        positions = [()]
        for r in others:
            positions = [(*p, i) for p in positions for i in r]
        for code, where in zip(codes[row], positions, strict=True):
            index = list(where)
            index.insert(axis, slice(None))
            x[(row, *index)] = [code == k for k in range(4)] if code < 5 else [0.25] * 4
    return x


@pytest.mark.parametrize(("shape", "axis"), LAYOUTS)
@given(codes=st.lists(st.lists(st.integers(0, 5), min_size=7, max_size=7), min_size=1, max_size=3))
def test_codes_and_back(shape: tuple[int, ...], axis: int, codes: list[list[int]]) -> None:
    expected = np.array(codes, np.uint8)
    x = _one_hot(expected, shape, axis)
    layout = OneHotLayout.of(x, axis)
    assert layout.n_positions == 7
    np.testing.assert_array_equal(layout.codes(x), expected)
    np.testing.assert_array_equal(layout.encode(expected, x.dtype), x)


def test_integer_arrays_keep_their_type() -> None:
    x = np.eye(4, dtype=np.int8)[None]
    layout = OneHotLayout.of(x, 1)
    assert layout.encode(layout.codes(x), x.dtype).dtype == np.int8


@pytest.mark.parametrize(
    "column", [[0.5, 0.5, 0, 0], [1, 1, 0, 0], [2, 0, 0, 0], [0.9, 0.1, 0, 0], [np.nan, 0, 0, 0]]
)
def test_soft_encodings_are_refused_with_their_place(column: list[float]) -> None:
    x = np.eye(4, dtype=np.float32)[[0, 1, 2]][None].repeat(2, 0)
    x[1, 2] = column
    with pytest.raises(InputError, match=r"sequence 1 has .* at position 2"):
        OneHotLayout.of(x, 1).codes(x)


def test_wrong_category_axis_is_refused() -> None:
    x = np.eye(4, dtype=np.float32)[[0, 1, 2, 2, 1]][None]
    with pytest.raises(InputError, match="category_axis"):
        OneHotLayout.of(x, 0).codes(x)
    with pytest.raises(InputError, match="category_axis must be an axis"):
        OneHotLayout.of(x, 2)


def test_an_alphabet_must_have_a_letter_for_each_category() -> None:
    x = np.zeros((1, 4, 7))
    assert OneHotLayout.of(x, 0, "AGCT").letters() == ["A", "G", "C", "T", "N", "N"]
    assert OneHotLayout.of(np.zeros((1, 6, 7)), 0).letters()[:6] == list("012345")
    with pytest.raises(InputError, match=r"4 categories .* got 'ACG'"):
        OneHotLayout.of(x, 0, "ACG")


def test_all_substitutions_of_a_window_skip_positions_without_a_base() -> None:
    codes = np.array([0, 4, 3, 5, 2], np.uint8)
    edits = all_substitutions(codes, 4, 1, 4)
    assert edits.position.tolist() == [2, 2, 2]
    assert edits.alt.tolist() == [0, 1, 2]
    assert edits.without_base.tolist() == [1, 3]
    own = all_substitutions(codes, 4, include_reference=True)
    assert own.position.tolist() == [0] * 4 + [2] * 4 + [4] * 4


@pytest.mark.parametrize(("start", "end"), [(3, 3), (4, 2), (-1, 2), (0, 6)])
def test_windows_outside_the_sequence_are_refused(start: int, end: int) -> None:
    with pytest.raises(InputError, match="0 <= start < end <= 5"):
        all_substitutions(np.zeros(5, np.uint8), 4, start, end)


def test_mutants_differ_from_their_reference_in_one_column_only() -> None:
    codes = np.array([[0, 1, 2, 3, 0, 1, 2]], np.uint8)
    x = _one_hot(codes, (4, 1, 7), 0)
    layout = OneHotLayout.of(x, 0)
    edits = all_substitutions(codes[0], 4)
    mutants = substituted(codes[0], edits.position, edits.alt)
    extra = np.array([[2.5]], np.float32)
    batch = MutantBatch(
        {"seq": x, "extra": extra}, "seq", layout, codes, np.zeros(len(mutants), int), mutants
    )
    inputs = batch.inputs(slice(3, 9))
    assert inputs["extra"].tolist() == [[2.5]] * 6
    for row, (position, alt) in enumerate(zip(edits.position[3:9], edits.alt[3:9], strict=True)):
        changed = np.argwhere(inputs["seq"][row] != x[0])
        assert set(changed[:, 2]) == {position}
        assert inputs["seq"][row, :, 0, position].argmax() == alt
    assert not batch.unchanged().any()


def test_sequence_scope_is_a_function_of_the_content() -> None:
    x = np.eye(4, dtype=np.float32)
    assert sequence_scope([x]) == sequence_scope([x.copy()])
    assert len({sequence_scope([x]), sequence_scope([x[::-1]]), sequence_scope([x, x])}) == 3
    assert 0 < sequence_scope([x]) < 2**64
