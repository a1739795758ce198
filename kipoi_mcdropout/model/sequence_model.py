"""A model that takes one window of DNA, one-hot: what a VCF, regions and sequences are scored with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kipoi_mcdropout.arrays.nested import Nested
from kipoi_mcdropout.arrays.outputs import Targets
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.model.adapter import KipoiModel, alphabet_of
from kipoi_mcdropout.model.extra_inputs import SequenceInput, sequence_input
from kipoi_mcdropout.model.find_shape import OpenLengthError, find_input_shape
from kipoi_mcdropout.sequence.mutants import MutantBatch
from kipoi_mcdropout.sequence.one_hot import DNA, OneHotLayout, check_alphabet, find_category_axis

Unknown = Literal["uniform", "zero"]
_N_BASES = 4


@dataclass(frozen=True)
class SequenceModel:
    """A model with the layout of its DNA input."""

    adapter: KipoiModel
    layout: OneHotLayout
    place: SequenceInput
    dtype: np.dtype
    unknown: int  # code of a position without a base

    @property
    def key(self) -> Any:
        """Of the sequence: of the dict, the position in the list, None for an array."""
        return self.place.key

    @property
    def container(self) -> type:
        """dict, list, or numpy.ndarray for an array itself."""
        return self.place.container

    @property
    def length(self) -> int:
        """Length of the window, bp."""
        return self.layout.n_positions

    def recorded(self) -> dict[str, Any]:
        """How sequences become inputs, for the record of a run."""
        unknown = "uniform" if self.unknown == self.layout.unknown_uniform else "zero"
        extra = {str(key): value.tolist() for key, value in self.place.extra.items()}
        return {"length": self.length, "unknown": unknown, "extra_inputs": extra}

    def inputs(self, codes: NDArray[np.uint8]) -> Nested:
        """Inputs of the model for codes, shape=(n, length)."""
        return self.place.inputs(self.layout.encode(codes, self.dtype))

    def batch(
        self, reference: NDArray[np.uint8], owner: NDArray[np.int64], codes: NDArray[np.uint8]
    ) -> MutantBatch:
        """Mutants of several references, all given as codes, shape=(..., length)."""
        return MutantBatch(self.inputs(reference), self.key, self.layout, reference, owner, codes)

    def example(self) -> Nested:
        """Inputs of the model for one window: ACGTACGT..."""
        return self.inputs((np.arange(self.length, dtype=np.int64) % _N_BASES).astype(np.uint8)[None])

    def targets(self, wanted: str | int | Sequence[str | int] | None) -> Targets:
        """The outputs asked for, within `adapter.locked.borrow()`."""
        return self.adapter.targets(self.adapter.example_outputs(self.example()), wanted)


def sequence_model(
    model: Any,
    *,
    length: int | None = None,
    default_length: int | None = None,
    category_axis: int | None = None,
    input_shape: Sequence[int | None] | None = None,
    unknown: Unknown = "uniform",
    ignore: Sequence[str] = (),
    alphabet: str | None = None,
    label_axis: int | None = None,
    model_input: Any = None,
    extra_inputs: Mapping[str, Any] | None = None,
) -> SequenceModel:
    """Find out how a model takes its DNA.

    Parameters
    ----------
    model : kipoi model, nn.Module, or KipoiModel
    length : int, optional
        Of the window, bp; needed where neither the schema nor the network says it.
    default_length : int, optional
        The same where nothing else says it.
    category_axis : int, optional
        Axis of the bases A, C, G, T in one input (without the batch); needed where more than one axis
        of the input has size 4.
    input_shape : sequence of int, optional
        Shape of one input, in place of the schema's; without either it is found out, see
        `find_shape.find_input_shape`.
    unknown : "uniform" or "zero"
        What stands for a position without a base: 1/4 each, as kipoiseq encodes N, or all zeros.
    alphabet : str, optional
        Order of the bases; by default what the model's dataloader says, else ACGT.
    label_axis : int, optional
        The axis of an output that the model's column labels name, where more than one has their length.
    model_input, extra_inputs : optional
        The input that holds the sequence, and the values of the others; see `sequence_input`.

    Raises
    ------
    InputError
        If the model has other inputs without a value, or its layout cannot be told.
    OpenLengthError
        If the model takes any length and none is given.
    """
    if unknown not in ("uniform", "zero"):
        raise InputError(f'unknown must be "uniform" or "zero"; got {unknown!r}')
    adapter = model
    if not isinstance(model, KipoiModel):
        adapter = KipoiModel(model, ignore=tuple(ignore), label_axis=label_axis)
    schema = getattr(getattr(adapter.model, "schema", None), "inputs", None)
    place = sequence_input(schema, model_input, extra_inputs)
    shape: Sequence[int | None] | None = input_shape or getattr(place.array, "shape", None)
    letters = alphabet_of(adapter.model) if alphabet is None else check_alphabet(alphabet)
    if sorted(letters) != sorted(DNA):
        raise InputError(f"alphabet must be A, C, G and T in some order for a VCF; got {letters!r}")
    if shape is None:
        find = partial(find_input_shape, adapter, place, category_axis, len(letters))
        try:
            shape = find(length)
        except OpenLengthError:
            if default_length is None:
                raise
            shape = find(default_length)
    layout = _layout(tuple(shape), length, default_length, category_axis, letters)
    code = layout.unknown_uniform if unknown == "uniform" else layout.unknown_zero
    return SequenceModel(adapter, layout, place, adapter.input_dtype, code)


def _layout(
    shape: tuple[int | None, ...],
    length: int | None,
    default_length: int | None,
    category_axis: int | None,
    alphabet: str,
) -> OneHotLayout:
    axis = _category_axis(shape, category_axis)
    others = [i for i in range(len(shape)) if i != axis]
    long = [i for i in others if shape[i] != 1]
    if len(long) > 1:
        raise InputError(
            f"the input must have one axis of positions; one input of shape {shape} has several"
        )
    if not long:
        raise InputError(f"the input must have an axis of positions; got shape {shape}")
    known = shape[long[0]]
    if known is not None and length not in (None, known):
        raise InputError(
            f"length must be that of the model's input, {known} bp, or be left out; got {length}"
        )
    size = next((n for n in (length, known, default_length) if n is not None), None)
    if size is None:
        raise OpenLengthError(
            f"the model takes windows of any length (input shape {shape}); give length, in bp (--length)"
        )
    if size < 1:
        raise InputError(f"length must be at least 1 bp; got {size}")
    full = tuple(_N_BASES if i == axis else size if i == long[0] else 1 for i in range(len(shape)))
    layout = OneHotLayout(full, axis, alphabet)
    if math.prod(full) != size * _N_BASES:
        raise InputError(f"the input must be one-hot DNA; got shape {shape}")
    return layout


def _category_axis(shape: tuple[int | None, ...], category_axis: int | None) -> int:
    if category_axis is not None:
        if not -len(shape) <= category_axis < len(shape) or shape[category_axis] != _N_BASES:
            raise InputError(
                f"category_axis must be an axis of size 4 of one input, of shape {shape}; got "
                f"{category_axis}"
            )
        return category_axis % len(shape)
    if _N_BASES not in shape:
        raise InputError(
            f"only one-hot DNA can be scored: an axis of 4 places for A, C, G, T is required; one input "
            f"has shape {shape}. Wrap the model in a module that takes such an input"
        )
    return find_category_axis(shape)
