"""Load the files of a Keras model on torch: those of Keras 3, and those that Keras 2 wrote."""

from __future__ import annotations

import json
import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from kipoi_mcdropout.errors import McDropoutError, ModelError
from kipoi_mcdropout.model.keras.backend import import_keras
from kipoi_mcdropout.model.keras.theano_kernels import flip_kernels
from kipoi_mcdropout.model.keras.translate import HARD_SIGMOID, hard_sigmoid_of_keras_2, translate_model

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def load_keras_model(
    path: str | Path,
    weights: str | Path | None = None,
    custom_objects: Mapping[str, Any] | None = None,
    *,
    trust_code: bool = False,
) -> Any:
    """A Keras model from its files, on torch, built and not compiled.

    Parameters
    ----------
    path : str or Path
        A whole model (.keras, or HDF5 as Keras 2 and 3 write it), or an architecture (JSON). The content
        decides, not the ending.
    weights : str or Path, optional
        HDF5 file of weights; needed with an architecture, and possible with a whole model.
    custom_objects : mapping of str, optional
        The user's layers and functions by the names that are in the file. The name of a Lambda layer
        stands for its function.
    trust_code : bool
        Run code that a file of Keras 3 holds (Lambda layers). Code in files of Keras 2 never runs.

    Returns
    -------
    keras.Model
        Which is a torch module, too.

    Raises
    ------
    ModelError
        If Keras is missing or not on torch, if the file is of Keras 1, or if a layer cannot be had with
        the same result; it is named.
    """
    keras = import_keras()
    custom = {HARD_SIGMOID: hard_sigmoid_of_keras_2, **(custom_objects or {})}
    path = Path(path)
    try:
        with keras.saving.custom_object_scope(custom):
            return _load(path, weights, keras, custom, trust_code)
    except McDropoutError as error:
        raise type(error)(f"{path.name}: {error}") from error.__cause__
    except OSError:
        raise
    except Exception as error:  # whatever Keras or a custom layer finds wrong
        first = _COLOURS.sub("", str(error)).strip().split("\n")[0]
        last = _COLOURS.sub("", str(error)).strip().split("\n")[-1]
        why = first if first == last else f"{first} ... {last}"
        raise ModelError(
            f"{path.name} cannot be loaded by Keras {keras.__version__}: {type(error).__name__}: {why}"
        ) from error


def _load(
    path: Path, weights: str | Path | None, keras: Any, custom: dict[str, Any], trust: bool
) -> Any:
    if zipfile.is_zipfile(path):
        model = _from_archive(path, keras, custom, trust)
    elif h5py.is_hdf5(path):
        with h5py.File(path, "r") as file:
            if "model_config" not in file.attrs:
                raise ModelError(
                    "the file holds weights and no architecture: give the architecture (JSON) too, as "
                    "Kipoi's argument `arch`, and this file as the weights"
                )
            config = json.loads(_text(file.attrs["model_config"]))
            # Keras 2.0 wrote its version beside the weights only.
            origin = {**_texts(file["model_weights"].attrs), **_texts(file.attrs)}
            return _from_parts(config, origin, weights or path, keras, custom, trust)
    else:
        config = _json(path)
        if weights is None:
            raise ModelError("the file is an architecture without weights: give the file of weights too")
        return _from_parts(config, _texts(config), weights, keras, custom, trust)
    if weights is not None:
        _load_weights(model, Path(weights), {}, keras)
    return model


def _from_parts(
    config: dict[str, Any],
    origin: dict[str, str],
    weights: str | Path,
    keras: Any,
    custom: dict[str, Any],
    trust: bool,
) -> Any:
    """A model from its configuration and a file of weights."""
    if _major(origin) >= 3:
        model = keras.saving.deserialize_keras_object(config, safe_mode=not trust)
    else:
        model = _built(config, keras, custom)
    _load_weights(model, Path(weights), origin, keras)
    return model


def _from_archive(path: Path, keras: Any, custom: dict[str, Any], trust: bool) -> Any:
    """A model from a .keras file."""
    with zipfile.ZipFile(path) as archive:
        if "config.json" not in archive.namelist():
            raise ModelError("the archive is no model of Keras: it has no config.json")
        origin = _texts(json.loads(archive.read("metadata.json")))
        if _major(origin) >= 3:
            with _named(path, ".keras") as file:
                return keras.saving.load_model(file, custom_objects=custom, compile=False, safe_mode=not trust)
        model = _built(json.loads(archive.read("config.json")), keras, custom)
        with _temporary(archive.read("model.weights.h5"), ".weights.h5") as file:
            model.load_weights(file)
    return model


def _built(config: dict[str, Any], keras: Any, custom: dict[str, Any]) -> Any:
    """The model of a configuration that Keras 2 wrote, with random weights."""
    translated = translate_model(config, keras, custom)
    made = getattr(keras, translated["class_name"], keras.Model)
    return made.from_config(translated["config"], custom_objects=custom)


def _load_weights(model: Any, path: Path, origin: dict[str, str], keras: Any) -> None:
    if not h5py.is_hdf5(path):
        raise ModelError(f"the weights must be an HDF5 file of Keras; {path.name} is none")
    with h5py.File(path, "r") as file:
        group = file["model_weights"] if "model_weights" in file else file
        if "layer_names" not in group.attrs:  # the format of Keras 3, and of .keras files
            with _named(path, ".weights.h5") as name:
                model.load_weights(name)
            return
        values = _layer_values(group)
        origin = {**origin, **_texts(group.attrs)}
    if origin.get("backend") == "theano":
        values = flip_kernels(model, values, keras)
    _set_weights(model, values, path)


def _layer_values(group: Any) -> list[tuple[str, list[np.ndarray]]]:
    """Name of each layer that has weights, and its arrays, in the order of the file."""
    layers = []
    for name in _names(group, "layer_names"):
        arrays = [np.asarray(group[name][weight]) for weight in _names(group[name], "weight_names")]
        if arrays:
            layers.append((name, arrays))
    return layers


def _names(group: Any, attribute: str) -> list[str]:
    """A list of names; a long one is cut into several attributes."""
    if attribute in group.attrs:
        return [_text(name) for name in group.attrs[attribute]]
    names: list[str] = []
    i = 0
    while f"{attribute}{i}" in group.attrs:
        names += [_text(name) for name in group.attrs[f"{attribute}{i}"]]
        i += 1
    return names


def _set_weights(model: Any, values: list[tuple[str, list[np.ndarray]]], path: Path) -> None:
    """Give each layer its arrays, in order, after a check of all names and shapes."""
    layers = [(layer, _weights_of(layer)) for layer in model.layers if layer.weights]
    if len(layers) != len(values):
        raise ModelError(
            f"the architecture has {len(layers)} layers with weights, {path.name} has {len(values)}"
        )
    for (layer, weights), (name, arrays) in zip(layers, values, strict=True):
        shapes = [tuple(weight.shape) for weight in weights], [array.shape for array in arrays]
        if shapes[0] != shapes[1]:
            raise ModelError(
                f"layer {layer.name!r} has weights of shapes {shapes[0]}; {path.name} has {shapes[1]} for "
                f"{name!r}"
            )
    for (_, weights), (_, arrays) in zip(layers, values, strict=True):
        for weight, array in zip(weights, arrays, strict=True):
            weight.assign(array)


def _weights_of(layer: Any) -> list[Any]:
    """Weights in the order of Keras 2: those that are trained, then the others."""
    trained = [weight for weight in layer.weights if weight.trainable]
    return trained + [weight for weight in layer.weights if not weight.trainable]


def _json(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(
            "the file is none of a Keras model: required is .keras, HDF5 or an architecture in JSON"
        ) from error
    if isinstance(config, str):  # to_json() written by json.dump
        config = json.loads(config)
    if not isinstance(config, dict) or "class_name" not in config:
        raise ModelError("the JSON file is no architecture of a Keras model: it has no class_name")
    return config


def _major(origin: Mapping[str, str]) -> int:
    """The version of Keras that wrote a file; 2 where it says none."""
    first = origin.get("keras_version", "2").partition(".")[0]
    return int(first) if first.isdigit() else 2


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    found = {key: values[key] for key in ("keras_version", "backend") if key in values}
    return {key: _text(value) for key, value in found.items()}


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


@contextmanager
def _named(path: Path, ending: str) -> Iterator[str]:
    """A path to the file with the ending that Keras wants; Kipoi keeps downloads without any."""
    if path.name.endswith(ending):
        yield str(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / f"model{ending}"
        link.symlink_to(path.resolve())
        yield str(link)


@contextmanager
def _temporary(content: bytes, ending: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"model{ending}"
        file.write_bytes(content)
        yield str(file)
