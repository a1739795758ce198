"""A model as `kipoi.get_model` returns it, or a bare PyTorch module, made ready for locked dropout."""

from __future__ import annotations

import contextlib
import fnmatch
import importlib.metadata
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kipoi_mcdropout.arrays.nested import Nested, leaves, map_nested, n_rows, take
from kipoi_mcdropout.dropout.autocast import Autocast
from kipoi_mcdropout.dropout.borrow import call_module
from kipoi_mcdropout.dropout.device import place
from kipoi_mcdropout.dropout.input_types import InputTypes, as_arrays
from kipoi_mcdropout.dropout.keras_network import KerasNetwork
from kipoi_mcdropout.dropout.locked_model import POINT, LockedModel
from kipoi_mcdropout.dropout.mask_bank import MaskBank
from kipoi_mcdropout.dropout.memory import name_memory
from kipoi_mcdropout.dropout.named_parts import plain_module, refuse_sharded, refuse_uninitialised
from kipoi_mcdropout.dropout.probe import Call
from kipoi_mcdropout.dropout.stored_weights import let_go
from kipoi_mcdropout.engine.full import to_tensors
from kipoi_mcdropout.errors import (
    InputError,
    ModelError,
    TargetError,
)
from kipoi_mcdropout.model.identity import (
    function_checksum,
    made_of,
    required_module,
    weights_checksum,
)
from kipoi_mcdropout.model.network import source_of
from kipoi_mcdropout.model.output_names import label_outputs, name_outputs
from kipoi_mcdropout.model.read_outputs import ReadOutputs
from kipoi_mcdropout.outputs.readout import Readout
from kipoi_mcdropout.outputs.targets import Targets, as_targets, select_targets
from kipoi_mcdropout.sequence.one_hot import DNA, check_alphabet

OutputFunction = Callable[[Nested], Nested]  # one input's outputs (numpy) -> the outputs wanted


class KipoiModel:
    """The torch module inside a Kipoi model, with the names of its inputs and outputs.

    Parameters
    ----------
    model : kipoi.model.PyTorchModel, another Kipoi model with a torch module as `.model`, or nn.Module
    output_sel_fn : callable, optional
        kipoi-interpret's output selection: applied to the outputs of each input (numpy, no batch axis).
    ignore : tuple of str
        Modules whose dropout is left off, and that of the modules inside them.
    label_axis : int, optional
        The axis of an output that its column labels name, where more than one has their length.
    output_labels : sequence of str, optional
        Names of the outputs, in place of those in the model's schema.
    dtype : {"float32", "bfloat16"}
        See `LockedModel`.
    readout : Readout, optional
        What is read of the outputs: the numbers that it makes are the outputs then.
    device : str, optional
        Where the weights are moved to (`dropout.device`); by default they stay where they are.
    allow_tf32 : bool
        See `LockedModel`.

    Raises
    ------
    ModelError
        If the model holds no torch module, or has NaN or infinite weights.
    InputError
        If `dtype` or `device` is not for this model, there is no such device, or there is a readout
        beside `output_sel_fn`.
    """

    def __init__(
        self,
        model: Any,
        output_sel_fn: OutputFunction | None = None,
        ignore: Sequence[str] = (),
        label_axis: int | None = None,
        output_labels: Sequence[str] | None = None,
        dtype: str = "float32",
        readout: Readout | None = None,
        device: str | None = None,
        allow_tf32: bool = False,
    ) -> None:
        self.model = model
        self.label_axis = label_axis
        self.output_labels = output_labels
        module = plain_module(required_module(model))
        refuse_sharded(module)
        refuse_uninitialised(module)
        _check_weights(module)
        self._made_of = made_of(model)  # now: a forward pass may keep things in attributes
        if output_sel_fn is not None:
            self._made_of["output_sel_fn_sha256"] = function_checksum(output_sel_fn)
        self._own_types = not _runs_by_its_module(model)
        if self._own_types and dtype != "float32":
            raise InputError(
                f"dtype {dtype} (--dtype) is for a model that runs by its torch module; this one has a "
                "predict_on_batch of its own. Leave dtype out"
            )
        if device is not None:
            place(module, device, by_itself=self._own_types)
        self._types = InputTypes(module)
        autocast = Autocast(module, dtype)
        call = _own_call(model, module) if self._own_types else self._types.wrap(call_module(module))
        call = autocast.wrap(name_memory(call))
        self.reader: ReadOutputs | None = None
        if output_sel_fn is not None:
            if readout is not None:
                raise InputError(
                    "give either output_sel_fn (--output_sel_fn) or a readout (--tracks, --reduce, ...)"
                )
            call = _with_selection(call, output_sel_fn)
        elif readout is not None:
            schema = getattr(getattr(model, "schema", None), "targets", None)
            call = self.reader = ReadOutputs(call, readout, schema, output_labels, label_axis)
        self.locked = LockedModel(module, call, tuple(ignore), autocast, allow_tf32)
        self.has_selection = output_sel_fn is not None
        let_go(module)

    def identity(self) -> dict[str, str]:
        """See `identity.model_identity`; with `output_sel_fn_sha256` where there is one."""
        source = source_of(self.model)
        made_with = {} if source is None else source.made_with()
        if isinstance(self.locked.module, KerasNetwork):
            made_with = {**made_with, "keras_version": importlib.metadata.version("keras")}
        weights = weights_checksum(self.locked.module)
        let_go(self.locked.module)
        return {"weights_sha256": weights, **self._made_of, **made_with}

    @property
    def made_of(self) -> dict[str, str]:
        """See `identity.made_of`; as it was before anything ran."""
        return dict(self._made_of)

    @property
    def files(self) -> dict[str, str]:
        """Paths of the files that a network was loaded from, by a word for each; none of Kipoi's."""
        source = source_of(self.model)
        return {} if source is None else source.files()

    def input_key(self, name: Any, inputs: Nested) -> Any:
        """Key of a named input in a batch: of the dict, the position in the list, None for an array.

        The name None stands for the only input.

        Raises
        ------
        InputError
            If there is no such input, or there are several and none is named.
        """
        schema = getattr(getattr(self.model, "schema", None), "inputs", None)
        if isinstance(inputs, Mapping):
            known = list(inputs)
            if name in inputs:
                return name
            if name is None and len(known) == 1:
                return known[0]
        elif isinstance(inputs, (list, tuple)):
            items = schema if isinstance(schema, (list, tuple)) else [None] * len(inputs)
            known = [getattr(item, "name", None) or i for i, item in enumerate(items)]
            if name in known:
                return known.index(name)
            if name is None and len(known) == 1:
                return 0
            is_number = isinstance(name, int) or (isinstance(name, str) and name.isdigit())
            if is_number and int(name) < len(inputs):
                return int(name)
        else:
            known = [getattr(schema, "name", None) or 0]
            if schema is None or name in (*known, 0, "0", None):
                return None
        raise InputError(
            "model_input must name one of the model's inputs: "
            f"{', '.join(map(str, known))}; got {name!r}"
            + (" (--model_input)" if name is None else "")
        )

    def targets(self, outputs: Nested, wanted: str | int | Sequence[str | int] | None) -> Targets:
        """The outputs asked for, labelled by the model's schema where it says; see `select_targets`.

        Raises
        ------
        TargetError
            If a wanted target names no output, or the labels fit more than one axis.
        InputError
            If `output_labels` are not as many as the outputs.
        ModelError
            If outputs and schema have different names.
        """
        labels: Sequence[str]
        if self.reader is not None:
            labels = self.reader.bound.labels
        elif self.output_labels is not None:
            labels = name_outputs(outputs, self.output_labels, self.label_axis)
        else:
            schema = None if self.has_selection else getattr(self.model, "schema", None)
            labels = label_outputs(outputs, getattr(schema, "targets", None), self.label_axis)
        try:
            chosen = select_targets(labels, wanted)
        except TargetError:
            _refuse_left_out(as_targets(wanted), self.locked.left_out)
            raise
        profiles = None if self.reader is None else self.reader.bound.profiles(chosen.columns)
        return replace(chosen, eps=self.locked.eps, profiles=profiles)

    def whole_outputs(self) -> AbstractContextManager[None]:
        """Within it, the model gives its own outputs, whatever is read of them."""
        return contextlib.nullcontext() if self.reader is None else self.reader.off()

    def arrays(self, inputs: Nested) -> Nested:
        """Inputs as numpy arrays, in the type that the model takes (`InputTypes`)."""
        return as_arrays(inputs) if self._own_types else self._types.arrays(inputs)

    @property
    def input_dtype(self) -> np.dtype:
        """Type of floating inputs: that of the weights where numpy has it, else float32."""
        return self._types.numpy_dtype

    @property
    def embeds(self) -> bool:
        """Whether the model has an embedding, which takes whole numbers."""
        return self._types.embeds

    def tensors(self, inputs: Nested) -> Nested:
        """The same as tensors on the model's device."""
        return to_tensors(self.arrays(inputs), self.locked.device)

    def example_outputs(self, inputs: Nested) -> Nested:
        """Outputs for the first input with dropout off, as the model has them, within `borrow()`."""
        rows = [0] if self.locked.takes_one(self.tensors(take(inputs, [0]))) else [0, 0]
        return self.locked.raw_outputs(self.tensors(take(inputs, rows)), POINT, MaskBank(0))


def alphabet_of(dataloader: Any) -> str:
    """The order of the bases in what a dataloader gives: its argument `alphabet`, else ACGT.

    Parameters
    ----------
    dataloader : dataloader, or class or function that makes one, or Kipoi model
        Of a model it is the default dataloader, with the arguments that the model gives it: AGCT for
        DeepSEA/beluga, for example.

    Raises
    ------
    InputError
        If the alphabet has a letter twice.
    """
    found = getattr(dataloader, "default_dataloader", None) or dataloader
    parameters: Mapping[str, inspect.Parameter] = {}
    maker = found if inspect.isfunction(found) or inspect.isclass(found) else type(found)
    with contextlib.suppress(TypeError, ValueError):  # no signature: it says nothing of an alphabet
        parameters = inspect.signature(maker).parameters
    default = parameters["alphabet"].default if "alphabet" in parameters else None
    stated = getattr(found, "alphabet", None) if not inspect.isclass(found) else None
    return as_alphabet(stated) or as_alphabet(default) or DNA


def as_alphabet(value: Any) -> str | None:
    """What dataloaders take for an alphabet ("AGCT", "DNA", ["A", "C", ...]) as a word, else None."""
    if isinstance(value, str) and value.upper() == "DNA":
        return DNA
    if isinstance(value, (list, tuple)) and all(isinstance(x, str) and len(x) == 1 for x in value):
        value = "".join(value)
    return check_alphabet(value) if isinstance(value, str) and value else None


def _refuse_left_out(wanted: Sequence[str | int], left_out: Mapping[str, str]) -> None:
    """A clearer error where something is asked for that the model returns, but not for each input."""
    for target in wanted:
        for path, why in left_out.items():
            text = str(target)
            if text.startswith(f"{path}/") or fnmatch.fnmatchcase(path, text):
                raise TargetError(
                    f"target {target!r} cannot be reported: the model returns {path!r}, but {why}. "
                    "Outputs must be tensors of real numbers with the batch as first axis"
                )


def _check_weights(module: nn.Module) -> None:
    for name, value in module.state_dict().items():
        floating = isinstance(value, Tensor) and value.is_floating_point()
        # A sum needs no memory; where it is not finite, each number is looked at.
        if floating and not torch.isfinite(value.sum()) and not torch.isfinite(value).all():
            raise ModelError(
                f"the model's weights must be finite numbers; {name!r} has "
                f"{int((~torch.isfinite(value)).sum())} NaN or infinite values. Reload or retrain them"
            )


def _runs_by_its_module(model: Any) -> bool:
    """Whether the model runs by its module, and not by a predict_on_batch of its own."""
    return isinstance(model, nn.Module) or _has_stock_predict(model)


def _own_call(model: Any, module: nn.Module) -> Call:
    def call(inputs: Nested) -> Nested:
        with module.following_flags() if isinstance(module, KerasNetwork) else contextlib.nullcontext():
            outputs = model.predict_on_batch(map_nested(lambda x: x.cpu().numpy(), inputs))
        return map_nested(_as_tensor, outputs)

    return call


def _as_tensor(x: Any) -> Any:
    """Numbers as a tensor; all else as it is, to be left out by name."""
    array = np.asarray(x)
    return torch.as_tensor(array) if array.dtype.kind in "biufc" else x


def _has_stock_predict(model: Any) -> bool:
    from kipoi.model import KerasModel, PyTorchModel

    own = getattr(type(model), "predict_on_batch", None)
    return own in (None, PyTorchModel.predict_on_batch, KerasModel.predict_on_batch)


def _with_selection(call: Call, select: OutputFunction) -> Call:
    def selected(inputs: Nested) -> Nested:
        n, outputs = n_rows(inputs), as_arrays(call(inputs))
        rows = [dict(leaves(select(_row(outputs, i, n)))) for i in range(n)]
        return {name: torch.as_tensor(np.stack([row[name] for row in rows])) for name in rows[0]}

    return selected


def _row(outputs: Nested, i: int, n: int) -> Nested:
    """Row i of each array that has one for each of n inputs, None in the place of the others."""
    return map_nested(lambda x: x[i] if x.ndim and len(x) == n else None, outputs)
