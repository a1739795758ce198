"""From what a model's schema says of its outputs to the labels of the outputs that it gives."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kipoi_mcdropout.arrays.nested import Nested, entries, is_named, leaves
from kipoi_mcdropout.errors import InputError, InputWarning, ModelError, TargetError
from kipoi_mcdropout.outputs.labels import ArrayLabels, OutputLabels, unique_names
from kipoi_mcdropout.outputs.targets import MAX_UNASKED


class OutputLabelWarning(InputWarning):
    """Labels of the schema that do not fit the model's outputs, which are numbered instead."""


@dataclass(frozen=True)
class SaidArray:
    """What a schema says of one output array."""

    title: str
    names: tuple[str, ...] = ()


def label_outputs(
    outputs: Nested, schema: Any = None, label_axis: int | None = None
) -> Sequence[str]:
    """A label per column of `outputs.flatten_outputs`, all different.

    Parameters
    ----------
    outputs : nested arrays, batch first
        As the model gives them, None in the place of what is left out. Dicts, named tuples and
        dataclasses are labelled by their names, lists and tuples by position or by the names in the
        schema. A lone array of several numbers needs no name of its own: its labels are "0", "1", ...
    schema : kipoi array schema, or dict or list of them, optional
        Its column labels name the axis of an array (without the batch) that has their length. Labels
        that occur twice are numbered: A, A, B become A#1, A#2, B.
    label_axis : int, optional
        The axis (from 0, or from the end) that the column labels name, where several have their length.

    Raises
    ------
    ModelError
        If outputs and schema both have names and these differ.
    TargetError
        If more than one axis has the length of the column labels, or `label_axis` is no such axis.
    """
    found = list(leaves(outputs))
    arrays = [
        array_labels(array.title, tuple(leaf.shape[1:]), array.names, label_axis)
        for (_, leaf), array in zip(found, titled_arrays(outputs, schema), strict=True)
    ]
    return _different(OutputLabels(arrays))


def titled_arrays(outputs: Nested, schema: Any = None) -> list[SaidArray]:
    """What the schema says of each output array, with titles that differ; see `label_outputs`."""
    found = list(leaves(outputs))
    said = _said(outputs, [path for path, _ in found], schema)
    titles = unique_names([array.title for array in said]) if len(said) > 1 else _lone(outputs, found)
    return [replace(array, title=title) for array, title in zip(said, titles, strict=True)]


def name_outputs(outputs: Nested, names: Sequence[str], label_axis: int | None = None) -> Sequence[str]:
    """Labels of the outputs by names that the user gives.

    Parameters
    ----------
    outputs : nested arrays, batch first
    names : sequence of str
        One for each output, or, for a model with one output array, one for each place along one of its
        axes.
    label_axis : int, optional
        See `label_outputs`.

    Raises
    ------
    InputError
        If there are more or fewer names than outputs.
    """
    shapes = [tuple(leaf.shape[1:]) for _, leaf in leaves(outputs)]
    n_outputs = sum(math.prod(shape) for shape in shapes)
    if len(names) == n_outputs:
        return tuple(names)
    if len(shapes) == 1 and len(names) in shapes[0]:
        return OutputLabels([array_labels("", shapes[0], tuple(names), label_axis)])
    raise InputError(
        f"outputs must have a name for each of the model's {n_outputs} outputs; got {len(names)}: "
        f"{_shown(names)}. To report only some outputs of all, use targets"
    )


def _lone(outputs: Nested, found: list[tuple[str, Any]]) -> tuple[str, ...]:
    """The title of the only array: that of a dict or dataclass with one number for each input."""
    is_number = bool(found) and math.prod(found[0][1].shape[1:]) == 1
    return (found[0][0] if is_number and is_named(outputs) else "",)


def _different(labels: OutputLabels) -> Sequence[str]:
    """The labels, numbered where some are equal: an output "a/0" beside the first number of "a"."""
    titles = [array.title for array in labels.arrays]
    if len(titles) < 2 or not ("" in titles or _beginnings(titles) & set(titles)):
        return labels
    if len(labels) > MAX_UNASKED:
        raise ModelError(
            f"the outputs {_shown(titles)} of the model must have names of which none begins with "
            "another and /; rename the keys of the dict that it returns"
        )
    return unique_names(labels)


def _beginnings(titles: Sequence[str]) -> set[str]:
    """What stands before a / in the titles: "a" and "a/b" for "a/b/c"."""
    return {title[:i] for title in titles for i, letter in enumerate(title) if letter == "/"}


def _said(outputs: Nested, paths: list[str], schema: Any) -> list[SaidArray]:
    """What the schema says of each output array, in the order of the arrays."""
    unknown = [SaidArray(path) for path in paths]
    if schema is None:
        return unknown
    items = [(str(name), array) for name, array in entries(schema) or [("", schema)]]
    if isinstance(schema, Mapping) and is_named(outputs):
        values = {str(name): value for name, value in entries(outputs) or ()}
        _check_keys(values, [name for name, _ in items])
        by_name = {name: SaidArray(name, _names(array)) for name, array in items}
        return [by_name.get(path, SaidArray(path)) for path in paths]
    titled = [SaidArray(_title(name, array, schema), _names(array)) for name, array in items]
    if is_named(outputs) and all(array.title in paths for array in titled):
        by_name = {array.title: array for array in titled}
        return [by_name.get(path, SaidArray(path)) for path in paths]
    if is_named(outputs) and len(paths) > 1 and isinstance(outputs, Mapping):
        if all(getattr(array, "name", None) for _, array in items):
            values = {str(name): value for name, value in entries(outputs) or ()}
            _check_keys(values, [array.title for array in titled])
        return unknown  # a dict has no order that a list could follow
    places = [str(i) for i, _ in entries(outputs) or ()]
    if not is_named(outputs) and len(titled) == len(places) and set(paths) <= set(places):
        return [titled[places.index(path)] for path in paths]  # None, or left out, in other places
    if len(titled) == len(paths):
        return titled
    everything = [name for array in titled for name in array.names or (array.title,)]
    _warn(
        f"the model's schema describes {len(titled)} output arrays, but the model gives {len(paths)}; "
        f"the outputs get numbers, and the labels of the schema ({_shown(everything)}) are not used"
    )
    return unknown


def _check_keys(values: Mapping[str, Nested], said: Sequence[str]) -> None:
    """Names in the schema must be those of the outputs, without those that are None or left out."""
    came = [name for name, value in values.items() if any(True for _ in leaves(value))]
    if not set(came) <= set(said) <= set(values):
        raise ModelError(
            f"the model's outputs must have the names in its schema ({_shown(said)}); its forward pass "
            f"gives {_shown(came)}. Correct schema.targets in the model.yaml, or the model"
        )


def _title(name: str, array: Any, schema: Any) -> str:
    return name if isinstance(schema, Mapping) else str(getattr(array, "name", None) or name)


def _names(array: Any) -> tuple[str, ...]:
    return unique_names(list(getattr(array, "column_labels", None) or []))


def array_labels(
    title: str,
    shape: tuple[int, ...],
    names: tuple[str, ...],
    label_axis: int | None,
    word: str = "label_axis",
) -> ArrayLabels:
    """Labels of one array: the names belong to the axis of their number; see `label_outputs`.

    `word` is the user's word for the axis.
    """
    if not names:
        return ArrayLabels(shape, title)
    axes = [axis for axis, size in enumerate(shape) if size == len(names)]
    if len(names) == 1 and math.prod(shape) == 1:
        return ArrayLabels(shape, title, names, None)
    if len(axes) == 1 and (label_axis is None or label_axis % len(shape) == axes[0]):
        return ArrayLabels(shape, title, names, axes[0])
    if axes:
        return ArrayLabels(shape, title, names, _asked_for(label_axis, axes, shape, title, word))
    if len(names) == math.prod(shape):
        return ArrayLabels(shape, title, names, None)
    _warn(
        f"the {len(names)} column labels of the model's output{f' {title!r}' if title else ''} "
        f"({_shown(names)}) fit no axis of its shape {shape} (without the batch); its columns get "
        "numbers instead"
    )
    return ArrayLabels(shape, title)


def _asked_for(
    label_axis: int | None, axes: list[int], shape: tuple[int, ...], title: str, word: str
) -> int:
    what = f"the model's output{f' {title!r}' if title else ''} has shape {shape} (without the batch)"
    choices = " or ".join(map(str, axes))
    if label_axis is None:
        raise TargetError(
            f"{what} and its {shape[axes[0]]} column labels fit axes {choices}: choose the axis that "
            f"they name, with {word}={axes[0]} for the first of them (--{word})"
        )
    if not -len(shape) <= label_axis < len(shape) or label_axis % len(shape) not in axes:
        raise TargetError(f"{word} must be {choices}, as {what}; got {label_axis}")
    return label_axis % len(shape)


def _shown(names: Sequence[str], n: int = 5) -> str:
    return ", ".join(map(str, names[:n])) + (", ..." if len(names) > n else "")


def _warn(message: str) -> None:
    warnings.warn(message, OutputLabelWarning, stacklevel=2)
