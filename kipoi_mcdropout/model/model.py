"""Any model made ready: a torch module, or a model of Kipoi, with what it does not say of itself."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch

from kipoi_mcdropout.arrays.nested import Nested
from kipoi_mcdropout.errors import InputError
from kipoi_mcdropout.model.adapter import KipoiModel, OutputFunction, alphabet_of
from kipoi_mcdropout.model.ensemble import Ensemble
from kipoi_mcdropout.model.schema_example import example_of
from kipoi_mcdropout.model.sequence_model import SequenceModel, Unknown, sequence_model
from kipoi_mcdropout.model.settings import ModelSettings
from kipoi_mcdropout.outputs.readout import Readout
from kipoi_mcdropout.sequence.layout import Encoding
from kipoi_mcdropout.sequence.vocabulary import as_vocabulary


class Model:
    """A model with all that is needed to mutate its input and to name its outputs.

    Parameters
    ----------
    model : nn.Module, or what `kipoi.get_model` returns, or a list of them
        It is borrowed, never changed. A list holds the members of an ensemble (folds, replicates,
        checkpoints), with the same inputs and outputs; a draw is then a member and its masks.
    outputs : sequence of str, optional
        Names of all outputs, in their order. By default those of a Kipoi model's schema, else numbers.
        Names that occur twice are numbered: A, A, B become A#1, A#2, B.
    input_shape : sequence of int, optional
        Shape of one input without the batch, such as (4, 500), (500, 4), or (502,) for tokens. Of a bare
        nn.Module it is found out where it is needed (a VCF, regions of a genome, `audit`), if one shape
        alone fits; of tokens, give it or `length`.
    length : int, optional
        Length of the sequence in bp, where the model takes any length.
    model_input : str or int, optional
        The input that is mutated; needed only where the model has several.
    category_axis : int, optional
        Axis of one input (without the batch) that holds the bases; needed only where more than one axis
        has as many places as the alphabet has letters.
    alphabet : str, optional
        What the places along that axis are, in order. By default what a Kipoi model's dataloader says,
        else ACGT. ACGTN where N has a channel of its own, and ACGU for a model of RNA.
    unknown : "uniform" or "zero", optional
        How the model's inputs hold a base that is not known (N): 1/4 each (the default), or all zeros.
    label_axis : int, optional
        Axis of an output (without the batch) that `outputs` name, where more than one has their length.
    ignore : sequence of str
        Modules whose dropout is left off, and that of the modules inside them.
    vocabulary : dict, str, Path or Vocabulary, optional
        For a model whose input is one token a base: the token of each base, such as
        {"A": 7, "C": 8, "G": 9, "T": 10, "N": 11}, the same as a text, A=7,C=8,G=9,T=10,N=11,prefix=0,
        suffix=1, or the path of a tokenizer (a folder with tokenizer.json, vocab.json or vocab.txt).
        Prefix and suffix are put around a sequence that is read from a genome; arrays keep their own.

    Raises
    ------
    ModelError
        If there is no torch module in it, or its weights are not finite.
    InputError
        If an argument is not as stated.

    Examples
    --------
    >>> from torch import nn
    >>> net = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(4 * 30, 2))
    >>> Model(net, outputs=["DNase", "FOXA2"], input_shape=(4, 30))
    Model(Sequential, outputs DNase, FOXA2, input (4, 30))
    """

    def __init__(
        self,
        model: Any,
        outputs: Sequence[str] | None = None,
        *,
        input_shape: Sequence[int | None] | None = None,
        length: int | None = None,
        model_input: str | int | None = None,
        category_axis: int | None = None,
        alphabet: str | None = None,
        unknown: Unknown | None = None,
        label_axis: int | None = None,
        ignore: Sequence[str] = (),
        vocabulary: Any = None,
    ) -> None:
        if isinstance(outputs, str) or isinstance(ignore, str):
            raise InputError("outputs and ignore must be lists of names; got a single text")
        settings = ModelSettings(
            None if outputs is None else tuple(outputs),
            None if input_shape is None else tuple(input_shape),
            length, model_input, category_axis, alphabet, unknown, label_axis, tuple(ignore),
            None if vocabulary is None else as_vocabulary(vocabulary),
        )  # fmt: skip
        self._set(model, settings, None)

    @classmethod
    def of(
        cls, model: Any, settings: ModelSettings, output_sel_fn: OutputFunction | None = None
    ) -> Model:
        """The same from settings; `output_sel_fn` is kipoi-interpret's choice of outputs."""
        made = cls.__new__(cls)
        made._set(model, settings, output_sel_fn)
        return made

    def _set(
        self, model: Any, settings: ModelSettings, output_sel_fn: OutputFunction | None
    ) -> None:
        if isinstance(model, Model):
            raise InputError("a Model is ready already; give the model that it was made of")
        self.settings = settings
        self._made_of = model, output_sel_fn
        given = list(model) if isinstance(model, (list, tuple)) else [model]
        self.ensemble = Ensemble.of(
            [
                KipoiModel(
                    member,
                    output_sel_fn,
                    settings.ignore,
                    settings.label_axis,
                    settings.outputs,
                    settings.dtype,
                    settings.readout,
                    settings.device,
                    settings.allow_tf32,
                )
                for member in given
            ]
        )
        self.adapter = self.ensemble.first

    def with_extra_inputs(self, **values: Any) -> Model:
        """The same model with values of the inputs beside the sequence, the same for all sequences.

        Then windows of a genome, sequences of a FASTA and a VCF can be given to a model that has other
        inputs.

        Parameters
        ----------
        values : number, or nested lists of numbers
            For one sequence (without the batch), by the name of the input. One number fills an input
            whose shape the model's schema says.

        Examples
        --------
        >>> Model(net, model_input="seq").with_extra_inputs(organism=0)  # doctest: +SKIP
        """
        made = copy.copy(self)
        made.settings = replace(self.settings, extra_inputs=values)
        made.__dict__.pop("sequences", None)  # cached
        return made

    def with_dtype(self, dtype: str) -> Model:
        """The same model, computing in another floating-point type.

        Parameters
        ----------
        dtype : {"float32", "bfloat16"}
            "float32": in its own types. "bfloat16": by torch.autocast, which is faster on some
            processors and rounds to 8 binary digits; the masks are the same.

        Raises
        ------
        InputError
            If the weights are not float32, or the model runs by code of its own.
        """
        return self._again(dtype=dtype)

    def with_device(self, device: str, *, allow_tf32: bool = False) -> Model:
        """The same model on another device; its weights are moved there, as by `nn.Module.to`.

        Parameters
        ----------
        device : str
            "auto" (a GPU of CUDA where there is one, else the CPU), "cpu", "cuda", "cuda:N" or "mps".
        allow_tf32 : bool
            Let a GPU of NVIDIA round the factors of float32 products to TF32 (10 binary digits), which
            is faster and loses small effects to rounding.

        Raises
        ------
        InputError
            If there is no such device here, or the model runs by code of its own.
        """
        return self._again(device=device, allow_tf32=allow_tf32)

    def with_readout(self, **words: Any) -> Model:
        """The same model with other outputs: numbers that are read of its own, in each draw.

        Some tracks of an output, a window of their bins, and one number of it. `ism`,
        `score_variants` and `mc_predict` take the same words.

        Parameters
        ----------
        words
            `head`, `tracks`, `track_axis`, `center_bins`, `center_bp`, `bin_bp`, `bins`,
            `track_groups`, `projection`, `projection_labels`, `reduce`; see `Readout`.

        Raises
        ------
        InputError
            If a word is not known or not as stated, or the model has a readout already.

        Examples
        --------
        >>> Model(net).with_readout(tracks="DNASE*", reduce="sum", center_bins=32)  # doctest: +SKIP
        """
        readout = Readout.of(words, "with_readout")
        return self if readout is None else self.reading(readout)

    def reading(self, readout: Readout | None, *, instead: bool = False) -> Model:
        """The same model with a readout; `instead` of its own where it has one.

        Raises
        ------
        InputError
            If it has one already.
        """
        if self.settings.readout is not None and not instead:
            raise InputError(
                "the model has a readout already; give tracks, reduce and the like once, to the model "
                "or to the call"
            )
        return self._again(readout=readout)

    def _again(self, **changed: Any) -> Model:
        """The same model with other settings, made anew."""
        model, output_sel_fn = self._made_of
        return Model.of(model, replace(self.settings, **changed), output_sel_fn)

    @cached_property
    def alphabet(self) -> str:
        """What the places along the category axis are, in order; of tokens, the bases."""
        if self.settings.vocabulary is not None:
            return self.settings.vocabulary.alphabet
        return self.settings.alphabet or alphabet_of(self.adapter.model)

    @property
    def encoding(self) -> Encoding:
        """How the input that is mutated holds the bases."""
        own = self.settings
        return Encoding(own.category_axis, self.alphabet, own.vocabulary)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.adapter.locked.device

    @property
    def name(self) -> str:
        """For people to read."""
        module = self.adapter.locked.module
        return str(getattr(self.adapter.model, "name", None) or type(module).__name__)

    @property
    def source(self) -> str:
        """Kipoi's source of the model; "python" for one that does not come from Kipoi."""
        return str(getattr(self.adapter.model, "source_name", None) or "python")

    @cached_property
    def sequences(self) -> SequenceModel:
        """The model as one that takes windows of DNA.

        Raises
        ------
        InputError
            If it has other inputs without a value, or the shape of its input is not known.
        """
        return self.sequences_of(None)

    def sequences_of(self, default_length: int | None) -> SequenceModel:
        """The same with a length, bp, for a model that takes any and whose settings do not say it.

        Raises
        ------
        InputError
            See `sequences`.
        """
        own = self.settings
        return sequence_model(
            self.adapter, length=own.length, default_length=default_length,
            category_axis=own.category_axis, input_shape=own.input_shape, unknown=own.unknown,
            alphabet=own.alphabet, model_input=own.model_input, extra_inputs=own.extra_inputs,
            vocabulary=own.vocabulary,
        )  # fmt: skip

    def example(self) -> Nested:
        """One random input of the shape that the settings or the model's schema say.

        Raises
        ------
        InputError
            If they do not say it.
        """
        schema = getattr(getattr(self.adapter.model, "schema", None), "inputs", None)
        own = self.settings
        said = own.input_shape is not None or own.length is not None
        if schema is not None and not said and own.vocabulary is None:
            return example_of(schema, self.adapter.embeds)
        return self.sequences.example()

    def __repr__(self) -> str:
        said = [type(self.adapter.locked.module).__name__ if self.source == "python" else self.name]
        if len(self.ensemble) > 1:
            said.append(f"{len(self.ensemble)} members")
        if self.settings.outputs is not None:
            shown = ", ".join(self.settings.outputs[:5])
            said.append(f"outputs {shown}{', ...' if len(self.settings.outputs) > 5 else ''}")
        if self.settings.input_shape is not None:
            said.append(f"input {self.settings.input_shape}")
        return f"Model({', '.join(said)})"


def as_model(model: Any, **settings: Any) -> Model:
    """The Model itself, or one made of a torch module or a Kipoi model with these settings.

    Raises
    ------
    InputError
        If settings are given for what is a Model already.
    """
    given = {name: value for name, value in settings.items() if value not in (None, (), [])}
    if not isinstance(model, Model):
        return Model(model, **given)
    if given:
        raise InputError(f"a Model has its settings already; make it with {', '.join(given)}")
    return model
