"""The configuration of a model that Keras 2 wrote, in the words of Keras 3.

Keras 3 reads most of it by itself. What it would refuse is reworded here, and so is what it would read
without a word as something else:

- `hard_sigmoid` was min(max(0.2 x + 0.5, 0), 1); in Keras 3 it is min(max(x / 6 + 0.5, 0), 1);
- a GRU without `reset_after` was written before that argument existed, and means False; in Keras 3 the
  default is True.

What cannot be reworded with the same result is refused by name.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from kipoi_mcdropout.errors import ModelError

Config = dict[str, Any]

HARD_SIGMOID = "hard_sigmoid_of_keras_2"
_MODELS = ("Sequential", "Model", "Functional")
_OF_KERAS_1 = frozenset(
    {
        "nb_filter", "filter_length", "nb_row", "nb_col", "border_mode", "subsample", "subsample_length",
        "W_regularizer", "U_regularizer", "inner_activation", "inner_init", "dropout_W", "dim_ordering",
        "pool_length", "init", "bias", "consume_less",
    }
)  # fmt: skip
_OF_ANY_LAYER = frozenset({"name", "trainable", "dtype", "activity_regularizer"})
_ORIGIN = {"module": "keras.layers", "registered_name": None}  # of Keras's own layers
_ANY = object()
# Arguments of Keras 2 that Keras 3 does not have, with the value that means what Keras 3 does.
_MEANINGLESS: dict[str, Any] = {
    "trainable": _ANY, "implementation": _ANY, "time_major": False, "ragged": False,
    "optional": False, "noise_shape": None, "fused": _ANY, "renorm": False, "renorm_clipping": None,
    "renorm_momentum": _ANY, "virtual_batch_size": None, "adjustment": None, "input_length": _ANY,
    "input_dtype": _ANY, "sparse": False, "batch_input_shape": _ANY, "dtype": _ANY,
    "jit_compile": _ANY, "is_legacy_layer": _ANY,
}  # fmt: skip


def hard_sigmoid_of_keras_2(x: Any) -> Any:
    """The `hard_sigmoid` of Keras 1 and 2, under its own name, by which Keras saves a function."""
    import keras

    return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def translate_model(config: Config, keras: Any, custom: Mapping[str, Any]) -> Config:
    """The configuration of a model of Keras 2, {"class_name", "config"}, for Keras 3.

    Parameters
    ----------
    config : dict
        As `model.to_json()` of Keras 2 wrote it.
    keras : module
    custom : mapping of str
        Layers and functions that are not Keras's own, by name; they are left as they are. The name of a
        Lambda layer may stand for the function that it calls.

    Raises
    ------
    ModelError
        If a layer is of Keras 1, holds code, or has arguments that Keras 3 has not.
    """
    kind, inner = str(config.get("class_name")), config.get("config", {})
    if kind not in _MODELS:
        raise ModelError(
            f"a model of the class {kind!r} cannot be loaded from its configuration: required is a "
            "Sequential or a functional model"
        )
    if isinstance(inner, list):  # Sequential until Keras 2.2
        inner = {"name": "sequential", "layers": inner}
    layers = [_layer(layer, keras, custom) for layer in inner["layers"]]
    if kind == "Sequential" and layers[0]["class_name"] != "InputLayer":
        layers.insert(0, _input_layer(inner))
    inner = {**inner, "layers": layers}
    for ends in ("input_layers", "output_layers"):
        if len(inner.get(ends, ())) == 1:  # one array, and not a list of one
            inner[ends] = inner[ends][0]
    return {"class_name": kind, "config": inner}


def _input_layer(sequential: Config) -> Config:
    """The first layer of a Sequential in Keras 3: the shape of the input, which the next layer had."""
    first = sequential["layers"][0]
    shape = (first["config"] or {}).get("batch_input_shape") or sequential.get("build_input_shape")
    while shape is None and first["class_name"] in _MODELS:  # a model inside the model
        inside = first["config"]
        first = (inside["layers"] if isinstance(inside, dict) else inside)[0]
        shape = (first["config"] or {}).get("batch_input_shape")
    if shape is None:
        raise ModelError("the file does not say the shape of the model's input (batch_input_shape)")
    config = {"batch_shape": shape, "name": "input", "dtype": "float32"}
    return {"class_name": "InputLayer", "config": config, **_ORIGIN}


def _layer(layer: Config, keras: Any, custom: Mapping[str, Any]) -> Config:
    kind, config = layer["class_name"], dict(layer["config"]) if layer["config"] else {}
    if kind in _MODELS:
        return {**_without_origin(layer), **translate_model(layer, keras, custom)}
    name = str(layer.get("name") or config.get("name"))
    if kind in custom:
        return _without_origin(layer)
    what = f"layer {name!r} ({kind})"
    made = getattr(keras.layers, kind, None)
    if old := sorted(_OF_KERAS_1 & config.keys()):
        raise ModelError(
            f"{what} was written by Keras 1 (its argument {old[0]!r}): the weights of Keras 1 are laid "
            "out in another way. Load the model with Keras 2.2 and TensorFlow 1, which read both, and "
            "save it again"
        )
    if not isinstance(made, type):
        raise ModelError(
            f"{what} is not a layer of Keras 3: give its class in custom_objects (in a Kipoi model: a "
            "Python file with a dict OBJECTS), written with keras.ops"
        )
    if kind == "Lambda":
        config = _function_by_name(config, name, what, custom)
    config = {key: _value(value, keras, custom) for key, value in config.items()}
    config = _reworded(kind, config, what, custom)
    return {**_without_origin(layer), **_ORIGIN, "config": _accepted(made, config, what)}


def _without_origin(layer: Config) -> Config:
    """A layer without the name of the package that wrote it, and how it was built there."""
    gone = ("module", "registered_name", "build_config", "compile_config")
    return {key: value for key, value in layer.items() if key not in gone}


def _value(value: Any, keras: Any, custom: Mapping[str, Any]) -> Any:
    """An argument: a layer inside another one, an initializer, an activation, or a plain value."""
    if isinstance(value, list):
        return [_value(item, keras, custom) for item in value]
    if not isinstance(value, dict) or "class_name" not in value:
        return value
    kind, config = value["class_name"], value.get("config", {})
    if kind in ("Policy", "DTypePolicy"):
        return config["name"]
    if kind == "function" and isinstance(config, str):
        return config
    if isinstance(getattr(keras.layers, str(kind), None), type) or kind in _MODELS:
        return _layer(value, keras, custom)
    return _without_origin(value)


def _function(name: str) -> Config:
    """A function of `custom` as Keras 3 writes it."""
    return {"class_name": "function", "module": "builtins", "config": name, "registered_name": name}


def _reworded(kind: str, config: Config, what: str, custom: Mapping[str, Any]) -> Config:
    config = dict(config)
    for key in ("activation", "recurrent_activation"):
        name = HARD_SIGMOID if config.get(key) == "hard_sigmoid" else config.get(key)
        if isinstance(name, str) and name in custom:
            config[key] = _function(name)
    if kind == "BatchNormalization" and isinstance(config.get("axis"), list):
        if len(config["axis"]) != 1:
            raise ModelError(f"{what} normalizes over several axes, {config['axis']}; Keras 3 does not")
        config["axis"] = config["axis"][0]
    if kind == "InputLayer" and "batch_input_shape" in config:
        config["batch_shape"] = config.pop("batch_input_shape")
    if kind in ("GRU", "GRUCell"):
        config.setdefault("reset_after", False)
    if kind == "LeakyReLU" and "alpha" in config:
        config["negative_slope"] = config.pop("alpha")
    return config


def _accepted(made: type, config: Config, what: str) -> Config:
    """The arguments that the layer takes; others must say what Keras 3 does anyway."""
    parameters = inspect.signature(made.__init__).parameters  # type: ignore[misc]
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    known = parameters.keys() | (_OF_ANY_LAYER if open_ended else set())
    for key in config.keys() - known:
        usual = _MEANINGLESS.get(key, KeyError)
        if usual is not _ANY and (usual is KeyError or config[key] not in (usual, None)):
            raise ModelError(
                f"{what} has {key}={config[key]!r}, which Keras 3 has not: the result would be another. "
                "Change the model in the Keras that wrote it, and save it again"
            )
    return {key: value for key, value in config.items() if key in known}


def _function_by_name(config: Config, name: str, what: str, custom: Mapping[str, Any]) -> Config:
    """A Lambda layer that calls a function of `custom`; code that is in the file is not run."""
    function = config.get("function")
    wanted = name if name in custom else function
    if not isinstance(wanted, str) or wanted not in custom:
        raise ModelError(
            f"{what} holds code in the file, compiled by the Python that wrote it. It is not run: it "
            "could do anything, and this Python may read it as other code. Write the function with "
            f"keras.ops, and give it under the name of the layer: custom_objects={{{name!r}: function}}"
        )
    if config.get("arguments"):
        raise ModelError(
            f"{what} calls its function with the arguments {config['arguments']}: give a function that "
            "needs none"
        )
    return {"name": name, "function": _function(wanted)}
