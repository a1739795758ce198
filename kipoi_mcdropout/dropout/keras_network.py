"""A Keras 3 model as a torch module whose parts are the layers, by their Keras names.

On its torch backend every layer of Keras is an `nn.Module`, with three differences. A functional model
keeps its layers in a list, where `named_modules` does not look. A layer takes `training` as an argument
of its call, and not from its own flag, so `eval()` and `train()` change nothing. The state of a layer's
random seed is a parameter. `KerasNetwork` makes each layer a part of the model, and the flag of a layer
decides: a layer whose `training` is True is called with `training=True`. Keras is never imported here.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from torch import Tensor, nn

from kipoi_mcdropout.dropout.keras_dropout import torch_dropouts
from kipoi_mcdropout.errors import ModelError

_HOLDERS = (nn.ParameterDict, nn.ParameterList)  # they hold weights, and are never called


def is_keras(model: Any) -> bool:
    """Whether an object is a layer or a model of Keras 3, on any backend."""
    keras = sys.modules.get("keras")
    layer = getattr(getattr(keras, "layers", None), "Layer", None)
    return isinstance(layer, type) and isinstance(model, layer)


def is_keras_normalization(part: nn.Module) -> bool:
    """Whether a part is a batch normalization of Keras, which takes other statistics in training."""
    return is_keras(part) and isinstance(part, sys.modules["keras"].layers.BatchNormalization)


def keras_with_dropout(parts: Mapping[str, nn.Module], sites: Collection[str]) -> set[str]:
    """Names of the layers of Keras that must run with `training=True`, so that their dropout acts.

    A recurrent layer draws its masks in inference, too, and its cell uses them in training alone: so
    both belong together.

    Parameters
    ----------
    parts : mapping of str to nn.Module
    sites : collection of str
        Names of the parts that call a dropout.
    """
    names = {name for name in sites if is_keras(parts[name])}
    for outer in [name for name, part in parts.items() if is_keras(part)]:
        if isinstance(parts[outer], sys.modules["keras"].layers.RNN):
            inside = {name for name in parts if name == outer or name.startswith(f"{outer}.")}
            names |= inside if inside & names else set()
    return names


def as_module(model: Any) -> Any:
    """A Keras model as a `KerasNetwork`; anything else as it is.

    Raises
    ------
    ModelError
        If Keras runs on another backend than torch, or the model has no weights yet.
    """
    if not is_keras(model):
        return model
    keras = sys.modules["keras"]
    if keras.config.backend() != "torch":
        raise ModelError(
            "Keras must run on torch, because dropout is controlled there; it runs on "
            f"{keras.config.backend()}. Set the environment variable KERAS_BACKEND=torch before Keras "
            "is imported (in Python: os.environ['KERAS_BACKEND'] = 'torch'), and load the model again"
        )
    if not model.built:
        raise ModelError(
            f"the Keras model {model.name!r} has no weights yet: call it once on an input, then load "
            "its trained weights"
        )
    return KerasNetwork(model)


class KerasNetwork(nn.Module):
    """The layers of a Keras model under their names; calling it calls the model.

    Parameters
    ----------
    keras_model : keras.Model or keras.layers.Layer
        Built, on the torch backend. It is borrowed: while a call runs, its layers have hooks.
    """

    def __init__(self, keras_model: Any) -> None:
        super().__init__()
        self.keras_model = keras_model
        self._parts = dict(_named_parts(keras_model, ""))
        self._active = 0  # layers that are running with their own training flag on
        self._takes_training = {id(part) for part in self._parts.values() if _takes_training(part)}

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Outputs of the model, of inputs as Kipoi gives them: an array, a list, or a dict by name."""
        given = named or (inputs[0] if len(inputs) == 1 else list(inputs))
        with self.following_flags():
            if self.training and _takes_training(self.keras_model):
                return self.keras_model(given, training=True)
            return self.keras_model(given)

    @property
    def input_shape(self) -> tuple[int | None, ...] | None:
        """Shape of the only input without the batch; None if it is not known, or there are several."""
        shape: Any = getattr(self.keras_model, "input_shape", None)
        single = isinstance(shape, tuple) and all(n is None or isinstance(n, int) for n in shape)
        return shape[1:] if single else None

    @contextmanager
    def following_flags(self) -> Iterator[None]:
        """Within it, the training flag of a layer decides how the layer is called.

        A layer whose flag is off keeps `training=True` where the model itself says so, for this layer.
        """
        handles = []
        self._forget_masks()
        self._active = 1 if self.training else 0
        try:
            for part in self._parts.values():
                if id(part) in self._takes_training:
                    handles.append(part.register_forward_pre_hook(self._enter, with_kwargs=True))
                    handles.append(part.register_forward_hook(self._leave, always_call=True))
            with torch_dropouts(), _plain_errors():
                yield
        finally:
            for handle in handles:
                handle.remove()

    def _forget_masks(self) -> None:
        """Masks that the cell of a recurrent layer keeps for its steps, left by a pass that failed."""
        for part in self._parts.values():
            for reset in ("reset_dropout_mask", "reset_recurrent_dropout_mask"):
                if hasattr(part, reset):
                    getattr(part, reset)()

    def _enter(self, part: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
        if part.training:
            self._active += 1
            return args, {**kwargs, "training": True}
        if self._active or kwargs.get("training") is None:
            return args, {**kwargs, "training": False}
        return None

    def _leave(self, part: nn.Module, _: Any, __: Any) -> None:
        if part.training:
            self._active -= 1

    def random_states(self) -> list[Tensor]:
        """State of each random seed of the model, and of the one that Keras has for all others."""
        keras = sys.modules["keras"]
        weights = {id(weight) for weight in self.keras_model.weights}
        states = [v for v in self.keras_model.variables if id(v) not in weights]
        common = keras.src.backend.common.global_state.get_global_attribute("global_seed_generator")
        if common is not None:
            states.append(common.state)
        return [state.value for state in states]

    def named_modules(
        self,
        memo: Any = None,  # noqa: ARG002  (torch's signature)
        prefix: str = "",
        remove_duplicate: bool = True,
    ) -> Iterator[tuple[str, nn.Module]]:
        """The network itself, and the layers by name."""
        yield prefix, self
        seen: set[int] = set()
        for name, part in self._parts.items():
            if not remove_duplicate or id(part) not in seen:
                seen.add(id(part))
                yield f"{prefix}.{name}" if prefix else name, part

    def named_parameters(
        self,
        prefix: str = "",
        recurse: bool = True,  # noqa: ARG002  (torch's signature)
        remove_duplicate: bool = True,  # noqa: ARG002
    ) -> Iterator[tuple[str, nn.Parameter]]:
        """The weights, named by layer: those of batch statistics too, seeds not."""
        for name, weight in self._named_weights():
            yield f"{prefix}.{name}" if prefix else name, weight

    def state_dict(self, *_: Any, **__: Any) -> Any:
        """The weights and the buffers by name."""
        return {**dict(self.named_parameters()), **dict(self.named_buffers())}

    def _named_weights(self) -> Iterator[tuple[str, Any]]:
        owners: dict[int, str] = {}
        for name, part in self._parts.items():  # a layer comes before its parts: the last one owns it
            for weight in getattr(part, "weights", ()):
                owners[id(weight)] = name
        taken: set[str] = set()
        for i, weight in enumerate(self.keras_model.weights):
            owner = owners.get(id(weight))
            name = f"{owner}.{weight.name}" if owner else weight.name
            name = f"{name}#{i}" if name in taken else name
            taken.add(name)
            yield name, weight.value


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Errors of a layer's code as they are: Keras would put others in their place, with many lines."""
    config = sys.modules["keras"].config
    filtering = config.is_traceback_filtering_enabled()
    config.disable_traceback_filtering()
    try:
        yield
    finally:
        if filtering:
            config.enable_traceback_filtering()


def keras_settings(part: Any) -> Iterator[tuple[str, Any]]:
    """Name and value of what a layer does beside its weights: its configuration, as Keras saves it.

    Of a layer of the user's own also its public attributes: they need not be in the configuration.
    """
    layer = part.keras_model if isinstance(part, KerasNetwork) else part
    with suppress(NotImplementedError):  # a model or layer that cannot be saved
        yield "config", layer.get_config()
    if not type(layer).__module__.startswith("keras."):
        usual = vars(sys.modules["keras"].layers.Layer())
        for name, value in vars(layer).items():
            if name not in usual and not name.startswith("_"):
                yield name, value


def is_leaf(part: nn.Module) -> bool:
    """Whether a module has no modules inside; what only holds weights does not count."""
    return next(_inside(part), None) is None


def _inside(part: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules directly inside one; of Keras also those in lists, named as the layer is."""
    own = set()
    for name, inner in part.named_children():
        if not (isinstance(inner, _HOLDERS) or (is_keras(part) and name.startswith("_"))):
            own.add(id(inner))
            yield name, inner
    for inner in getattr(part, "_layers", ()) if is_keras(part) else ():
        if id(inner) not in own:
            yield str(inner.name).replace(".", "_"), inner


def _named_parts(part: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    for name, inner in _inside(part):
        yield f"{prefix}{name}", inner
        yield from _named_parts(inner, f"{prefix}{name}.")


def _takes_training(part: nn.Module) -> bool:
    if not is_keras(part):
        return False
    call: Any = part.call
    return "training" in inspect.signature(call).parameters
