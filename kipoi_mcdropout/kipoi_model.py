"""A model as `kipoi.get_model` returns it, or a bare PyTorch module, made ready for locked dropout."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kipoi_mcdropout.encoding import DNA, check_alphabet
from kipoi_mcdropout.engine import to_tensors
from kipoi_mcdropout.errors import InputError, ModelError
from kipoi_mcdropout.forward import POINT, LockedModel, MaskBank, call_module
from kipoi_mcdropout.named_parts import plain_module, refuse_uninitialised
from kipoi_mcdropout.nested import Nested, leaves, map_nested, n_rows, take
from kipoi_mcdropout.outputs import Targets, default_labels, select_targets
from kipoi_mcdropout.probe import Call

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

    Raises
    ------
    ModelError
        If the model holds no torch module, or has NaN or infinite weights.
    """

    def __init__(
        self,
        model: Any,
        output_sel_fn: OutputFunction | None = None,
        ignore: Sequence[str] = (),
    ) -> None:
        self.model = model
        module = torch_module(model)
        if module is None:
            raise ModelError(
                "a PyTorch model is required, as dropout is switched inside the torch module; got "
                f"{type(model).__name__}. Models of Keras, TensorFlow or scikit-learn are not supported"
            )
        refuse_uninitialised(module)
        _check_weights(module)
        call = _kipoi_call(model, module)
        if output_sel_fn is not None:
            call = _with_selection(call, output_sel_fn)
        self.locked = LockedModel(module, call, tuple(ignore))
        self.has_selection = output_sel_fn is not None

    def input_key(self, name: Any, inputs: Nested) -> Any:
        """Key of a named input in a batch: of the dict, the position in the list, None for an array.

        Raises
        ------
        InputError
            If there is no such input.
        """
        schema = getattr(getattr(self.model, "schema", None), "inputs", None)
        if isinstance(inputs, Mapping):
            known = list(inputs)
            if name in inputs:
                return name
        elif isinstance(inputs, (list, tuple)):
            items = schema if isinstance(schema, (list, tuple)) else [None] * len(inputs)
            known = [getattr(item, "name", None) or i for i, item in enumerate(items)]
            if name in known:
                return known.index(name)
            is_number = isinstance(name, int) or (isinstance(name, str) and name.isdigit())
            if is_number and int(name) < len(inputs):
                return int(name)
        else:
            known = [getattr(schema, "name", None) or 0]
            if schema is None or name in (*known, 0, "0"):
                return None
        raise InputError(
            "model_input must name one of the model's inputs: "
            f"{', '.join(map(str, known))}; got {name!r}"
        )

    def targets(self, outputs: Nested, wanted: Sequence[str | int] | None) -> Targets:
        """The outputs asked for, labelled by the model's schema where it says; see `select_targets`."""
        schema = None if self.has_selection else getattr(self.model, "schema", None)
        names = None if schema is None else _schema_labels(getattr(schema, "targets", None))
        return select_targets(default_labels(outputs, names), wanted)

    def tensors(self, inputs: Nested) -> Nested:
        """Numpy arrays as tensors on the model's device, of the same dtype, as Kipoi passes them."""
        return to_tensors(inputs, self.locked.device)

    def example_outputs(self, inputs: Nested) -> Nested:
        """Outputs for the first input with dropout off, as the model has them, within `borrow()`."""
        pair = self.tensors(take(inputs, [0, 0]))  # some models squeeze a batch of one away
        return self.locked.raw_outputs(pair, POINT, MaskBank(0))


def torch_module(model: Any) -> nn.Module | None:
    """The torch module of a model, without what torch.compile wraps around it; None if there is none."""
    for candidate in (model, getattr(model, "model", None)):
        if isinstance(candidate, nn.Module):
            return plain_module(candidate)
    return None


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


def weights_checksum(module: nn.Module) -> str:
    """SHA-256 over the names, types, shapes and values of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        if isinstance(value, Tensor):
            array = value.detach().cpu().contiguous()
            digest.update(repr((name, str(array.dtype), tuple(array.shape))).encode())
            digest.update(
                array.reshape(-1).view(torch.uint8).numpy().tobytes() if array.numel() else b""
            )
    return digest.hexdigest()


def _check_weights(module: nn.Module) -> None:
    for name, value in module.state_dict().items():
        floating = isinstance(value, Tensor) and value.is_floating_point()
        if floating and not torch.isfinite(value).all():
            raise ModelError(
                f"the model's weights must be finite; {name!r} has "
                f"{int((~torch.isfinite(value)).sum())} NaN or infinite values. Reload or retrain them"
            )


def _kipoi_call(model: Any, module: nn.Module) -> Call:
    """How the model runs: by its module, or by its own predict_on_batch where that was overridden."""
    if isinstance(model, nn.Module) or _has_stock_predict(model):
        return call_module(module)

    def call(inputs: Nested) -> Nested:
        outputs = model.predict_on_batch(map_nested(lambda x: x.cpu().numpy(), inputs))
        return map_nested(lambda x: torch.as_tensor(np.asarray(x)), outputs)

    return call


def _has_stock_predict(model: Any) -> bool:
    from kipoi.model import PyTorchModel

    stock = PyTorchModel.predict_on_batch
    own = getattr(type(model), "predict_on_batch", stock)
    return own is stock or not hasattr(model, "predict_on_batch")


def _with_selection(call: Call, select: OutputFunction) -> Call:
    def selected(inputs: Nested) -> Nested:
        outputs = map_nested(lambda x: x.detach().cpu().numpy(), call(inputs))
        rows = [select(take(outputs, i)) for i in range(n_rows(inputs))]
        paths = [[leaf for _, leaf in leaves(row)] for row in rows]
        return [torch.as_tensor(np.stack(list(column))) for column in zip(*paths, strict=True)]

    return selected


def _schema_labels(schema: Any) -> list[str] | None:
    """Column labels of all outputs in order; None where the schema does not name every column."""
    labels = []
    several = isinstance(schema, (Mapping, list, tuple))
    for path, array in leaves(schema):
        names = list(getattr(array, "column_labels", None) or [])
        title = getattr(array, "name", None) or path
        if not names:
            if tuple(getattr(array, "shape", ()) or ()) not in ((), (1,)) or not title:
                return None
            names = [title]
            labels.append(str(title))
        else:
            labels += [f"{title}/{name}" if several else str(name) for name in names]
    return labels or None
