"""A model that takes one window of DNA, one-hot or as tokens: for a VCF, regions and sequences."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import nn

from kipoi_mcdropout.arrays.nested import Nested
from kipoi_mcdropout.dropout.keras_network import KerasNetwork
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.model.adapter import KipoiModel, alphabet_of
from kipoi_mcdropout.model.extra_inputs import SequenceInput, sequence_input
from kipoi_mcdropout.model.find_shape import OpenLengthError, find_input_shape
from kipoi_mcdropout.outputs.targets import Targets
from kipoi_mcdropout.sequence.layout import SequenceLayout
from kipoi_mcdropout.sequence.letters import check_bases, letter_codes
from kipoi_mcdropout.sequence.mutants import MutantBatch
from kipoi_mcdropout.sequence.one_hot import OneHotLayout, check_alphabet, find_category_axis
from kipoi_mcdropout.sequence.tokens import NO_CODE, TokenLayout
from kipoi_mcdropout.sequence.vocabulary import Vocabulary

Unknown = Literal["uniform", "zero"]


@dataclass(frozen=True)
class SequenceModel:
    """A model with the layout of its input of DNA, or of RNA."""

    adapter: KipoiModel
    layout: SequenceLayout
    place: SequenceInput
    dtype: np.dtype
    unknown: int  # code of a position without a base; NO_CODE where there is none

    @property
    def knows_n(self) -> bool:
        """Whether the input can hold a position without a base."""
        return self.unknown != NO_CODE

    @property
    def unknown_as(self) -> str:
        """How such a position is held: "uniform", "zero", as the letter "N", or "none"."""
        if not self.knows_n:
            return "none"
        names = {}
        if isinstance(self.layout, OneHotLayout):
            names = {self.layout.unknown_uniform: "uniform", self.layout.unknown_zero: "zero"}
        return names.get(self.unknown, "N")

    @property
    def bases(self) -> NDArray[np.uint8]:
        """Codes of the four bases."""
        codes = [code for code in range(self.layout.n_categories) if code != self.layout.no_base]
        return np.array(codes, np.uint8)

    @property
    def table(self) -> NDArray[np.uint8]:
        """From ASCII codes of a genome to codes, shape=(256,)."""
        return letter_codes(self.layout, self.unknown)

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
        extra = {str(key): value.tolist() for key, value in self.place.extra.items()}
        return {"length": self.length, "unknown": self.unknown_as, "extra_inputs": extra}

    def inputs(self, codes: NDArray[np.uint8]) -> Nested:
        """Inputs of the model for codes, shape=(n, length)."""
        return self.place.inputs(self.layout.encode(codes, self.dtype))

    def batch(
        self, reference: NDArray[np.uint8], owner: NDArray[np.int64], codes: NDArray[np.uint8]
    ) -> MutantBatch:
        """Mutants of several references, all given as codes, shape=(..., length)."""
        return MutantBatch(self.inputs(reference), self.key, self.layout, reference, owner, codes)

    def example(self) -> Nested:
        """Inputs of the model for one window of all bases in turn, such as ACGTACGT."""
        return self.inputs(self.bases[np.arange(self.length) % len(self.bases)][None])

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
    unknown: Unknown | None = None,
    ignore: Sequence[str] = (),
    alphabet: str | None = None,
    label_axis: int | None = None,
    model_input: Any = None,
    extra_inputs: Mapping[str, Any] | None = None,
    vocabulary: Vocabulary | None = None,
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
        Axis of the bases in one input (without the batch); needed where more than one axis of the input
        has as many places as the alphabet has letters.
    input_shape : sequence of int, optional
        Shape of one input, in place of that of the schema or of a Keras model; of tokens, (tokens,).
        Without any, that of a one-hot input is found out, see `find_shape.find_input_shape`.
    unknown : "uniform" or "zero", optional
        What stands for a position without a base: 1/4 each, as kipoiseq encodes N (the default), or all
        zeros. An alphabet with N has a channel of its own for it.
    alphabet : str, optional
        Order of the bases; by default what the model's dataloader says, else ACGT. ACGTN where N has a
        channel of its own; with U for T the model is of RNA, and T of a genome becomes U.
    label_axis : int, optional
        The axis of an output that the model's column labels name, where more than one has their length.
    model_input, extra_inputs : optional
        The input that holds the sequence, and the values of the others; see `sequence_input`. Of a bare
        nn.Module, a keyword of its forward.
    vocabulary : Vocabulary, optional
        The tokens of the bases, for a model whose input is one token a base.

    Raises
    ------
    InputError
        If the model has other inputs without a value, or its layout cannot be told.
    OpenLengthError
        If the model takes any length and none is given.
    """
    adapter = model
    if not isinstance(model, KipoiModel):
        adapter = KipoiModel(model, ignore=tuple(ignore), label_axis=label_axis)
    schema = getattr(getattr(adapter.model, "schema", None), "inputs", None)
    place = _place(schema, model_input, extra_inputs, adapter.locked.module)
    shape: Sequence[int | None] | None = input_shape or getattr(place.array, "shape", None)
    if vocabulary is not None:
        tokens = _token_layout(shape, length, default_length, vocabulary)
        return SequenceModel(adapter, tokens, place, np.dtype(np.int64), tokens.unknown(unknown))
    letters = check_bases(alphabet_of(adapter.model) if alphabet is None else check_alphabet(alphabet))
    if shape is None and isinstance(adapter.locked.module, KerasNetwork):
        shape = adapter.locked.module.input_shape
    if shape is None:
        find = partial(_found_shape, adapter, place, category_axis, letters)
        try:
            shape = find(length)
        except OpenLengthError:
            if default_length is None:
                raise
            shape = find(default_length)
    layout = _layout(tuple(shape), length, default_length, category_axis, letters)
    return SequenceModel(adapter, layout, place, adapter.input_dtype, layout.unknown(unknown))


def _found_shape(
    adapter: KipoiModel,
    place: SequenceInput,
    category_axis: int | None,
    alphabet: str,
    length: int | None,
) -> tuple[int, ...]:
    """Shape of the one-hot input of a network that does not say it."""
    try:
        return find_input_shape(adapter, place, category_axis, len(alphabet), length)
    except OpenLengthError:
        raise
    except InputError as error:
        if not adapter.embeds:
            raise
        raise InputError(
            f"{error}. The model has an embedding: if it takes tokens, one a base, give vocabulary "
            "(--vocabulary), such as A=7,C=8,G=9,T=10,N=11, and length"
        ) from error


def _place(
    schema: Any, model_input: Any, extra_inputs: Mapping[str, Any] | None, module: nn.Module
) -> SequenceInput:
    """Where the sequence stands; of a bare module, under its keyword where that is named."""
    if schema is None and not extra_inputs:
        named = model_input in inspect.signature(module.forward).parameters
        if named:
            return SequenceInput(model_input, dict, None, {}, (model_input,))
    return sequence_input(schema, model_input, extra_inputs)


def _token_layout(
    shape: Sequence[int | None] | None,
    length: int | None,
    default_length: int | None,
    vocabulary: Vocabulary,
) -> TokenLayout:
    """Layout of a window with the tokens around it."""
    before, after = vocabulary.ends()
    long = [] if shape is None else [size for size in shape if size != 1]
    if shape is not None and len(shape) != 1:
        raise InputError(
            f"with a vocabulary the input must be tokens, of shape (tokens,) for one; got {tuple(shape)}"
        )
    n_tokens = long[0] if long else None
    if n_tokens is not None:
        known = n_tokens - len(before) - len(after)
        if length not in (None, known):
            raise InputError(
                f"length must be that of the model's input without the tokens around it, {known} bp of "
                f"{n_tokens} tokens, or be left out; got {length}"
            )
        length = known
    length = default_length if length is None else length
    if length is None:
        raise OpenLengthError("the model takes sequences of any number of tokens; give length, in bp")
    if length < 1:
        raise InputError(
            f"length must be at least 1 bp beside the {len(before) + len(after)} tokens around it; got "
            f"{length}"
        )
    return TokenLayout(vocabulary.tokens, length, before, after)


def _layout(
    shape: tuple[int | None, ...],
    length: int | None,
    default_length: int | None,
    category_axis: int | None,
    alphabet: str,
) -> OneHotLayout:
    n_letters = len(alphabet)
    axis = _category_axis(shape, category_axis, alphabet)
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
    full = tuple(n_letters if i == axis else size if i == long[0] else 1 for i in range(len(shape)))
    layout = OneHotLayout(full, axis, alphabet)
    if math.prod(full) != size * n_letters:
        raise InputError(f"the input must be one-hot DNA; got shape {shape}")
    return layout


def _category_axis(shape: tuple[int | None, ...], category_axis: int | None, alphabet: str) -> int:
    if category_axis is not None:
        if not -len(shape) <= category_axis < len(shape) or shape[category_axis] != len(alphabet):
            raise InputError(
                f"category_axis must be an axis of size {len(alphabet)}, as the alphabet {alphabet} "
                f"has, of one input, of shape {shape}; got {category_axis}"
            )
        return category_axis % len(shape)
    if len(shape) == 1:
        raise InputError(
            f"one input has shape {shape}: if it takes tokens, one a base, give vocabulary "
            "(--vocabulary), such as A=7,C=8,G=9,T=10,N=11; else wrap the model in a module that takes "
            "one-hot sequences"
        )
    return find_category_axis(shape, alphabet)
