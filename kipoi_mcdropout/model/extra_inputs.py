"""A model's inputs beside its sequence, such as an organism: each is the same for all sequences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.arrays.nested import Nested
from kipoi_mcdropout.errors import InputError

_FLAGS = "extra_inputs (--extra_inputs '{\"organism\": 0}')"


@dataclass(frozen=True)
class SequenceInput:
    """Where the sequence stands among the inputs of a model, and what stands beside it.

    Attributes
    ----------
    key : str, int or None
        Of the sequence: of the dict, the position in the list, None where the input is an array.
    container : type
        dict, list, or numpy.ndarray for the array itself.
    array : object or None
        What the model's schema says of the sequence.
    extra : dict
        One row of each other input, without the batch, by key.
    keys : tuple
        All keys, in the order of the schema.
    """

    key: Any
    container: type
    array: Any
    extra: dict[Any, NDArray[Any]] = field(default_factory=dict)
    keys: tuple[Any, ...] = ()

    def inputs(self, x: NDArray[Any]) -> Nested:
        """All inputs of the model for sequences, batch first."""
        if self.container is np.ndarray:
            return x
        rows = {key: np.repeat(value[None], len(x), axis=0) for key, value in self.extra.items()}
        rows[self.key] = x
        if self.container is list:
            return [rows[key] for key in self.keys]
        return {key: rows[key] for key in self.keys}


def sequence_input(
    schema: Any, model_input: Any = None, extra_inputs: Mapping[str, Any] | None = None
) -> SequenceInput:
    """Find the sequence among the inputs that a schema describes.

    Parameters
    ----------
    schema : nested, or None
        `model.schema.inputs` of a Kipoi model; None where the model has no schema.
    model_input : str or int, optional
        Name, or number in a list, of the input that holds the sequence; needed where there are several.
    extra_inputs : mapping, optional
        A number or nested lists for each other input, by its name: its value for one sequence. One
        number fills an input whose shape the schema says.

    Raises
    ------
    InputError
        If an input has no value, a value has no input, or its shape is not that of the schema.
    """
    given = dict(extra_inputs or {})
    if schema is None:
        return _without_schema(model_input, given)
    if not isinstance(schema, (Mapping, list, tuple)):
        _check_names([], given)
        return SequenceInput(None, np.ndarray, schema)
    keyed = dict(schema.items()) if isinstance(schema, Mapping) else dict(enumerate(schema))
    names = {key: str(getattr(item, "name", None) or key) for key, item in keyed.items()}
    if nested := [names[key] for key, item in keyed.items() if isinstance(item, (Mapping, list, tuple))]:
        raise InputError(
            f"inputs within inputs ({', '.join(nested)}) can only be given by a dataloader"
        )
    key = _sequence_key(names, model_input)
    others = {names[k]: k for k in keyed if k != key}
    _check_names(list(others), given)
    extra = {k: _row(name, given[name], keyed[k]) for name, k in others.items()}
    container = dict if isinstance(schema, Mapping) else list
    return SequenceInput(key, container, keyed[key], extra, tuple(keyed))


def _without_schema(model_input: Any, given: dict[str, Any]) -> SequenceInput:
    """Of a torch module: one array, or arguments of `forward` by name."""
    if not given:
        return SequenceInput(None, np.ndarray, None)
    if not isinstance(model_input, str):
        raise InputError(
            "with extra_inputs, model_input must name the argument of the model's forward that takes "
            f"the sequence (--model_input); got {model_input!r}"
        )
    _check_names([name for name in given if name != model_input], given)
    extra = {name: _row(name, value, None) for name, value in given.items()}
    return SequenceInput(model_input, dict, None, extra, (model_input, *given))


def _sequence_key(names: dict[Any, str], model_input: Any) -> Any:
    if len(names) == 1:
        return next(iter(names))
    for key, name in names.items():
        if model_input is not None and str(model_input) in (name, str(key)):
            return key
    raise InputError(
        f"the model has the inputs {', '.join(names.values())}, and a window of DNA is one of them. "
        f"Name it with model_input (--model_input); got {model_input!r}. Give the others with {_FLAGS}"
    )


def _check_names(others: list[str], given: dict[str, Any]) -> None:
    """Raise InputError unless there is a value for each other input, and no further one."""
    if missing := [name for name in others if name not in given]:
        raise InputError(
            f"the model has other inputs beside the sequence: {', '.join(missing)}. Give each a value, "
            f"the same for all sequences, with {_FLAGS}. If it differs between them, take a dataloader"
        )
    if unknown := [name for name in given if name not in others]:
        raise InputError(
            f"extra_inputs has {', '.join(unknown)}; the inputs of the model beside the sequence are "
            f"{', '.join(others) or 'none'}"
        )


def _row(name: str, value: Any, item: Any) -> NDArray[Any]:
    """The value of an input for one sequence, as an array."""
    try:
        row = np.asarray(value)
    except ValueError:  # lists of several lengths
        row = np.asarray(None)
    if row.dtype.kind not in "biuf":
        raise InputError(
            f"extra_inputs must be numbers, or lists of numbers that form an array; {name} is {value!r}"
        )
    shape = getattr(item, "shape", None)
    if shape is None or (len(shape) == row.ndim and _fits(row.shape, shape)):
        return row
    if row.ndim == 0 and None not in shape:
        return np.full(shape, row)
    raise InputError(
        f"extra_inputs: {name} must have the shape {tuple(shape)}, or be a number; got shape {row.shape}"
    )


def _fits(found: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return all(want in (None, size) for size, want in zip(found, wanted, strict=True))
